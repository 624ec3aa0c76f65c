import JSON

/// An IPv4 address, kept as a number so that subnets can be counted through.
public struct IPv4Address: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Most significant byte first: 10.0.0.1 is 0x0A000001.
    public var number: UInt32

    public init(number: UInt32) { self.number = number }

    /// Four bytes in network order.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 4 else { return nil }
        self.number = bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Four decimal parts, each 0 to 255, without leading zeros; nil otherwise.
    public init?(_ text: some StringProtocol) {
        let parts = text.utf8.split(separator: 0x2E, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var number: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            guard part.count == 1 || part.first != 0x30 else { return nil }
            let value = part.reduce(0) { $0 * 10 + UInt32($1 - 0x30) }
            guard value < 256 else { return nil }
            number = number << 8 | value
        }
        self.number = number
    }

    public static let any = IPv4Address(number: 0)
    public static let loopback = IPv4Address(number: 0x7F00_0001)

    public var bytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) } }
    public var isLoopback: Bool { number >> 24 == 127 }
    public var description: String { bytes.map { String($0) }.joined(separator: ".") }

    public static func < (left: IPv4Address, right: IPv4Address) -> Bool { left.number < right.number }
}

/// An IPv6 address; its text is RFC 5952's.
public struct IPv6Address: Sendable, Hashable, CustomStringConvertible {
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Sixteen bytes in network order.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        self.high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        self.low = bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// RFC 4291 2.2, with `::` and a trailing IPv4 part, without zone or brackets; nil otherwise.
    public init?(_ text: some StringProtocol) {
        let sides = IPv6Address.sides(String(text))
        guard let sides, let head = IPv6Address.groups(sides.head, isLast: sides.tail == nil) else { return nil }
        guard let tailText = sides.tail else {
            guard head.count == 8 else { return nil }
            self.init(groups: head)
            return
        }
        guard let tail = IPv6Address.groups(tailText, isLast: true), head.count + tail.count <= 7 else { return nil }
        self.init(groups: head + [UInt16](repeating: 0, count: 8 - head.count - tail.count) + tail)
    }

    private init(groups: [UInt16]) {
        self.high = groups.prefix(4).reduce(0) { $0 << 16 | UInt64($1) }
        self.low = groups.suffix(4).reduce(0) { $0 << 16 | UInt64($1) }
    }

    /// The text before and after `::`; the tail is nil without one; nil where `::` occurs twice.
    private static func sides(_ text: String) -> (head: String, tail: String?)? {
        let bytes = Array(text.utf8)
        var found: Int?
        for index in bytes.indices.dropLast() where bytes[index] == 0x3A && bytes[index + 1] == 0x3A {
            if found != nil { return nil }
            found = index
        }
        guard let found else { return (text, nil) }
        return (String(decoding: bytes[..<found], as: UTF8.self), String(decoding: bytes[(found + 2)...], as: UTF8.self))
    }

    private static func groups(_ text: String, isLast: Bool) -> [UInt16]? {
        if text.isEmpty { return [] }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        var groups: [UInt16] = []
        for (index, part) in parts.enumerated() {
            if isLast, index == parts.count - 1, let v4 = IPv4Address(part) {
                groups += [UInt16(v4.number >> 16), UInt16(truncatingIfNeeded: v4.number)]
                continue
            }
            guard (1...4).contains(part.utf8.count), part.first != "+", let value = UInt16(part, radix: 16) else { return nil }
            groups.append(value)
        }
        return groups
    }

    public static let any = IPv6Address(high: 0, low: 0)
    public static let loopback = IPv6Address(high: 0, low: 1)

