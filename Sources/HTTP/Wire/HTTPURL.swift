/// An absolute http or https URL, as far as a client of registries needs one (RFC 3986). One with a user's name in it is refused:
/// credentials are not a matter of addresses.
public struct HTTPURL: Sendable, Hashable, CustomStringConvertible {
    public enum Scheme: String, Sendable { case http, https }

    public var scheme: Scheme
    /// Lower case, an IPv6 address without brackets.
    public var host: String
    public var port: UInt16
    /// Path and query, beginning with a slash.
    public var target: String

    public init(scheme: Scheme, host: String, port: UInt16? = nil, target: String = "/") {
        self.scheme = scheme
        self.host = host.lowercased()
        self.port = port ?? (scheme == .https ? 443 : 80)
        self.target = target
    }

    /// Nil for anything else.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), bytes.count <= 16 << 10 else { return nil }
        let lower = text.prefix(8).lowercased()
        let scheme: Scheme = lower.hasPrefix("https://") ? .https : .http
        guard scheme == .https || lower.hasPrefix("http://") else { return nil }
        var rest = text.dropFirst(scheme == .https ? 8 : 7)
        if let hash = rest.firstIndex(of: "#") { rest = rest[..<hash] }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        guard let (host, port) = Self.authority(rest[..<end]) else { return nil }
        let target = rest[end...]
        self.init(scheme: scheme, host: host, port: port, target: target.hasPrefix("/") ? String(target) : "/" + target)
    }

    /// `host`, `host:port`, `[address]:port`. Nil for anything else.
    public static func authority(_ text: some StringProtocol) -> (host: String, port: UInt16?)? {
        var host = String(text)
        var port: UInt16?
        if host.hasPrefix("[") {
            guard let close = host.firstIndex(of: "]") else { return nil }
            let after = host[host.index(after: close)...]
            host = String(host[host.index(after: host.startIndex)..<close])
            guard isIPv6(host) else { return nil }
            if !after.isEmpty {
                guard after.hasPrefix(":"), let number = number(after.dropFirst()) else { return nil }
                port = number
            }
            return (host.lowercased(), port)
        }
        if let colon = host.firstIndex(of: ":") {
            guard let number = number(host[host.index(after: colon)...]) else { return nil }
            port = number
            host = String(host[..<colon])
        }
        let isName = host.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F
        }
        guard !host.isEmpty, host.utf8.count <= 253, isName else { return nil }
        return (host.lowercased(), port)
    }

    private static func number(_ text: some StringProtocol) -> UInt16? {
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt16(text), number > 0 else { return nil }
        return number
    }

    static func isIPv6(_ text: String) -> Bool {
        text.contains(":")
            && text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x66).contains($0 | 0x20) || $0 == 0x3A || $0 == 0x2E
            }
    }

    /// Whether a host is an address and not a name.
    public static func isAddress(_ host: String) -> Bool {
        if isIPv6(host) { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { !$0.isEmpty && $0.count <= 3 && UInt8($0) != nil }
    }

    /// 127.0.0.0/8, ::1 and localhost.
    public static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "::1" || host == "0:0:0:0:0:0:0:1" { return true }
        return isAddress(host) && host.hasPrefix("127.")
    }

    /// The host with its port where it is not the scheme's own.
    public var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (scheme == .https ? 443 : 80) ? name : "\(name):\(port)"
    }

    public var description: String { "\(scheme.rawValue)://\(authority)\(target)" }

    /// Same scheme, host and port.
    public func hasSameOrigin(as other: HTTPURL) -> Bool {
        scheme == other.scheme && host == other.host && port == other.port
    }

    /// What a `Location` or `Link` in an answer to this URL means. Nil for what is no http or https URL.
    public func resolving(_ location: String) -> HTTPURL? {
        if location.hasPrefix("//") { return HTTPURL("\(scheme.rawValue):\(location)") }
        if let colon = location.firstIndex(of: ":"), !location[..<colon].contains(where: { $0 == "/" || $0 == "?" }) {
            return HTTPURL(location)
        }
        var path = target.prefix { $0 != "?" }
        let text: String
        if location.hasPrefix("/") {
            text = location
        } else if location.hasPrefix("?") {
            text = path + location
        } else {
            if let slash = path.lastIndex(of: "/") { path = path[...slash] }
            text = path + location
        }
        return HTTPURL("\(scheme.rawValue)://\(host.contains(":") ? "[\(host)]" : host):\(port)\(text)")
    }

    /// The same place with one more pair in its query.
    public func adding(_ name: String, _ value: String) -> HTTPURL {
        var url = self
        url.target += (target.contains("?") ? "&" : "?") + Self.encoded(name) + "=" + Self.encoded(value)
        return url
    }

    /// With everything but unreserved characters as %XX (RFC 3986, 2.3).
    public static func encoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: bytes.append(byte)
            default: bytes += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
