import Linux
import Model
import Testing

/// What the kernel sends is taken apart without trust: whatever the bytes, a fault or a value, never a crash.
@Suite struct NetlinkParserTests {
    private static let link = NetlinkMessageTests.hex(
        """
        80 00 00 00  10 00  02 00  01 00 00 00  01 00 00 00
        00 00  01 00  04 00 00 00  43 10 01 00  00 00 00 00 ; Ethernet, index 4, UP|BROADCAST|RUNNING|MULTICAST|LOWER_UP
        11 00  03 00  76 65 74 68 61 63 31 65 30 30 30 32 00  00 00 00
        0a 00  01 00  02 42 ac 1e 00 02  00 00
        08 00  04 00  dc 05 00 00
        08 00  0a 00  03 00 00 00
        05 00  10 00  06  00 00 00                          ; IFLA_OPERSTATE up
        28 00  12 00
        09 00  01 00  76 65 74 68 00  00 00 00
        0b 00  04 00  62 72 69 64 67 65 00  00
        0c 00  05 00  05 00  01 00  03  00 00 00 ; slave data: forwarding
        """)

    @Test func aLinkIsRead() throws {
        let reply = try #require(NetlinkReply.parse(Self.link[...]).first)
        let link = try #require(try LinkInfo(reply))
        #expect(link.name == "vethac1e0002")
        #expect(link.index == 4)
        #expect(link.master == 3)
        #expect(link.mtu == 1500)
        #expect(link.kind == "veth")
        #expect(link.mac?.description == "02:42:ac:1e:00:02")
        #expect(link.isUp)
        #expect(link.isRunning)
    }

    @Test func aRouteAndAnAddressAreRead() throws {
        let route = NetlinkMessageTests.hex(
            """
            34 00 00 00  18 00  02 00  01 00 00 00  01 00 00 00
            02 10 00 00  fe 02 fd 01  00 00 00 00
            08 00  0f 00  fe 00 00 00
            08 00  01 00  ac 1e 00 00
            08 00  04 00  03 00 00 00
            """)
        let routeReply = try #require(NetlinkReply.parse(route[...]).first)
        let info = try #require(try RouteInfo(routeReply))
        #expect(info.destination.description == "172.30.0.0/16")
        #expect(info.link == 3)
        #expect(info.table == 254)
        #expect(info.gateway == nil)
        let address = NetlinkMessageTests.hex(
            """
            2c 00 00 00  14 00  02 00  01 00 00 00  01 00 00 00
            0a 40 80 00  03 00 00 00
            14 00  01 00  fe 80 00 00 00 00 00 00 00 00 00 00 00 00 00 01
            """)
        let addressReply = try #require(NetlinkReply.parse(address[...]).first)
        let second = try #require(try AddressInfo(addressReply))
        #expect(second.address.description == "fe80::1")
        #expect(second.prefix == 64)
        #expect(second.link == 3)
    }

    @Test(arguments: [1, 8, 15, 17, 35, 60, 115]) func aTruncatedMessageIsAFaultOrNothing(_ length: Int) {
        #expect((try? NetlinkReply.parse(Self.link[..<length]))?.isEmpty ?? true)
    }

    @Test func mutatedMessagesNeverCrash() {
        var random = SplitMix(state: 42)
        var seeds = [Self.link]
        seeds.append(
            TablesRequest(table: "skiff").add([TablesElement(key: [1, 2, 3, 4], value: [5])], to: "s")[0].bytes(sequence: 1))
        seeds.append([0x24, 0, 0, 0, 2, 0, 0, 3, 1, 0, 0, 0, 1, 0, 0, 0] + [UInt8](repeating: 0xFF, count: 20))
        for round in 0..<30_000 {
            var bytes = seeds[round % seeds.count]
            for _ in 0..<(1 + Int(random.next() % 6)) {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            if round % 3 == 0 { bytes.removeLast(Int(random.next() % UInt64(bytes.count))) }
            // The message's own length right, so that what is inside is reached.
            if round % 2 == 0, bytes.count >= 16 {
                bytes[0] = UInt8(bytes.count & 0xFF)
                bytes[1] = 0
                bytes[2] = 0
                bytes[3] = 0
            }
            for reply in (try? NetlinkReply.parse(bytes[...])) ?? [] {
                var reply = reply
                _ = try? reply.acknowledgement()
                for type in [16, 20, 24, 10 << 8 | 12] as [UInt16] {
                    reply.type = type
                    _ = try? LinkInfo(reply)
                    _ = try? AddressInfo(reply)
                    _ = try? RouteInfo(reply)
                    _ = try? TablesElement.parse(reply)
                }
            }
        }
    }

    @Test func notificationsThatTellOfALossOfOurTable() throws {
        // Notifications look as requests do, NFT_MSG_DELTABLE (2) and NFT_MSG_NEWTABLE (0) among them.
        let ours = TablesRequest(table: "skiff")
        func event(_ message: NetlinkMessage) throws -> NetlinkReply {
            try #require(try NetlinkReply.parse(message.bytes(sequence: 7)[...]).first)
        }
        #expect(ours.isLoss(try event(ours.delete())))
        #expect(!ours.isLoss(try event(TablesRequest(table: "skiff-test0").delete())))
        #expect(!ours.isLoss(try event(ours.create(note: "skiff 1"))))
        #expect(!ours.isLoss(try event(ours.append([], to: "forward"))))
    }
}

/// The same numbers on every run.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
