import Linux
import Model

/// Which proxy leads where, as Go's programs read it from the environment.
public struct ProxySettings: Sendable, Equatable {
    public var http = ""
    public var https = ""
    /// Hosts that are reached directly, separated by commas: `*`, names with what is below them, `.name` for only what is below,
    /// addresses, networks, each name with or without a port.
    public var none = ""

    public init() {}

    /// HTTP_PROXY, HTTPS_PROXY, NO_PROXY in capitals or small letters.
    public static var environment: ProxySettings {
        var settings = ProxySettings()
        func value(_ name: String) -> String { environmentVariable(name) ?? environmentVariable(name.lowercased()) ?? "" }
        settings.http = value("HTTP_PROXY")
        settings.https = value("HTTPS_PROXY")
        settings.none = value("NO_PROXY")
        return settings
    }

    /// A proxy and what it is shown.
    struct Proxy: Hashable {
        var host: String
        var port: UInt16
        /// `Basic …`
        var authorization: String?
    }

    /// The proxy that leads to a URL; nil for none. Loopback is always reached directly.
    /// - Throws: `invalid` for a proxy that cannot be used.
    func proxy(for url: HTTPURL) throws -> Proxy? {
        let text = url.scheme == .https ? https : http
        if text.isEmpty || HTTPURL.isLoopback(url.host) || isDirect(url) { return nil }
        var rest = text[...]
        if let scheme = text.range(of: "://") {
            guard text[..<scheme.lowerBound].lowercased() == "http" else { throw Self.unusable(text) }
            rest = text[scheme.upperBound...]
        }
        var authorization: String?
        if let at = rest.lastIndex(of: "@") {
            guard let plain = Self.decoded(rest[..<at]) else { throw Self.unusable(text) }
            authorization = "Basic " + Base64Text.encode(plain)
            rest = rest[rest.index(after: at)...]
        }
        guard let (host, port) = HTTPURL.authority(rest.prefix { $0 != "/" }) else { throw Self.unusable(text) }
        return Proxy(host: host, port: port ?? 80, authorization: authorization)
    }

    private static func unusable(_ text: String) -> Fault {
        // without what may be a password
        let shown = text.lastIndex(of: "@").map { "…" + text[$0...] } ?? text
        return Fault(.invalid, "the proxy \"\(shown)\" cannot be used: only http://host:port is")
    }

    private static func decoded(_ text: Substring) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    private func isDirect(_ url: HTTPURL) -> Bool {
        none.split(separator: ",").contains { entry in
            var pattern = HTTPFields.trimmed(entry).lowercased()
            if pattern == "*" { return true }
            if let subnet = IPv4Subnet(pattern), let address = IPv4Address(url.host) { return subnet.contains(address) }
            if !HTTPURL.isIPv6(pattern), let colon = pattern.lastIndex(of: ":") {
                guard pattern[pattern.index(after: colon)...] == String(url.port) else { return false }
                pattern = String(pattern[..<colon])
            }
            if pattern.hasPrefix("*.") { pattern.removeFirst() }
            if pattern.isEmpty { return false }
            if pattern.hasPrefix(".") { return url.host.hasSuffix(pattern) }
            return url.host == pattern || (url.host.hasSuffix("." + pattern) && !HTTPURL.isAddress(url.host))
        }
    }
}

extension String {
    /// Where a text begins within this one, and where it ends.
    fileprivate func range(of text: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
