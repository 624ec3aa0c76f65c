import Model
import Testing

@Suite struct NetworkAddressTests {
    @Test(arguments: ["0.0.0.0", "127.0.0.1", "255.255.255.255", "172.30.0.2"]) func ipv4RoundTrips(_ text: String) {
        #expect(IPv4Address(text)?.description == text)
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "1.2.3.-4", "1.2.3.+4", "01.2.3.4", "1.2.3.4 ", "1..2.3", "a.b.c.d",
    ])
    func whatIsNoIPv4IsRefused(_ text: String) {
        #expect(IPv4Address(text) == nil)
    }

    @Test(arguments: [
        ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("::ffff:1.2.3.4", "::ffff:102:304"),
        ("fe80::1:2:3:4", "fe80::1:2:3:4"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ])
    func ipv6IsWrittenAsRFC5952Says(_ text: String, _ canonical: String) {
        #expect(IPv6Address(text)?.description == canonical)
    }

    @Test(arguments: [
        "", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1::", "12345::", "g::", "1:2:3:4:5:6:7:8::", "::1.2.3",
        "::%eth0", "1.2.3.4::",
    ])
    func whatIsNoIPv6IsRefused(_ text: String) {
        #expect(IPv6Address(text) == nil)
    }

    @Test func subnetsKnowTheirBorders() throws {
        let subnet = try #require(IPv4Subnet("172.30.9.9/16"))
        #expect(subnet.description == "172.30.0.0/16")
        #expect(subnet.gateway.description == "172.30.0.1")
        #expect(subnet.broadcast.description == "172.30.255.255")
        #expect(subnet.mask.description == "255.255.0.0")
        #expect(subnet.count == 65_536)
        #expect(subnet.contains(try #require(IPv4Address("172.30.255.255"))))
        #expect(!subnet.contains(try #require(IPv4Address("172.31.0.0"))))
        #expect(IPv4Subnet("0.0.0.0/0")?.overlaps(subnet) == true)
        #expect(IPv4Subnet("172.31.0.0/16")?.overlaps(subnet) == false)
        for text in ["1.2.3.4", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/", "/8", "1.2.3.4/+8"] { #expect(IPv4Subnet(text) == nil) }
    }

    @Test func macAddressesFollowFromAddresses() throws {
        let address = try #require(IPv4Address("172.30.0.2"))
        #expect(MACAddress(of: address).description == "02:42:ac:1e:00:02")
        #expect(MACAddress("02-42-AC-1E-00-02") == MACAddress(of: address))
        for text in ["", "02:42", "02:42:ac:1e:00:0g", "2:42:ac:1e:00:02", "02:42:ac:1e:00:02:03"] {
            #expect(MACAddress(text) == nil)
        }
    }
}
