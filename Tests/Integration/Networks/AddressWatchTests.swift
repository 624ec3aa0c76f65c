import Linux
import Model
import Networks
import TestSupport
import Testing

/// Addresses that something has which they were not given to are found out, told of, and not handed out.
@Suite struct AddressWatchTests {
    private func add(_ text: String, prefix: UInt8, to link: String, _ thread: NamespaceThread) throws -> MACAddress {
        let address = try #require(IPv4Address(text))
        return try thread.run {
            let socket = try NetlinkSocket(.route)
            let info = try #require(try socket.link(named: link))
            try socket.transact([RouteRequest.add(address: address, prefix: prefix, link: info.index)])
            return try #require(info.mac)
        }
    }

    @Test func aMachineOnTheLANKeepsItsAddress() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started(warm: 0)
        let mac = try add("198.51.100.65", prefix: 24, to: "eth0", scene.neighbour)
        var spec = NetworkSpec(name: "lan", driver: "macvlan")
        spec.options["parent"] = "lan0"
        spec.enablesIPv6 = false
        spec.ranges = [
            AddressRange(subnet: try #require(IPSubnet("198.51.100.0/24")), range: IPSubnet("198.51.100.64/28"))
        ]
        let lan = try await service.create(spec, by: .engine)
        let first = try await SceneContainer(service, "first", on: [lan])
        #expect(first.address == "198.51.100.64")
        #expect(eventually(timeout: 5) { !service.networks.claims(lan.id).isEmpty })
        let claim = try #require(service.networks.claims(lan.id).first)
        #expect(claim.address.description == "198.51.100.65" && claim.mac == mac)
        #expect(service.networks.claims(lan.id).count == 1)
        let second = try await SceneContainer(service, "second", on: [lan])
        #expect(second.address == "198.51.100.66")
        #expect(
            scene.warnings.withLock { $0 }.contains(
                "network lan: 198.51.100.65 is in use by \(mac), which does not have it from this engine; it is not handed out")
        )
        // Who insists gets it.
        var wish = AttachmentRequest(network: lan.id)
        wish.ipv4 = claim.address
        let third = try await service.acquire(SandboxRequest(id: .random(), name: "third", attachments: [wish]))
        #expect(third.record.primary?.ipv4?.address == claim.address)
        withExtendedLifetime((first, second)) {}
        await service.shutdown()
    }

    @Test func whatWasGivenUnaskedIsAskedAboutAfterwards() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started(warm: 0)
        let mac = try add("198.51.100.64", prefix: 24, to: "eth0", scene.neighbour)
        var spec = NetworkSpec(name: "lan", driver: "macvlan")
        spec.options["parent"] = "lan0"
        spec.enablesIPv6 = false
        spec.ranges = [
            AddressRange(subnet: try #require(IPSubnet("198.51.100.0/24")), range: IPSubnet("198.51.100.64/28"))
        ]
        let lan = try await service.create(spec, by: .engine)
        let first = try await SceneContainer(service, "first", on: [lan])
        #expect(first.address == "198.51.100.64")
        let words =
            "network lan: 198.51.100.64 is in use by \(mac), which does not have it from this engine; a container has it too: "
            + "one of them is not reached"
        #expect(eventually(timeout: 5) { scene.warnings.withLock { $0.contains(words) } })
        withExtendedLifetime(first) {}
        await service.shutdown()
    }

    @Test func aContainersVirtualAddressIsNobodyElses() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started(warm: 0)
        let keeper = try await SceneContainer(service, "keeper")
        // Beyond those that were asked for with the first.
        let mac = try add("172.30.0.11", prefix: 16, to: "eth0", keeper.thread)
        var others = [try await SceneContainer(service, "other")]
        #expect(eventually(timeout: 5) { !service.networks.claims(service.network.id).isEmpty })
        let claim = try #require(service.networks.claims(service.network.id).first)
        #expect(claim.address.description == "172.30.0.11" && claim.mac == mac)
        for number in 4...11 { others.append(try await SceneContainer(service, "other\(number)")) }
        #expect(others.map(\.address).last == "172.30.0.12")
        #expect(!others.contains { $0.address == "172.30.0.11" })
        // The containers themselves answer too, and are who they should be.
        try await Task.sleep(for: .milliseconds(900))
        #expect(service.networks.claims(service.network.id).count == 1)
        withExtendedLifetime(others) {}
        await service.shutdown()
    }
}
