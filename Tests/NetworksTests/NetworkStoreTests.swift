import Model
import Networks
import State
import TestSupport
import Testing

@Suite struct NetworkStoreTests {
    @Test func aNetworksSubnetIsTheSameInTheNextEngine() throws {
        let scratch = try Scratch()
        let subnet = try #require(IPSubnet("10.213.0.0/16"))
        var settings = BridgeSettings(bridge: "skiff0")
        settings.isDefault = true
        settings.allowsNeighbours = false
        settings.hostBindingIPv4 = .loopback
        var record = NetworkRecord(
            id: .random(), name: "bridge", created: Timestamp(nanoseconds: 1_700_000_000_123_456_789),
            driver: .bridge(settings))
        record.ipv4 = [AddressRange(subnet: subnet, gateway: IPAddress("10.213.0.1"))]
        record.labels = ["a": "b"]
        record.mtu = 1400
        do {
            let store = try Database(path: scratch.path + "/skiff.db")
            #expect(try store.networks().isEmpty)
            try store.save(record)
        }
        let store = try Database(path: scratch.path + "/skiff.db")
        #expect(try store.networks() == [record])
        var moved = record
        moved.ipv4 = [AddressRange(subnet: try #require(IPSubnet("10.212.0.0/16")))]
        try store.save(moved)
        #expect(try store.networks() == [moved])
        let rival = NetworkRecord(id: .random(), name: "bridge", created: record.created, driver: .null)
        #expect(throws: Fault.self) { try store.save(rival) }
        try store.delete(network: record.id)
        #expect(try store.networks().isEmpty)
    }

    @Test(
        arguments: [
            .host, .null, .cni("chain"), .macvlan(MacvlanSettings(parent: "eth0.10")), .ipvlan(IpvlanSettings(parent: "eth0")),
        ] as [NetworkDriverSettings])
    func everyDriversSettingsAreKept(_ driver: NetworkDriverSettings) throws {
        var record = NetworkRecord(id: .random(), name: "n", created: Timestamp(nanoseconds: 5), driver: driver)
        record.ipv6 = [
            AddressRange(
                subnet: try #require(IPSubnet("fd00::/64")), range: IPSubnet("fd00::100/120"), gateway: IPAddress("fd00::1"),
                auxiliary: ["router": try #require(IPAddress("fd00::2"))])
        ]
        record.isInternal = true
        record.options = ["parent": "eth0.10"]
        #expect(try NetworkRecord(json: record.json) == record)
    }

    /// The state of an engine from before there were networks of the user's own.
    @Test func theDefaultNetworkOfTheFirstSchemaIsKept() throws {
        let scratch = try Scratch()
        let id = ObjectID.random()
        let path = scratch.path + "/skiff.db"
        do {
            let first = SchemaPart(name: "networks", steps: Array(SchemaPart.networks.steps.prefix(1)))
            let old = try Database(path: path, schema: [first])
            _ = try old.write {
                try $0.run(
                    "INSERT INTO network (id, name, owner, created, bridge, subnet, gateway) VALUES (?, ?, ?, ?, ?, ?, ?)", id,
                    "bridge", 7, 1_700_000_000_123_456_789, "skiff0", "172.30.0.0/16", "172.30.0.1")
            }
        }
        let record = try #require(Database(path: path).networks().first)
        #expect(record.id == id)
        #expect(record.owner == Owner(uid: 7))
        #expect(record.created == Timestamp(nanoseconds: 1_700_000_000_123_456_789))
        #expect(record.bridge?.bridge == "skiff0")
        #expect(record.bridge?.isDefault == true)
        #expect(record.bridge?.allowsNeighbours == true)
        #expect(
            record.ipv4 == [AddressRange(subnet: try #require(IPSubnet("172.30.0.0/16")), gateway: IPAddress("172.30.0.1"))])
    }
}
