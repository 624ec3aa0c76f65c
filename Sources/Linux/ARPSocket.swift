import Glibc
import Model

/// Asks on a link who has an IPv4 address, without claiming one (RFC 5227 2.1.1, packet(7)). For the network namespace of the
/// thread that makes it. Not shared between threads.
public final class ARPSocket {
    /// Somebody's claim to an address.
    public struct Claim: Sendable, Hashable {
        public let address: IPv4Address
        public let mac: MACAddress
    }

    private let descriptor: Descriptor
    private let link: Int32

    public init(link index: Int32) throws {
        link = index
        let kind = CInt(SOCK_DGRAM.rawValue) | 0o2000000
        let proto = CInt(Self.etherType.bigEndian)
        descriptor = Descriptor(owning: try kernel("socket AF_PACKET") { socket(Self.family, kind, proto) })
        let raw = descriptor.raw
        try kernel("bind AF_PACKET") {
            Self.withAddress(index, []) { pointer, size in bind(raw, pointer, size) }
        }
    }

    private static let family: CInt = 17
    private static let etherType: UInt16 = 0x0806

    /// struct sockaddr_ll
    private static func withAddress(_ link: Int32, _ mac: [UInt8], _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt) -> CInt
    {
        var writer = NetlinkWriter(capacity: 20)
        writer.native(UInt16(family))
        writer.big(etherType)
        writer.native(link)
        writer.native(UInt16(0))
        writer.native(UInt8(0))
        writer.native(UInt8(mac.count))
        writer.raw(mac + [UInt8](repeating: 0, count: 8 - mac.count))
        return writer.bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return -1 }
            return body(base.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
        }
    }

    /// Sends one question to everybody on the link. `mac` is the link's own.
    public func ask(for address: IPv4Address, from mac: MACAddress) throws {
        let message = Self.probe(address, mac)
        let raw = descriptor.raw
        try kernel("sendto AF_PACKET") {
            Self.withAddress(link, [UInt8](repeating: 0xFF, count: 6)) { pointer, size in
                CInt(sendto(raw, message, message.count, CInt(MSG_DONTWAIT), pointer, size))
            }
        }
    }

    /// What is claimed within the time, in whatever ARP packets.
    public func claims(milliseconds: CInt) throws -> [Claim] {
        var poll = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        guard Glibc.poll(&poll, 1, milliseconds) > 0 else { return [] }
        var found: [Claim] = []
        var buffer = [UInt8](repeating: 0, count: 128)
        let raw = descriptor.raw
        for _ in 0..<256 {
            let count = buffer.withUnsafeMutableBytes { recv(raw, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT)) }
            guard count > 0 else { break }
            if let claim = Self.claim(Array(buffer[..<count])) { found.append(claim) }
        }
        return found
    }

    /// Ethernet, IPv4, sizes, request; sender's addresses (0.0.0.0: none yet), the target's.
    public static func probe(_ address: IPv4Address, _ mac: MACAddress) -> [UInt8] {
        [0, 1, 8, 0, 6, 4, 0, 1] + mac.bytes + [0, 0, 0, 0] + [0, 0, 0, 0, 0, 0] + address.bytes
    }

    /// Nil for what is no ARP packet of IPv4 over Ethernet, or claims nothing.
    public static func claim(_ bytes: [UInt8]) -> Claim? {
        guard bytes.count >= 28, bytes[..<6] == [0, 1, 8, 0, 6, 4], let mac = MACAddress(bytes: Array(bytes[8..<14])),
            let address = IPv4Address(bytes: bytes[14..<18]), address != .any
        else { return nil }
        return Claim(address: address, mac: mac)
    }
}
