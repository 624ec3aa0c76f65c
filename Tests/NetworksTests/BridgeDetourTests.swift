import Linux
import Model
import Networks
import Testing

/// The program at a container's port, run over frames as the kernel would run it.
@Suite struct BridgeDetourTests {
    private static let bridgeMAC: [UInt8] = [2, 0x42, 0xAC, 0x1E, 0, 1]
    private static let mac: [UInt8] = [2, 0x42, 0xAC, 0x1E, 0, 2]
    private static let own4 = IPv4Address(number: 0xAC1E_0002)
    private static let own6 = IPv6Address(high: 0xFD12_3456_789A_0000, low: 2)

    private static func route(ipv4: IPv4Address? = own4, ipv6: IPv6Address? = own6) throws -> BridgeDetour.Route {
        BridgeDetour.Route(
            bridge: 7, bridgeMAC: try #require(MACAddress(bytes: bridgeMAC)), mac: try #require(MACAddress(bytes: mac)),
            ipv4: ipv4,
            ipv6: ipv6)
    }

    private static func frame(
        to destination: [UInt8] = bridgeMAC, from source: [UInt8] = mac, _ address: IPAddress, _ proto: UInt8
    ) -> [UInt8] {
        switch address {
        case .v4(let address):
            destination + source + [8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, proto, 0, 0] + address.bytes + [1, 2, 3, 4]
        case .v6(let address):
            destination + source + [0x86, 0xDD, 0x60, 0, 0, 0, 0, 0, proto, 64] + address.bytes
                + [UInt8](repeating: 9, count: 16)
        }
    }

    /// The link that a frame is handed to; nil where it goes its way. Fails on an instruction that it does not know.
    private static func run(_ program: [EBPFInstruction], _ frame: [UInt8]) throws -> UInt32? {
        var registers = [UInt32](repeating: 0, count: 11)
        var (place, handed) = (0, UInt32?.none)
        while program.indices.contains(place) {
            let step = program[place]
            let (target, value) = (Int(step.registers & 15), UInt32(bitPattern: step.immediate))
            place += 1
            func load(_ size: Int) -> UInt32? {
                let start = Int(value)
                return start + size <= frame.count ? frame[start..<(start + size)].reduce(0) { $0 << 8 | UInt32($1) } : nil
            }
            switch step.code {
            case 0xBF: break
            case 0x20, 0x28, 0x30:
                guard let found = load(step.code == 0x20 ? 4 : step.code == 0x28 ? 2 : 1) else { return nil }
                registers[0] = found
            case 0x56: if registers[target] != value { place += Int(step.offset) }
            case 0x16: if registers[target] == value { place += Int(step.offset) }
            case 0x05: place += Int(step.offset)
            case 0xB7: registers[target] = value
            case 0x85:
                try #require(value == 23 && registers[2] == 1)
                handed = registers[1]
            case 0x95: return handed
            default: Issue.record("instruction \(step.code)")
            }
        }
        Issue.record("the program runs over its end")
        return nil
    }

    @Test func whatItSendsToTheBridgeFromItsOwnAddressesIsHandedOver() throws {
        let program = BridgeDetour.program(try Self.route())
        for proto in [6, 17, 132] as [UInt8] {
            #expect(try Self.run(program, Self.frame(.v4(Self.own4), proto)) == 7)
            #expect(try Self.run(program, Self.frame(.v6(Self.own6), proto)) == 7)
        }
    }

    /// All that the guard of the bridge must see, and what is for neighbours.
    @Test func everythingElseGoesByTheBridge() throws {
        let program = BridgeDetour.program(try Self.route())
        let other: [UInt8] = [2, 0x42, 0xAC, 0x1E, 0, 3]
        let (stranger4, stranger6) = (IPv4Address(number: 0xAC1E_0003), IPv6Address(high: Self.own6.high, low: 3))
        for frame in [
            Self.frame(to: other, .v4(Self.own4), 6), Self.frame(from: other, .v4(Self.own4), 6), Self.frame(.v4(stranger4), 6),
            Self.frame(.v6(stranger6), 6), Self.frame(to: other, .v6(Self.own6), 17), Self.frame(.v6(Self.own6), 58),
            Self.frame(.v6(Self.own6), 0), Self.frame(.v4(Self.own4), 1), Self.bridgeMAC + Self.mac + [8, 6, 0, 1],
            Array(Self.frame(.v4(Self.own4), 6).prefix(28)), [],
        ] {
            #expect(try Self.run(program, frame) == nil, "\(frame)")
        }
    }

    @Test func oneFamilyAlone() throws {
        let four = BridgeDetour.program(try Self.route(ipv6: nil))
        let six = BridgeDetour.program(try Self.route(ipv4: nil))
        #expect(try Self.run(four, Self.frame(.v4(Self.own4), 6)) == 7)
        #expect(try Self.run(four, Self.frame(.v6(Self.own6), 6)) == nil)
        #expect(try Self.run(six, Self.frame(.v6(Self.own6), 6)) == 7)
        #expect(try Self.run(six, Self.frame(.v4(Self.own4), 6)) == nil)
    }
}
