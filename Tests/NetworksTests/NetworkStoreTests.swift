import Model
import Networks
import State
import TestSupport
import Testing

@Suite struct NetworkStoreTests {
    @Test func aNetworksSubnetIsTheSameInTheNextEngine() throws {
        let scratch = try Scratch()
        let subnet = try #require(IPv4Subnet("10.213.0.0/16"))
        let record = NetworkRecord(
            id: .random(), name: "bridge", created: Timestamp(nanoseconds: 1_700_000_000_123_456_789), bridge: "skiff0",
            subnet: subnet, gateway: subnet.gateway)
        do {
            let store = try Database(path: scratch.path + "/skiff.db")
            #expect(try store.network(named: "bridge") == nil)
            try store.save(record)
        }
        let store = try Database(path: scratch.path + "/skiff.db")
        #expect(try store.network(named: "bridge") == record)
        var moved = record
        moved.subnet = try #require(IPv4Subnet("10.212.0.0/16"))
        try store.save(moved)
        #expect(try store.network(named: "bridge")?.subnet == moved.subnet)
        #expect(try store.read { try $0.networks() }.count == 1)
        #expect(try store.write { try $0.delete(network: "bridge") })
        #expect(try store.network(named: "bridge") == nil)
    }
}
