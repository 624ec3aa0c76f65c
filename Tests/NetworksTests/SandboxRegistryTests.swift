import Model
import Networks
import Testing

@Suite struct SandboxRegistryTests {
    private func record(_ address: String, _ ports: [UInt16]) throws -> SandboxRecord {
        var record = SandboxRecord(id: .random(), network: "bridge", endpoint: .random())
        record.address = IPv4Address(address)
        record.bindings = ports.map { PortBinding(hostAddress: .v4(.any), hostPort: $0, containerPort: 80, proto: .tcp) }
        return record
    }

    @Test func aPortThatWasBoundAgainChangesItsOwner() throws {
        var registry = SandboxRegistry()
        let dead = try record("172.30.0.2", [8080, 8081])
        let new = try record("172.30.0.3", [8080])
        registry.insert(dead)
        let stale = registry.takeOver(new)
        #expect(stale.map(\.binding.hostPort) == [8080])
        #expect(stale.first?.target == dead.address)
        #expect(registry.owners.values.filter { $0 == new.id }.count == 1)
        // The late release of the dead one leaves the port with its new owner.
        #expect(registry.remove(dead.id)?.bindings.map(\.hostPort) == [8081])
        #expect(registry.owners.values.map { $0 } == [new.id])
        #expect(registry.remove(dead.id) == nil)
    }

    @Test func recordsSurviveJSON() throws {
        var record = try record("172.30.0.2", [80, 443])
        record.mac = record.address.map { MACAddress(of: $0) }
        record.gateway = IPv4Address("172.30.0.1")
        record.prefix = 16
        record.hostInterface = "vethac1e0002"
        #expect(try SandboxRecord(json: record.json) == record)
        #expect(record.mac?.description == "02:42:ac:1e:00:02")
    }
}
