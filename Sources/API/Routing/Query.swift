import JSON
import Model

/// The parameters of a request's query, read as Go's net/url and docker's httputils read them.
public struct Query: Sendable, Equatable {
    private var pairs: [(key: String, value: String)] = []

    /// More parameters than any client has a use for.
    static let maximumCount = 512

    public init() {}

    /// - Throws: `invalid` with Go's text for a malformed escape or a semicolon.
    public init(_ text: some StringProtocol) throws {
        for part in text.utf8.split(separator: UInt8(ascii: "&")) {
            guard !part.contains(UInt8(ascii: ";")) else {
                throw Fault(.invalid, "invalid semicolon separator in query")
            }
            guard pairs.count < Self.maximumCount else {
                throw Fault(.invalid, "more than \(Self.maximumCount) query parameters")
            }
            let equals = part.firstIndex(of: UInt8(ascii: "=")) ?? part.endIndex
            let value = equals == part.endIndex ? part[equals...] : part[part.index(after: equals)...]
            pairs.append((try Percent.decode(part[..<equals], plus: true), try Percent.decode(value, plus: true)))
        }
    }

    public static func == (left: Query, right: Query) -> Bool {
        left.pairs.count == right.pairs.count && zip(left.pairs, right.pairs).allSatisfy { $0 == $1 }
    }

    /// The first value of the parameter, or nil when it was not given.
    public subscript(_ key: String) -> String? { pairs.first { $0.key == key }?.value }

    /// The first value, or nil when it is missing or empty.
    public func text(_ key: String) -> String? {
        guard let value = self[key], !value.isEmpty else { return nil }
        return value
    }

    /// Every value of the parameter, in order.
    public func all(_ key: String) -> [String] { pairs.lazy.filter { $0.key == key }.map(\.value) }

    public func has(_ key: String) -> Bool { pairs.contains { $0.key == key } }

    /// Docker's BoolValue: everything is true but "", 0, no, false and none.
    public func bool(_ key: String) -> Bool {
        guard let value = self[key] else { return false }
        switch Lexis.trimmed(value).lowercased() {
        case "", "0", "no", "false", "none": return false
        default: return true
        }
    }

    /// Docker's BoolValueOrDefault.
    public func bool(_ key: String, default value: Bool) -> Bool { has(key) ? bool(key) : value }

    /// A whole number, or nil when it is missing or empty.
    ///
    /// - Throws: `invalid` with Go's text when it is none.
    public func integer(_ key: String) throws -> Int? {
        guard let text = text(key) else { return nil }
        guard let value = Int(text) else {
            let digits = text.utf8.first == UInt8(ascii: "-") ? text.dropFirst() : text[...]
            let isNumber = !digits.isEmpty && digits.utf8.allSatisfy { (0x30...0x39).contains($0) }
            throw Fault(
                .invalid, "strconv.ParseInt: parsing \"\(text)\": \(isNumber ? "value out of range" : "invalid syntax")")
        }
        return value
    }

    /// Docker's Int64ValueOrZero: what is no number is zero.
    public func integerOrZero(_ key: String) -> Int { self[key].flatMap { Int($0) } ?? 0 }

    /// The `filters` parameter; empty when it is missing.
    public func filters(_ key: String = "filters") throws -> Docker.Filters {
        guard let text = text(key) else { return Docker.Filters() }
        do {
            return try Docker.Filters(json: Array(text.utf8), limits: JSONLimits(size: 256 << 10, depth: 4))
        } catch {
            throw Fault(.invalid, "invalid filter: \(error)")
        }
    }

    /// A moment as clients give it: seconds with an optional fraction since 1970, or RFC 3339. Nil when missing, empty or 0.
    public func moment(_ key: String) throws -> Timestamp? {
        guard let text = text(key), text != "0" else { return nil }
        guard let moment = Self.moment(text) else {
            throw Fault(.invalid, "invalid value for '\(key)': '\(text)' is neither seconds since 1970 nor an RFC 3339 time")
        }
        return moment
    }

    static func moment(_ text: String) -> Timestamp? {
        if text.contains("-") && text.utf8.first != UInt8(ascii: "-") { return Timestamp(text) }
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let seconds = Int64(parts[0]), abs(seconds) < 9_000_000_000 else { return nil }
        var fraction: Int64 = 0
        if parts.count == 2 {
            let digits = parts[1].prefix(9)
            guard !digits.isEmpty, parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let value = Int64(digits) else {
                return nil
            }
            fraction = value
            for _ in 0..<(9 - digits.count) { fraction *= 10 }
        }
        let nanoseconds = seconds * 1_000_000_000
        return Timestamp(nanoseconds: nanoseconds + (seconds < 0 ? -fraction : fraction))
    }
}

/// Percent-encoding (RFC 3986, 2.1).
enum Percent {
    /// - Throws: `invalid` with Go's text for a `%` that two hexadecimal digits do not follow.
    static func decode(_ bytes: some Collection<UInt8>, plus: Bool) throws -> String {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var rest = bytes[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                let pair = rest.prefix(2)
                guard let high = pair.first.flatMap(Lexis.hex), let low = pair.dropFirst().first.flatMap(Lexis.hex) else {
                    throw Fault(.invalid, "invalid URL escape \"%\(String(decoding: pair, as: UTF8.self))\"")
                }
                out.append(UInt8(high << 4 | low))
                rest = rest.dropFirst(2)
            case UInt8(ascii: "+") where plus: out.append(0x20)
            default: out.append(byte)
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
