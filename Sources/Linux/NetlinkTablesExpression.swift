/// One expression of an nf_tables rule, by name and attributes; the constructors build nft's own byte code (`nft --debug=netlink`).
public struct TablesExpression: Sendable, Hashable {
    public let name: String
    /// Its attributes, as the kernel has them.
    public let content: [UInt8]

    /// As another rule has it.
    public init(name: String, content: [UInt8]) {
        self.name = name
        self.content = content
    }

    private init(_ name: String, _ attributes: (inout NetlinkWriter) -> Void) {
        self.name = name
        var writer = NetlinkWriter(capacity: 64)
        attributes(&writer)
        content = writer.bytes
    }

    func write(to writer: inout NetlinkWriter) {
        writer.attribute(1, text: name)
        writer.nested(2) { $0.raw(content) }
    }

    /// Registers: 1 to 4 hold 16 bytes each; 8 to 23 are the same bytes in fours (8 is the start of 1, 9 the next four).
    public static let firstRegister: UInt32 = 1

    public enum Meta: UInt32, Sendable {
        case etherType = 1, mark = 3, inputIndex = 4, inputName = 6, outputName = 7, inputType = 8, family = 15, transport = 16
        case packetType = 19, inputGroup = 21
    }

    public static func load(_ key: Meta, into register: UInt32 = firstRegister) -> TablesExpression {
        TablesExpression("meta") { writer in
            writer.attribute(2, big: key.rawValue)
            writer.attribute(1, big: register)
        }
    }

    public enum Header: UInt32, Sendable { case link = 0, network = 1, transport = 2 }

    public static func load(_ header: Header, at offset: UInt32, size: UInt32, into register: UInt32 = firstRegister)
        -> TablesExpression
    {
        TablesExpression("payload") { writer in
            writer.attribute(1, big: register)
            writer.attribute(2, big: header.rawValue)
            writer.attribute(3, big: offset)
            writer.attribute(4, big: size)
        }
    }

    public enum Connection: UInt32, Sendable { case state = 0, direction = 1, status = 2 }

    public static func load(_ key: Connection, into register: UInt32 = firstRegister) -> TablesExpression {
        TablesExpression("ct") { writer in
            writer.attribute(2, big: key.rawValue)
            writer.attribute(1, big: register)
        }
    }

    /// The kind of the destination address in the routing tables (RTN_LOCAL is 2).
    public static func loadDestinationKind(into register: UInt32 = firstRegister) -> TablesExpression {
        loadAddressKind(isSource: false, into: register)
    }

    /// NFT_FIB_RESULT_ADDRTYPE of the source or the destination address.
    public static func loadAddressKind(isSource: Bool, into register: UInt32 = firstRegister) -> TablesExpression {
        TablesExpression("fib") { writer in
            writer.attribute(3, big: UInt32(isSource ? 1 : 2))
            writer.attribute(2, big: UInt32(3))
            writer.attribute(1, big: register)
        }
    }

    public static func compare(_ value: [UInt8], isEqual: Bool = true, register: UInt32 = firstRegister) -> TablesExpression {
        TablesExpression("cmp") { writer in
            writer.attribute(1, big: register)
            writer.attribute(2, big: UInt32(isEqual ? 0 : 1))
            writer.nested(3) { $0.attribute(1, bytes: value) }
        }
    }

    /// Keeps the bits of the mask.
    public static func mask(_ mask: [UInt8], register: UInt32 = firstRegister) -> TablesExpression {
        TablesExpression("bitwise") { writer in
            writer.attribute(1, big: register)
            writer.attribute(2, big: register)
            writer.attribute(3, big: UInt32(mask.count))
            writer.nested(4) { $0.attribute(1, bytes: mask) }
            writer.nested(5) { $0.attribute(1, bytes: [UInt8](repeating: 0, count: mask.count)) }
        }
    }

    /// Goes on only where the set has the key; with a destination, loads the map's value.
    public static func lookup(_ set: String, id: UInt32, from register: UInt32 = firstRegister, into destination: UInt32? = nil)
        -> TablesExpression
    {
        TablesExpression("lookup") { writer in
            writer.attribute(1, text: set)
            writer.attribute(4, big: id)
            writer.attribute(2, big: register)
            if let destination { writer.attribute(3, big: destination) }
        }
    }

    /// Goes on only where the set does not have the key (NFT_LOOKUP_F_INV).
    public static func lookup(absentFrom set: String, id: UInt32, from register: UInt32 = firstRegister) -> TablesExpression {
        TablesExpression("lookup") { writer in
            writer.attribute(1, text: set)
            writer.attribute(4, big: id)
            writer.attribute(2, big: register)
            writer.attribute(5, big: UInt32(1))
        }
    }

    /// Redirects to the IPv4 address and port in these registers.
    public static func redirect(address: UInt32, port: UInt32) -> TablesExpression { redirect(2, address, port) }

    /// Redirects to the IPv6 address and port in these registers.
    public static func redirect(address6: UInt32, port: UInt32) -> TablesExpression { redirect(10, address6, port) }

    private static func redirect(_ family: UInt32, _ address: UInt32, _ port: UInt32) -> TablesExpression {
        TablesExpression("nat") { writer in
            writer.attribute(1, big: UInt32(1))
            writer.attribute(2, big: family)
            writer.attribute(3, big: address)
            writer.attribute(5, big: port)
        }
    }

