/// One expression of an nf_tables rule, by name and attributes; the constructors build nft's own byte code (`nft --debug=netlink`).
public struct TablesExpression: Sendable {
    let name: String
    let attributes: @Sendable (inout NetlinkWriter) -> Void

    private init(_ name: String, _ attributes: @escaping @Sendable (inout NetlinkWriter) -> Void) {
        self.name = name
        self.attributes = attributes
    }

    func write(to writer: inout NetlinkWriter) {
        writer.attribute(1, text: name)
        writer.nested(2) { attributes(&$0) }
    }

    /// Registers: 1 to 4 hold 16 bytes each; 8 to 23 are the same bytes in fours (8 is the start of 1, 9 the next four).
    public static let firstRegister: UInt32 = 1

    public enum Meta: UInt32, Sendable {
        case etherType = 1, inputName = 6, outputName = 7, family = 15, transport = 16, inputGroup = 21
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

    public enum Connection: UInt32, Sendable { case state = 0, status = 2 }

    public static func load(_ key: Connection, into register: UInt32 = firstRegister) -> TablesExpression {
        TablesExpression("ct") { writer in
            writer.attribute(2, big: key.rawValue)
            writer.attribute(1, big: register)
        }
    }

    /// The kind of the destination address in the routing tables (RTN_LOCAL is 2).
    public static func loadDestinationKind(into register: UInt32 = firstRegister) -> TablesExpression {
        TablesExpression("fib") { writer in
            writer.attribute(3, big: UInt32(2))
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
    public static func redirect(address: UInt32, port: UInt32) -> TablesExpression {
        TablesExpression("nat") { writer in
            writer.attribute(1, big: UInt32(1))
            writer.attribute(2, big: UInt32(2))
            writer.attribute(3, big: address)
            writer.attribute(5, big: port)
        }
    }

    public static let masquerade = TablesExpression("masq") { _ in }

    public enum Verdict: Sendable {
        case accept, drop
        case jump(String)
    }

    public static func verdict(_ verdict: Verdict) -> TablesExpression {
        TablesExpression("immediate") { writer in
            writer.attribute(1, big: UInt32(0))
            writer.nested(2) { data in
                data.nested(2) { nested in
                    switch verdict {
                    case .accept: nested.attribute(1, big: Int32(1))
                    case .drop: nested.attribute(1, big: Int32(0))
                    case .jump(let chain):
                        nested.attribute(1, big: Int32(-3))
                        nested.attribute(2, text: chain)
                    }
                }
            }
        }
    }
}
