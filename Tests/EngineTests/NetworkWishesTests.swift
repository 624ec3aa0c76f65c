import Engine
import JSON
import Model
import Networks
import Testing

/// The texts are those that dockerd answers with (compared with a real one by Tests/Compatibility/test_network_answers.py).
@Suite struct NetworkWishesTests {
    private static func request(_ json: String) throws -> Docker.NetworkCreateRequest {
        try Docker.NetworkCreateRequest(json: Array(json.utf8))
    }

    private static func fault(_ json: String, configuration: NetworkRecord? = nil) throws -> Fault? {
        do { _ = try NetworkWishes.spec(try request(json), configuration: configuration) } catch let fault as Fault {
            return fault
        }
        return nil
    }

    private static let conf: NetworkRecord = {
        var record = NetworkRecord(id: .zero, name: "conf", created: Timestamp(nanoseconds: 0), driver: .null)
        record.configuration = NetworkConfiguration()
        if let subnet = IPSubnet("10.9.0.0/24") { record.ipv4 = [AddressRange(subnet: subnet)] }
        record.labels = ["k": "v"]
        record.options = [NetworkOptions.mtu: "1400"]
        return record
    }()

    @Test(arguments: ["bridge", "host", "none", "default"]) func predefinedNetworksCannotBeMade(_ name: String) throws {
        let fault = try Self.fault("{\"Name\":\"\(name)\"}")
        #expect(fault?.kind == .forbidden)
        #expect(fault?.message == "operation is not permitted on predefined \(name) network ")
    }