    public var bytes: [UInt8] {
        [high, low].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * $0)) } }
    }
    public var isLoopback: Bool { self == .loopback }
    /// fe80::/10, which means nothing without a link.
    public var isLinkLocal: Bool { high >> 54 == 0x3FA }

    public var description: String {
        let all = bytes
        let groups = (0..<8).map { UInt16(all[2 * $0]) << 8 | UInt16(all[2 * $0 + 1]) }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > max(1, best.count) { best = start..<end }
            start = max(end, start + 1)
        }
        func joined(_ range: Range<Int>) -> String { range.map { String(groups[$0], radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? joined(0..<8) : joined(0..<best.lowerBound) + "::" + joined(best.upperBound..<8)
    }
}

/// An address of either family.
public enum IPAddress: Sendable, Hashable, CustomStringConvertible {
    case v4(IPv4Address)
    case v6(IPv6Address)

    /// Either family's text, IPv6 also in brackets.
    public init?(_ text: some StringProtocol) {
        if let address = IPv4Address(text) {
            self = .v4(address)
            return
        }
        let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : String(text)
        guard let address = IPv6Address(bare) else { return nil }
        self = .v6(address)
    }

    public var isLoopback: Bool {
        switch self {
        case .v4(let address): address.isLoopback
        case .v6(let address): address.isLoopback
        }
    }

    public var isUnspecified: Bool { self == .v4(.any) || self == .v6(.any) }

    public var description: String {
        switch self {
        case .v4(let address): address.description
        case .v6(let address): address.description
        }
    }

    /// As it stands before `:port`: IPv6 in brackets.
    public var hostText: String {
        if case .v6(let address) = self { "[\(address)]" } else { description }
    }
}

/// An IPv4 network in CIDR form; the host part of the address is zero.
public struct IPv4Subnet: Sendable, Hashable, CustomStringConvertible {
    public let network: IPv4Address
    /// 0 to 32.
    public let prefix: UInt8

    /// The network that the address lies in.
    public init(_ address: IPv4Address, prefix: UInt8) {
        self.prefix = min(prefix, 32)
        self.network = IPv4Address(number: address.number & IPv4Subnet.mask(self.prefix))
    }

    /// `a.b.c.d/n`; nil otherwise. A host part is cut off.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPv4Address(parts[0]), parts[1].first != "+", let prefix = UInt8(parts[1]),
            prefix <= 32
        else { return nil }
        self.init(address, prefix: prefix)
    }

    private static func mask(_ prefix: UInt8) -> UInt32 { prefix == 0 ? 0 : UInt32.max << (32 - UInt32(prefix)) }

    public var mask: IPv4Address { IPv4Address(number: IPv4Subnet.mask(prefix)) }
    public var broadcast: IPv4Address { IPv4Address(number: network.number | ~IPv4Subnet.mask(prefix)) }
    /// The first usable address: the gateway.
    public var gateway: IPv4Address { IPv4Address(number: network.number &+ 1) }
    /// Addresses in the network, the network's own and the broadcast address included.
    public var count: UInt64 { 1 << UInt64(32 - prefix) }

    public func contains(_ address: IPv4Address) -> Bool { address.number & IPv4Subnet.mask(prefix) == network.number }

    public func overlaps(_ other: IPv4Subnet) -> Bool { contains(other.network) || other.contains(network) }

    public var description: String { "\(network)/\(prefix)" }
}

/// An Ethernet address.
public struct MACAddress: Sendable, Hashable, CustomStringConvertible {
    /// Six bytes.
    public let bytes: [UInt8]

    /// Six bytes of a unicast address; nil otherwise.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 6 else { return nil }
        self.bytes = bytes
    }

    /// Six hexadecimal pairs with `:` or `-` between them; nil otherwise.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(omittingEmptySubsequences: false) { $0 == ":" || $0 == "-" }
        let bytes = parts.compactMap { $0.utf8.count == 2 && $0.first != "+" ? UInt8($0, radix: 16) : nil }
        guard parts.count == 6, bytes.count == 6 else { return nil }
        self.bytes = bytes
    }

    /// The locally administered one that belongs to a container's address, as docker makes them: 02:42 and the address. It is
    /// the same after a restart, so that neighbours' caches stay true.
    public init(of address: IPv4Address) { self.bytes = [0x02, 0x42] + address.bytes }

    public var isMulticast: Bool { (bytes.first ?? 0) & 1 == 1 }

    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}

extension IPv4Address: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let address = IPv4Address(text) else { throw reader.fault("\"\(text)\" is no IPv4 address") }
        self = address
    }
    public func write(to writer: inout JSONWriter) { writer.string(description) }
}

extension IPAddress: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let address = IPAddress(text) else { throw reader.fault("\"\(text)\" is no IP address") }
        self = address
    }
    public func write(to writer: inout JSONWriter) { writer.string(description) }
}

extension IPv4Subnet: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let subnet = IPv4Subnet(text) else { throw reader.fault("\"\(text)\" is no IPv4 network (a.b.c.d/n)") }
        self = subnet
    }
    public func write(to writer: inout JSONWriter) { writer.string(description) }
}

extension MACAddress: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let address = MACAddress(text) else { throw reader.fault("\"\(text)\" is no MAC address") }
        self = address
    }
    public func write(to writer: inout JSONWriter) { writer.string(description) }
}
