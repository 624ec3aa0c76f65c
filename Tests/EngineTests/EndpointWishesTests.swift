import Engine
import JSON
import Model
import Networks
import Testing

@Suite struct EndpointWishesTests {
    private static func endpoint(_ json: String) throws -> Docker.EndpointSettings {
        try Docker.EndpointSettings(json: Array(json.utf8))
    }

    private static func network(_ name: String, _ subnets: String...) throws -> NetworkRecord {
        var record = NetworkRecord(
            id: .random(), name: name, created: Timestamp(nanoseconds: 0), driver: .bridge(BridgeSettings(bridge: "br-test")))
        for text in subnets {
            let subnet = try #require(IPSubnet(text))
            if subnet.v4 != nil {
                record.ipv4.append(AddressRange(subnet: subnet))
            } else {
                record.ipv6.append(AddressRange(subnet: subnet))
            }
        }
        return record
    }

    @Test(arguments: [
        (#"{"IPAMConfig":{"IPv4Address":"10.9.0.1"}}"#, "no configured subnet or ip-range contain the IP address 10.9.0.1"),
        (
            #"{"IPAMConfig":{"IPv4Address":"nonsense"}}"#,
            "* invalid IPv4 address: nonsense\n* no configured subnet or ip-range contain the IP address nonsense"
        ),
        (
            #"{"IPAMConfig":{"IPv6Address":"fd00::1"}}"#,
            "user specified IP address is supported only when connecting to networks with user configured subnets"
        ),
        (#"{"IPAMConfig":{"LinkLocalIPs":["nonsense"]}}"#, "invalid link-local IP address: nonsense"),
        (
            #"{"DriverOpts":{"com.docker.network.endpoint.sysctls":"net.ipv4.ip_forward=1"}}"#,
            "unrecognised network interface sysctl 'net.ipv4.ip_forward=1'; represent 'net.X.Y.ethN.Z=V' as "
                + "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
        ),
    ]) func wishesThatDoNotFitAreNamed(_ json: String, _ text: String) throws {
        let network = try Self.network("one", "10.1.0.0/24")
        #expect(
            EndpointWishes.fault(try Self.endpoint(json), on: network, named: "one") == "invalid endpoint settings:\n" + text)
    }

    @Test func macAddressesAreNamedAlone() throws {
        let wish = try Self.endpoint(#"{"MacAddress":"nonsense","IPAMConfig":{"IPv4Address":"10.9.0.1"}}"#)
        #expect(
            EndpointWishes.fault(wish, on: try Self.network("one", "10.1.0.0/24"), named: "one")
                == "invalid MAC address nonsense")
    }

    @Test func theDefaultBridgeHasNeitherAliasesNorAddressesOfOnesOwn() throws {
        let bridge = try Self.network("bridge", "172.17.0.0/16")
        #expect(
            EndpointWishes.fault(try Self.endpoint(#"{"Aliases":["a"]}"#), on: bridge, named: "bridge")
                == "invalid endpoint settings:\nnetwork-scoped alias is supported only for containers in user defined networks")
        #expect(
            EndpointWishes.fault(
                try Self.endpoint(#"{"IPAMConfig":{"IPv4Address":"172.17.0.9"}}"#), on: bridge, named: "bridge")
                == "invalid endpoint settings:\n* user specified IP address is supported on user defined networks only\n"
                + "* user specified IP address is supported only when connecting to networks with user configured subnets")
    }

    @Test func aContainersEndpointsAreCheckedTogether() throws {
        let network = try Self.network("one", "10.1.0.0/24")
        let wishes = [
            "one": try Self.endpoint(#"{"IPAMConfig":{"IPv4Address":"10.9.0.1"}}"#),
            "later": try Self.endpoint(#"{"MacAddress":"x"}"#),
        ]
        #expect {
            try EndpointWishes.check(wishes) { $0 == "one" ? network : nil }
        } throws: { error in
            (error as? Fault)?.message == "* invalid config for network later: invalid MAC address x\n"
                + "* invalid config for network one: invalid endpoint settings:\n"
                + "no configured subnet or ip-range contain the IP address 10.9.0.1"
        }
        try EndpointWishes.check(["later": try Self.endpoint(#"{"IPAMConfig":{"IPv4Address":"10.9.0.1"}}"#)]) { _ in nil }
    }

    @Test func anEndpointBecomesARequest() throws {
        let network = try Self.network("one", "10.1.0.0/24", "fd12::/64")
        let wish = try Self.endpoint(
            """
            {"IPAMConfig":{"IPv4Address":"10.1.0.9","IPv6Address":"fd12::9"},"MacAddress":"02:42:0a:01:00:09","Aliases":["db","sql"],
            "GwPriority":-5,"DriverOpts":{"com.docker.network.endpoint.ifname":"net7",
            "com.docker.network.endpoint.sysctls":"net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=0"}}
            """)
        #expect(EndpointWishes.fault(wish, on: network, named: "one") == nil)
        let request = EndpointWishes.attachment(wish, network: network)
        #expect(request.network == network.id)
        #expect(request.ipv4?.description == "10.1.0.9" && request.ipv6?.description == "fd12::9")
        #expect(request.mac?.description == "02:42:0a:01:00:09" && request.aliases == ["db", "sql"])
        #expect(request.gatewayPriority == -5 && request.interface == "net7")
        #expect(request.sysctls == ["net.ipv4.conf.IFNAME.log_martians=1", "net.ipv6.conf.IFNAME.accept_ra=0"])
    }

    @Test func namesComeInDockersOrderWithoutRepetition() throws {
        let id = ObjectID.random()
        #expect(
            EndpointWishes.names(container: "web", id: id, hostname: "web", aliases: ["a", "web", "b", "a"])
                == ["web", "a", "b", id.short])
        #expect(EndpointWishes.names(container: "web", id: id, hostname: id.short, aliases: []) == ["web", id.short])
        #expect(EndpointWishes.names(container: "web", id: id, hostname: nil, aliases: []) == ["web", id.short])
    }
}
