import JSON

extension IPv6Address: Comparable {
    public static func < (left: IPv6Address, right: IPv6Address) -> Bool { (left.high, left.low) < (right.high, right.low) }

    /// The address so many further on, wrapping at the end.
    public func advanced(by count: UInt64) -> IPv6Address {
        let sum = low.addingReportingOverflow(count)
        return IPv6Address(high: sum.overflow ? high &+ 1 : high, low: sum.partialValue)
    }

    /// fc00::/7 (RFC 4193).
    public var isUniqueLocal: Bool { high >> 57 == 0x7E }
}

/// An IPv6 network in CIDR form; the host part of the address is zero.
public struct IPv6Subnet: Sendable, Hashable, CustomStringConvertible {
    public let network: IPv6Address
    /// 0 to 128.
    public let prefix: UInt8

    /// The network that the address lies in.
    public init(_ address: IPv6Address, prefix: UInt8) {
        self.prefix = min(prefix, 128)
        let mask = IPv6Subnet.mask(self.prefix)
        self.network = IPv6Address(high: address.high & mask.high, low: address.low & mask.low)
    }

    /// `address/n`; nil otherwise. A host part is cut off.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPv6Address(parts[0]), parts[1].first != "+", let prefix = UInt8(parts[1]),
            prefix <= 128
        else { return nil }
        self.init(address, prefix: prefix)
    }

    private static func mask(_ prefix: UInt8) -> IPv6Address {
        func half(_ bits: UInt8) -> UInt64 { bits == 0 ? 0 : UInt64.max << UInt64(64 - bits) }
        return IPv6Address(high: half(min(prefix, 64)), low: half(prefix > 64 ? prefix - 64 : 0))
    }

    public var mask: IPv6Address { IPv6Subnet.mask(prefix) }
    public var last: IPv6Address { IPv6Address(high: network.high | ~mask.high, low: network.low | ~mask.low) }
    /// The first usable address: the gateway.
    public var gateway: IPv6Address { network.advanced(by: 1) }

    public func contains(_ address: IPv6Address) -> Bool {
        address.high & mask.high == network.high && address.low & mask.low == network.low
    }
    public func overlaps(_ other: IPv6Subnet) -> Bool { contains(other.network) || other.contains(network) }

    public var description: String { "\(network)/\(prefix)" }
}

/// A network of either family.
public enum IPSubnet: Sendable, Hashable, CustomStringConvertible {
    case v4(IPv4Subnet)
    case v6(IPv6Subnet)

    /// Either family's text; a host part is cut off.
    public init?(_ text: some StringProtocol) {
        if let subnet = IPv4Subnet(text) {
            self = .v4(subnet)
        } else if let subnet = IPv6Subnet(text) {
            self = .v6(subnet)
        } else {
            return nil
        }
    }

    public var v4: IPv4Subnet? { if case .v4(let subnet) = self { subnet } else { nil } }
    public var v6: IPv6Subnet? { if case .v6(let subnet) = self { subnet } else { nil } }

    public var prefix: UInt8 {
        switch self {
        case .v4(let subnet): subnet.prefix
        case .v6(let subnet): subnet.prefix
        }
    }

    /// False for an address of the other family.
    public func contains(_ address: IPAddress) -> Bool {
        switch (self, address) {
        case (.v4(let subnet), .v4(let address)): subnet.contains(address)
        case (.v6(let subnet), .v6(let address)): subnet.contains(address)
        default: false
        }
    }

    /// False for a network of the other family.
    public func overlaps(_ other: IPSubnet) -> Bool {
        switch (self, other) {
        case (.v4(let left), .v4(let right)): left.overlaps(right)
        case (.v6(let left), .v6(let right)): left.overlaps(right)
        default: false
        }
    }

    public var description: String {
        switch self {
        case .v4(let subnet): subnet.description
        case .v6(let subnet): subnet.description
        }
    }
}

extension IPAddress {
    public var v4: IPv4Address? { if case .v4(let address) = self { address } else { nil } }
    public var v6: IPv6Address? { if case .v6(let address) = self { address } else { nil } }

    /// In network order: 4 or 16 bytes.
    public var bytes: [UInt8] {
        switch self {
        case .v4(let address): address.bytes
        case .v6(let address): address.bytes
        }
    }

    /// 4 or 16 bytes in network order; nil otherwise.
    public init?(bytes: some Collection<UInt8>) {
        if let address = IPv4Address(bytes: bytes) {
            self = .v4(address)
        } else if let address = IPv6Address(bytes: bytes) {
            self = .v6(address)
        } else {
            return nil
        }
    }
}

extension IPv6Address: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let address = IPv6Address(text) else { throw reader.fault("\"\(text)\" is no IPv6 address") }
        self = address
    }
    public func write(to writer: inout JSONWriter) { writer.string(description) }
}

extension IPv6Subnet: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let subnet = IPv6Subnet(text) else { throw reader.fault("\"\(text)\" is no IPv6 network (address/n)") }
        self = subnet
    }
    public func write(to writer: inout JSONWriter) { writer.string(description) }
}

extension IPSubnet: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let subnet = IPSubnet(text) else { throw reader.fault("\"\(text)\" is no network (address/n)") }
        self = subnet
    }
    public func write(to writer: inout JSONWriter) { writer.string(description) }
}