    public static let masquerade = TablesExpression("masq") { _ in }

    public enum Verdict: Sendable, Hashable {
        case accept, drop
        /// Back to the rule after the jump; in a base chain: its policy.
        case leave
        case jump(String)
        case goto(String)
        /// A program in user space decides.
        case queue

        /// NFT_DATA_VERDICT; nil for one that is none of these.
        public init?(_ data: NetlinkAttributes) throws {
            guard let verdict = try data.nested(2), let code = verdict.big(1, as: Int32.self) else { return nil }
            switch (code, verdict.text(2)) {
            case (0, _): self = .drop
            case (1, _): self = .accept
            case (-5, _): self = .leave
            case (-3, let chain?): self = .jump(chain)
            case (-4, let chain?): self = .goto(chain)
            case (3, _): self = .queue
            default: return nil
            }
        }

        func write(to data: inout NetlinkWriter) {
            data.nested(2) { nested in
                switch self {
                case .accept: nested.attribute(1, big: Int32(1))
                case .drop: nested.attribute(1, big: Int32(0))
                case .leave: nested.attribute(1, big: Int32(-5))
                case .queue: nested.attribute(1, big: Int32(3))
                case .jump(let chain):
                    nested.attribute(1, big: Int32(-3))
                    nested.attribute(2, text: chain)
                case .goto(let chain):
                    nested.attribute(1, big: Int32(-4))
                    nested.attribute(2, text: chain)
                }
            }
        }
    }

    /// The verdict is the value that the map has for the key in the register.
    public static func verdict(of map: String, id: UInt32, from register: UInt32) -> TablesExpression {
        TablesExpression("lookup") { writer in
            writer.attribute(1, text: map)
            writer.attribute(4, big: id)
            writer.attribute(2, big: register)
            writer.attribute(3, big: UInt32(0))
        }
    }

    /// The same lookup in a set with another name.
    public func asking(_ set: String, id: UInt32) -> TablesExpression {
        guard name == "lookup", let attributes = try? NetlinkAttributes(content[...]) else { return self }
        return TablesExpression("lookup") { writer in
            writer.attribute(1, text: set)
            writer.attribute(4, big: id)
            for attribute in attributes.all where ![1, 4].contains(attribute.type) {
                writer.attribute(attribute.type, bytes: attribute.content)
            }
        }
    }

    public static func verdict(_ verdict: Verdict) -> TablesExpression {
        TablesExpression("immediate") { writer in
            writer.attribute(1, big: UInt32(0))
            writer.nested(2) { verdict.write(to: &$0) }
        }
    }

    /// Loads a value that is known beforehand.
    public static func constant(_ value: [UInt8], into register: UInt32 = firstRegister) -> TablesExpression {
        TablesExpression("immediate") { writer in
            writer.attribute(1, big: register)
            writer.nested(2) { $0.attribute(1, bytes: value) }
        }
    }

    public static func within(_ first: [UInt8], _ last: [UInt8], isInside: Bool = true, register: UInt32 = firstRegister)
        -> TablesExpression
    {
        TablesExpression("range") { writer in
            writer.attribute(1, big: register)
            writer.attribute(2, big: UInt32(isInside ? 0 : 1))
            writer.nested(3) { $0.attribute(1, bytes: first) }
            writer.nested(4) { $0.attribute(1, bytes: last) }
        }
    }

    /// A part of an IPv6 extension header (NFT_EXTHDR_OP_IPV6); the rule ends for a packet without it.
    public static func load(extension header: UInt8, at offset: UInt32, size: UInt32, into register: UInt32 = firstRegister)
        -> TablesExpression
    {
        TablesExpression("exthdr") { writer in
            writer.attribute(1, big: register)
            writer.attribute(2, big: header)
            writer.attribute(3, big: offset)
            writer.attribute(4, big: size)
            writer.attribute(6, big: UInt32(0))
        }
    }

    /// The answer that a packet gets which is dropped (enum nft_reject_types).
    public enum Rejection: Sendable, Hashable {
        /// The code of an ICMP message "destination unreachable", of the packet's family.
        case unreachable(UInt8)
        case reset
        /// enum nft_reject_inet_code: the same for both families.
        case either(UInt8)
    }

    public static func reject(_ kind: Rejection) -> TablesExpression {
        TablesExpression("reject") { writer in
            switch kind {
            case .unreachable(let code):
                writer.attribute(1, big: UInt32(0))
                writer.attribute(2, big: code)
            case .reset: writer.attribute(1, big: UInt32(1))
            case .either(let code):
                writer.attribute(1, big: UInt32(2))
                writer.attribute(2, big: code)
            }
        }
    }

    /// Goes on for so many packets, and a burst before that.
    public static func limit(packets: UInt64, seconds: UInt64, burst: UInt32) -> TablesExpression {
        TablesExpression("limit") { writer in
            writer.attribute(1, big: packets)
            writer.attribute(2, big: seconds)
            writer.attribute(3, big: burst)
        }
    }

    /// Counts packets and bytes.
    public static let counter = TablesExpression("counter") { writer in
        writer.attribute(1, big: UInt64(0))
        writer.attribute(2, big: UInt64(0))
    }

    /// A line in the kernel's log; the level is syslog's.
    public static func log(prefix: String, level: UInt32) -> TablesExpression {
        TablesExpression("log") { writer in
            writer.attribute(2, text: prefix)
            writer.attribute(5, big: level)
        }
    }
}
