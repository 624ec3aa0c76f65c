import Model
import Networks
import Testing

@Suite struct SandboxRegistryTests {
    private func record(_ address: String, _ ports: [UInt16]) throws -> SandboxRecord {
        var endpoint = EndpointRecord(id: .random(), network: .random(), networkName: "bridge")
        endpoint.interface = "eth0"
        endpoint.ipv4 = InterfaceIPv4(
            address: try #require(IPv4Address(address)), prefix: 16, gateway: IPv4Address("172.30.0.1"))
        var record = SandboxRecord(id: .random(), acquisition: .random(), endpoints: [endpoint])
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
        #expect(stale.first?.target == IPAddress("172.30.0.2"))
        #expect(registry.owners.values.filter { $0 == new.id }.count == 1)
        // The late release of the dead one leaves the port with its new owner.
        #expect(registry.remove(dead.id)?.bindings.map(\.hostPort) == [8081])
        #expect(registry.owners.values.map { $0 } == [new.id])
        #expect(registry.remove(dead.id) == nil)
    }

    @Test func recordsSurviveJSON() throws {
        var record = try record("172.30.0.2", [80, 443])
        record.endpoints[0].mac = record.endpoints[0].ipv4.map { MACAddress(of: $0.address) }
        record.endpoints[0].hostInterface = "vethac1e0002"
        record.endpoints[0].aliases = ["db"]
        record.endpoints[0].sysctls = ["net.ipv4.conf.IFNAME.log_martians=1"]
        let six = try #require(IPv6Address("fd00::2"))
        record.endpoints[0].ipv6 = InterfaceIPv6(address: six, prefix: 64, gateway: IPv6Address("fd00::1"))
        #expect(try SandboxRecord(json: record.json) == record)
        #expect(record.endpoints[0].mac?.description == "02:42:ac:1e:00:02")
    }

    /// As the first engine wrote them: one network, by its name alone.
    @Test func recordsOfTheFirstVersionAreRead() throws {
        let id = ObjectID.random()
        let old = """
            {"version":1,"id":"\(id)","network":"bridge","endpoint":"\(id)","address":"172.30.0.2","prefix":16,\
            "gateway":"172.30.0.1","mac":"02:42:ac:1e:00:02","hostInterface":"vethac1e0002",\
            "bindings":[{"hostAddress":"0.0.0.0","hostPort":80,"containerPort":8080,"protocol":"tcp"}]}
            """
        let record = try SandboxRecord(json: Array(old.utf8))
        let endpoint = try #require(record.endpoints.first)
        #expect(record.id == id)
        #expect(record.acquisition == id)
        #expect(endpoint.networkName == "bridge")
        #expect(endpoint.network == .zero)
        #expect(endpoint.interface == "eth0")
        #expect(endpoint.ipv4?.address.description == "172.30.0.2")
        #expect(endpoint.ipv4?.gateway?.description == "172.30.0.1")
        #expect(endpoint.hostInterface == "vethac1e0002")
        #expect(record.bindings.first?.exposure == .hostPolicy)
        let bare = "{\"version\":1,\"id\":\"\(id)\",\"network\":\"none\",\"endpoint\":\"\(id)\",\"bindings\":[]}"
        #expect(try SandboxRecord(json: Array(bare.utf8)).endpoints.first?.ipv4 == nil)
        #expect(throws: (any Error).self) {
            try SandboxRecord(json: Array(old.replacing("\"version\":1", with: "\"version\":9").utf8))
        }
    }

    @Test func theDefaultRouteGoesToTheHighestPriorityThenToTheFirstName() throws {
        func endpoint(_ name: String, _ priority: Int, gateway: String? = "10.0.0.1") throws -> EndpointRecord {
            var endpoint = EndpointRecord(id: .random(), network: .random(), networkName: name)
            endpoint.ipv4 = InterfaceIPv4(
                address: try #require(IPv4Address("10.0.0.2")), prefix: 24, gateway: gateway.flatMap { IPv4Address($0) })
            endpoint.gatewayPriority = priority
            return endpoint
        }
        var record = SandboxRecord(id: .random(), acquisition: .random())
        record.endpoints = [try endpoint("b", 0), try endpoint("a", 0), try endpoint("in", 9, gateway: nil)]
        #expect(record.primary?.networkName == "a")
        record.endpoints.append(try endpoint("z", 1))
        #expect(record.primary?.networkName == "z")
        record.endpoints = [try endpoint("in", 0, gateway: nil)]
        #expect(record.gatewayIPv4 == nil)
        #expect(record.primary?.networkName == "in")
    }
}
