import Model

/// A domain name as it goes over the wire: labels with their lengths, ended by the root's empty one (RFC 1035 3.1), in lower
/// case, so that two equal names are equal bytes. At most 255 bytes, labels at most 63.
public struct DNSName: Sendable, Hashable, CustomStringConvertible {
    public let wire: [UInt8]

    /// Bytes that are known to be such a name.
    init(trusted wire: [UInt8]) { self.wire = wire }

    public static let root = DNSName(trusted: [0])

    /// Labels between dots, with or without a last dot; nil where a label is empty or too long, or the whole is.
    /// No escapes: names of containers and networks have none.
    public init?(_ text: String) {
        var bytes = Array(text.utf8)
        if bytes.last == 0x2E { bytes.removeLast() }
        var wire: [UInt8] = []
        wire.reserveCapacity(bytes.count + 2)
        if !bytes.isEmpty {
            for label in bytes.split(separator: 0x2E, omittingEmptySubsequences: false) {
                guard (1...63).contains(label.count) else { return nil }
                wire.append(UInt8(label.count))
                wire.append(contentsOf: label.map { Self.lower($0) })
            }
        }
        wire.append(0)
        guard wire.count <= 255 else { return nil }
        self.wire = wire
    }

    static func lower(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }

    /// The labels' places in `wire`, without the root's.
    var labels: [Range<Int>] {
        var labels: [Range<Int>] = []
        var at = 0
        while at < wire.count, wire[at] != 0 {
            let end = at + 1 + Int(wire[at])
            labels.append((at + 1)..<end)
            at = end
        }
        return labels
    }

    public var isSingleLabel: Bool { wire.count > 1 && Int(wire[0]) + 2 == wire.count }

    /// Whether the last label is this one.
    func ends(with label: String) -> Bool {
        guard let last = labels.last else { return false }
        return wire[last].elementsEqual(label.utf8)
    }

    /// With dots; bytes that are not printable, and dots in labels, as `\DDD` (RFC 4343 2.1).
    public var description: String {
        if wire == [0] { return "." }
        return labels.map { label in
            wire[label].map { byte in
                if byte > 0x20, byte < 0x7F, byte != 0x2E, byte != 0x5C { return String(UnicodeScalar(byte)) }
                let digits = String(byte)
                return "\\" + String(repeating: "0", count: 3 - digits.count) + digits
            }.joined()
        }.joined(separator: ".")
    }
}

extension DNSName {
    /// The address that a name below in-addr.arpa or ip6.arpa stands for (RFC 1035 3.5, RFC 3596 2.5); nil for any other name,
    /// and for one that stands for a whole network.
    var reversedAddress: IPAddress? {
        let parts = labels
        guard parts.count >= 6, wire[parts[parts.count - 1]].elementsEqual("arpa".utf8) else { return nil }
        let zone = wire[parts[parts.count - 2]]
        let rest = parts.dropLast(2)
        if zone.elementsEqual("in-addr".utf8), rest.count == 4 {
            let text = rest.reversed().map { String(decoding: wire[$0], as: UTF8.self) }.joined(separator: ".")
            return IPv4Address(text).map { .v4($0) }
        }
        guard zone.elementsEqual("ip6".utf8), rest.count == 32 else { return nil }
        var nibbles: [UInt8] = []
        for part in rest.reversed() {
            guard part.count == 1 else { return nil }
            switch wire[part.lowerBound] {
            case let digit where (0x30...0x39).contains(digit): nibbles.append(digit - 0x30)
            case let letter where (0x61...0x66).contains(letter): nibbles.append(letter - 0x61 + 10)
            default: return nil
            }
        }
        let bytes = stride(from: 0, to: 32, by: 2).map { nibbles[$0] << 4 | nibbles[$0 + 1] }
        return IPv6Address(bytes: bytes).map { .v6($0) }
    }
}
