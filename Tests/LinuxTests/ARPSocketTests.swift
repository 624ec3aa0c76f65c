import Linux
import Model
import Testing

@Suite struct ARPSocketTests {
    @Test func aProbeClaimsNothing() throws {
        let mac = try #require(MACAddress("02:42:ac:1e:00:01"))
        let address = try #require(IPv4Address("172.30.0.9"))
        let probe = ARPSocket.probe(address, mac)
        let expected = NetlinkMessageTests.hex(
            """
            00 01  08 00  06 04  00 01                          ; Ethernet, IPv4, sizes, request
            02 42 ac 1e 00 01  00 00 00 00                      ; sender: the link, no address
            00 00 00 00 00 00  ac 1e 00 09                      ; target
            """)
        #expect(probe == expected)
        #expect(ARPSocket.claim(probe) == nil)
    }

    @Test func anAnswerClaims() throws {
        let mac = try #require(MACAddress("52:54:00:12:34:56"))
        let address = try #require(IPv4Address("172.30.0.9"))
        let answer = [0, 1, 8, 0, 6, 4, 0, 2] + mac.bytes + address.bytes + [UInt8](repeating: 1, count: 10)
        let claim = try #require(ARPSocket.claim(answer + [0, 0, 0]))
        #expect(claim.mac == mac && claim.address == address)
        #expect(ARPSocket.claim(Array(answer.prefix(27))) == nil)
        #expect(ARPSocket.claim([0, 6] + answer.dropFirst(2)) == nil)
    }
}