    @Test func namesMustNotBeEmptyAndMayBeAlmostAnything() throws {
        #expect(try Self.fault(#"{"Name":""}"#)?.message == "invalid name: ")
        #expect(try Self.fault(#"{"Name":" "}"#)?.kind == .invalid)
        for name in ["a/b", "a b", "-a", "ü"] { #expect(try Self.fault("{\"Name\":\"\(name)\"}") == nil) }
    }

    @Test func drivers() throws {
        #expect(try NetworkWishes.spec(Self.request(#"{"Name":"x"}"#)).driver == "bridge")
        #expect(
            try Self.fault(#"{"Name":"x","Driver":"nope"}"#) == Fault(.notFound, "plugin \"nope\" not found", subject: "nope"))
        #expect(try Self.fault(#"{"Name":"x","Driver":"host"}"#)?.message == "only one instance of \"host\" network is allowed")
        #expect(
            try Self.fault(#"{"Name":"x","Driver":"overlay"}"#)?.message.hasPrefix("This node is not a swarm manager.") == true)
        #expect(
            try Self.fault(#"{"Name":"x","Scope":"swarm"}"#)?.message
                == "cannot create a swarm scoped network when swarm is not active")
        #expect(try Self.fault(#"{"Name":"x","Ingress":true}"#)?.message == "Ingress network can only be global scope network")
        #expect(try Self.fault(#"{"Name":"x","IPAM":{"Driver":"nope"}}"#)?.kind == .notFound)
    }

    @Test(arguments: [
        (#"{"Subnet":"nonsense"}"#, "invalid subnet nonsense: invalid CIDR block notation"),
        (#"{}"#, "invalid subnet : invalid CIDR block notation"),
        (#"{"Subnet":"10.1.1.7/24"}"#, "invalid subnet 10.1.1.7/24: it should be 10.1.1.0/24"),
        (#"{"Subnet":"fd12::7/64"}"#, "invalid subnet fd12::7/64: it should be fd12::/64"),
        (
            #"{"Subnet":"10.1.1.0/24","Gateway":"10.2.1.1"}"#,
            "invalid gateway 10.2.1.1: parent subnet 10.1.1.0/24 doesn't contain this address"
        ),
        (#"{"Subnet":"10.1.1.0/24","Gateway":"x"}"#, "invalid gateway x: invalid address"),
        (#"{"Subnet":"10.1.1.0/24","Gateway":"fd00::1"}"#, "invalid gateway fd00::1: parent subnet is an IPv4 block"),
        (#"{"Subnet":"fd00::/64","Gateway":"10.0.0.1"}"#, "invalid gateway 10.0.0.1: parent subnet is an IPv6 block"),
        (#"{"Subnet":"10.1.1.0/24","IPRange":"x"}"#, "invalid ip-range x: invalid CIDR block notation"),
        (
            #"{"Subnet":"10.1.1.0/24","IPRange":"10.1.0.0/16"}"#,
            "invalid ip-range 10.1.0.0/16: CIDR block is bigger than its parent subnet 10.1.1.0/24"
        ),
        (#"{"Subnet":"10.1.1.0/24","IPRange":"10.1.1.3/28"}"#, "invalid ip-range 10.1.1.3/28: it should be 10.1.1.0/28"),
        (
            #"{"Subnet":"10.1.1.0/24","IPRange":"10.1.2.0/28"}"#,
            "invalid ip-range 10.1.2.0/28: parent subnet 10.1.1.0/24 doesn't contain ip-range"
        ),
        (
            #"{"Subnet":"10.1.1.0/24","AuxiliaryAddresses":{"a":"10.2.0.1"}}"#,
            "invalid auxiliary address a: parent subnet 10.1.1.0/24 doesn't contain this address"
        ),
        (
            #"{"Subnet":"10.1.1.0/24","Gateway":"10.9.9.9","IPRange":"10.9.9.0/28"}"#,
            "* invalid ip-range 10.9.9.0/28: parent subnet 10.1.1.0/24 doesn't contain ip-range\n"
                + "* invalid gateway 10.9.9.9: parent subnet 10.1.1.0/24 doesn't contain this address"
        ),
    ]) func addressesThatDoNotFitAreNamed(_ config: String, _ text: String) throws {
        let fault = try Self.fault("{\"Name\":\"x\",\"IPAM\":{\"Config\":[\(config)]}}")
        #expect(fault?.kind == .invalid)
        #expect(fault?.message == "invalid network config:\n" + text)
    }

    @Test func subnetsOfOneNetworkMustNotOverlap() throws {
        let fault = try Self.fault(
            #"{"Name":"x","IPAM":{"Config":[{"Subnet":"10.1.1.0/24"},{"Subnet":"10.1.1.128/25"}]}}"#)
        #expect(fault?.kind == .forbidden)
        #expect(fault?.message.contains("Pool overlaps with other one on this address space") == true)
    }

    @Test func addressesComeThrough() throws {
        let spec = try NetworkWishes.spec(
            Self.request(
                """
                {"Name":"x","Internal":true,"Attachable":true,"EnableIPv6":true,"Labels":{"a":"b"},
                "IPAM":{"Driver":"default","Options":{"o":"p"},"Config":[{"Subnet":"10.1.1.0/24","IPRange":"10.1.1.128/25",
                "Gateway":"10.1.1.9","AuxiliaryAddresses":{"router":"10.1.1.200"}},{"Subnet":"fd12::/64"}]}}
                """))
        #expect(spec.isInternal && spec.isAttachable && spec.enablesIPv4 && spec.enablesIPv6 == true)
        #expect(spec.labels == ["a": "b"] && spec.ipamOptions == ["o": "p"])
        #expect(spec.ranges.map(\.subnet.description) == ["10.1.1.0/24", "fd12::/64"])
        #expect(spec.ranges[0].range?.description == "10.1.1.128/25")
        #expect(spec.ranges[0].gateway?.description == "10.1.1.9")
        #expect(spec.ranges[0].auxiliary.mapValues(\.description) == ["router": "10.1.1.200"])
        #expect(spec.ranges[1].gateway == nil)
    }

    @Test func aFamilyThatIsOffTakesNoSubnets() throws {
        let spec = try NetworkWishes.spec(
            Self.request(
                #"{"Name":"x","EnableIPv6":false,"IPAM":{"Config":[{"Subnet":"10.1.1.0/24"},{"Subnet":"fd12::/64"}]}}"#))
        #expect(spec.ranges.map(\.subnet.description) == ["10.1.1.0/24"])
        #expect(try NetworkWishes.spec(Self.request(#"{"Name":"x"}"#)).enablesIPv6 == nil)
        let byOption =
            #"{"Name":"x","Options":{"com.docker.network.enable_ipv4":"false","com.docker.network.enable_ipv6":"1"}}"#
        let other = try NetworkWishes.spec(Self.request(byOption))
        #expect(!other.enablesIPv4 && other.enablesIPv6 == true)
        #expect(
            try Self.fault(#"{"Name":"x","EnableIPv4":false,"EnableIPv6":false}"#)?.message == "IPv4 or IPv6 must be enabled")
    }

    @Test(arguments: [
        ("bridge", "com.docker.network.bridge.enable_icc", "maybe", "strconv.ParseBool: parsing \"maybe\": invalid syntax"),
        ("bridge", "com.docker.network.driver.mtu", "big", "strconv.Atoi: parsing \"big\": invalid syntax"),
        ("bridge", "com.docker.network.bridge.host_binding_ipv4", "nonsense", "nil ip"),
        ("bridge", "com.docker.network.bridge.gateway_mode_ipv4", "nope", "unknown gateway mode nope"),
    ]) func optionsThatCannotBeRead(_ driver: String, _ key: String, _ value: String, _ reason: String) throws {
        let fault = try Self.fault("{\"Name\":\"x\",\"Driver\":\"\(driver)\",\"Options\":{\"\(key)\":\"\(value)\"}}")
        #expect(fault?.message == "failed to parse \(key) value: \(value) (\(reason))")
    }

    @Test(arguments: [
        ("bridge", "com.docker.network.driver.mtu", "-1", "invalid MTU number: -1"),
        (
            "macvlan", "macvlan_mode", "nope",
            "requested macvlan mode 'nope' is not valid, 'bridge' mode is the macvlan driver default"
        ),
        ("ipvlan", "ipvlan_mode", "nope", "requested ipvlan mode 'nope' is not valid, 'l2' mode is the ipvlan driver default"),
        ("ipvlan", "ipvlan_flag", "nope", "requested ipvlan flag 'nope' is not valid, 'bridge' is the ipvlan driver default"),
        ("macvlan", "parent", "lo", "loopback interface is not a valid macvlan parent link"),
        (
            "bridge", "com.docker.network.bridge.gateway_mode_ipv4", "isolated",
            "gateway mode 'isolated' can only be used for an internal network"
        ),
        (
            "bridge", "com.docker.network.bridge.name", "a-name-that-is-too-long",
            "invalid bridge name \"a-name-that-is-too-long\": at most 15 bytes, without spaces, slashes and colons"
        ),
    ]) func optionsThatMakeNoSense(_ driver: String, _ key: String, _ value: String, _ text: String) throws {
        let fault = try Self.fault("{\"Name\":\"x\",\"Driver\":\"\(driver)\",\"Options\":{\"\(key)\":\"\(value)\"}}")
        #expect(fault?.kind == .invalid)
        #expect(fault?.message == text)
    }

    @Test func unknownOptionsAreKept() throws {
        let spec = try NetworkWishes.spec(Self.request(#"{"Name":"x","Options":{"com.example.mine":"1"}}"#))
        #expect(spec.options == ["com.example.mine": "1"])
    }

    @Test func configurationNetworks() throws {
        #expect(
            try Self.fault(#"{"Name":"x","ConfigOnly":true,"Internal":true}"#)?.message.hasPrefix(
                "configuration network can only contain network specific fields.") == true)
        #expect(
            try Self.fault(#"{"Name":"x","ConfigFrom":{"Network":"nope"}}"#)
                == Fault(.notFound, "configuration network \"nope\" does not exist", subject: "nope"))
        #expect(
            try Self.fault(#"{"Name":"x","ConfigOnly":true,"ConfigFrom":{"Network":"conf"}}"#, configuration: Self.conf)?
                .message
                == "a configuration network cannot depend on another configuration network")
        #expect(
            try Self.fault(
                #"{"Name":"x","ConfigFrom":{"Network":"conf"},"IPAM":{"Config":[{"Subnet":"10.1.0.0/24"}]}}"#,
                configuration: Self.conf)?.message
                == "user specified configurations are not supported if the network depends on a configuration network")
        #expect(
            try Self.fault(#"{"Name":"x","ConfigFrom":{"Network":"conf"},"Options":{"a":"b"}}"#, configuration: Self.conf)?
                .message
                == "network driver options are not supported if the network depends on a configuration network")
        let spec = try NetworkWishes.spec(
            Self.request(#"{"Name":"x","ConfigFrom":{"Network":"conf"}}"#), configuration: Self.conf)
        #expect(spec.configurationSource == "conf" && spec.labels == ["k": "v"] && spec.options == [NetworkOptions.mtu: "1400"])
        #expect(spec.ranges.map(\.subnet.description) == ["10.9.0.0/24"])
    }
}
