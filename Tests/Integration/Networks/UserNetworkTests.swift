import Linux
import Model
import Networks
import TestSupport
import Testing

/// Networks of the user's own: making, attaching, connecting, removing, and what an engine finds after its death.
@Suite struct UserNetworkTests {
    private func network(_ service: SandboxService, _ name: String, _ change: (inout NetworkSpec) -> Void = { _ in })
        async throws
        -> NetworkRecord
    {
        var spec = NetworkSpec(name: name)
        change(&spec)
        return try await service.create(spec, by: .engine)
    }

    @Test func aNetworkHasItsBridgeAndASandboxItsAddresses() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let made = try await network(service, "app")
        #expect(made.ipv4.first?.subnet.description == "172.18.0.0/24")
        #expect(made.ipv6.first?.subnet.prefix == 64)
        #expect(made.ipv6.first?.subnet.v6?.network.isUniqueLocal == true)
        let bridge = try #require(made.bridge?.bridge)
        #expect(bridge == "br-" + made.id.short)
        try scene.host.run {
            let link = try #require(try NetlinkSocket(.route).link(named: bridge))
            #expect(link.kind == "bridge")
            #expect(link.isUp)
            #expect(try NetSysctl.read("ipv6/conf/\(bridge)/accept_ra") == "0")
        }
        let container = try await SceneContainer(service, "a", on: [made])
        let endpoint = try #require(container.lease.record.endpoints.first)
        #expect(endpoint.interface == "eth0")
        #expect(endpoint.ipv4?.address.description == "172.18.0.2")
        #expect(endpoint.ipv6?.address == made.ipv6.first?.subnet.v6?.network.advanced(by: 2))
        try container.thread.run {
            let socket = try NetlinkSocket(.route)
            let addresses = Set(try socket.addresses().map(\.address))
            #expect(endpoint.addresses.allSatisfy { addresses.contains($0) })
            #expect(try socket.routes().contains { $0.destination.prefix == 0 && $0.gateway == endpoint.ipv4?.gateway })
            #expect(try NetSysctl.read("ipv6/conf/eth0/accept_ra") == "0")
            #expect(try NetSysctl.read("ipv6/conf/eth0/disable_ipv6") == "0")
        }
        await service.release(container.lease.record.id)
        try await service.remove(made.id, by: .engine)
        #expect(try scene.host.run { try NetlinkSocket(.route).link(named: bridge) } == nil)
        #expect(try scene.store.networks().map(\.name) == ["bridge"])
        await service.shutdown()
    }

    @Test func neighboursMeetOverBothFamilies() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let made = try await network(service, "app")
        let server = try await SceneContainer(service, "server", on: [made])
        let client = try await SceneContainer(service, "client", on: [made])
        let echo = try EchoServer(server.thread, 80)
        #expect(try client.talk(server.address, 80) == .answered(seenAs: client.address))
        withExtendedLifetime(echo) {}
        await service.shutdown()
    }

    @Test func severalNetworksHaveInterfacesInOrderAndOneDefaultRoute() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let red = try await network(service, "red")
        let blue = try await network(service, "blue")
        let container = try await SceneContainer(service, "both", on: [red, service.network, blue])
        let record = container.lease.record
        #expect(record.endpoints.map(\.networkName) == ["red", "bridge", "blue"])
        #expect(record.endpoints.map(\.interface) == ["eth0", "eth1", "eth2"])
        #expect(record.gatewayIPv4?.networkName == "blue")
        try container.thread.run {
            let routes = try NetlinkSocket(.route).routes().filter { $0.destination.prefix == 0 && $0.table == 254 }
            #expect(routes.map(\.gateway) == [record.endpoints[2].ipv4?.gateway])
        }
        await service.shutdown()
    }

    @Test func aRunningSandboxIsConnectedAndDisconnected() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let red = try await network(service, "red")
        let container = try await SceneContainer(service, "web")
        let id = container.lease.record.id
        let mac = MACAddress("02:00:00:00:00:77")
        let wish = Self.wish(red, mac)
        let connected = try await service.connect(id, namespace: container.lease.netns, wish)
        #expect(connected.endpoints.map(\.interface) == ["eth0", "eth1"])
        try container.thread.run {
            let socket = try NetlinkSocket(.route)
            let eth1 = try #require(try socket.link(named: "eth1"))
            #expect(eth1.mac == mac)
            #expect(
                try socket.addresses().contains { $0.link == eth1.index && $0.address == .v4(IPv4Address(number: 0xAC12_004D)) }
            )
            #expect(try NetSysctl.read("ipv4/conf/eth1/log_martians") == "1")
            #expect(try socket.routes().filter { $0.destination.prefix == 0 && $0.table == 254 }.map(\.link) == [eth1.index])
        }
        await #expect(throws: Fault.self) { _ = try await service.connect(id, namespace: container.lease.netns, wish) }
        await #expect(throws: Fault.self) { try await service.remove(red.id, by: .engine) }
        let rest = try await service.disconnect(id, namespace: container.lease.netns, from: red.id)
        #expect(rest.endpoints.map(\.networkName) == ["bridge"])
        try container.thread.run {
            let socket = try NetlinkSocket(.route)
            #expect(try socket.link(named: "eth1") == nil)
            let gateways = try socket.routes().filter { $0.destination.prefix == 0 && $0.table == 254 }.map(\.gateway)
            #expect(gateways == [rest.endpoints[0].ipv4?.gateway])
        }
        await #expect(throws: Fault.self) {
            _ = try await service.disconnect(id, namespace: container.lease.netns, from: red.id)
        }
        try await service.remove(red.id, by: .engine)
        await service.shutdown()
    }

    private static func wish(_ network: NetworkRecord, _ mac: MACAddress?) -> AttachmentRequest {
        var wish = AttachmentRequest(network: network.id)
        wish.ipv4 = IPv4Address("172.18.0.77")
        wish.mac = mac
        wish.gatewayPriority = 1
        wish.sysctls = ["net.ipv4.conf.IFNAME.log_martians=1"]
        return wish
    }

    @Test func anInternalNetworkHasNoWayOut() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let inner = try await network(service, "inner") { $0.isInternal = true }
        let server = try await SceneContainer(service, "server", on: [inner])
        let client = try await SceneContainer(service, "client", on: [inner])
        let echo = try EchoServer(server.thread, 80)
        #expect(try client.talk(server.address, 80) == .answered(seenAs: client.address))
        try client.thread.run {
            let routes = try NetlinkSocket(.route).routes()
            #expect(routes.allSatisfy { $0.destination.prefix != 0 || $0.table != 254 })
        }
        withExtendedLifetime(echo) {}
        await service.shutdown()
    }

    @Test func withoutICCNeighboursDoNotMeet() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let apart = try await network(service, "apart") { $0.options["com.docker.network.bridge.enable_icc"] = "false" }
        let server = try await SceneContainer(service, "server", on: [apart])
        let client = try await SceneContainer(service, "client", on: [apart])
        let echo = try EchoServer(server.thread, 80)
        #expect(try client.talk(server.address, 80, milliseconds: 400) == .silence)
        #expect(try scene.fromHost(server.address, 80) != .silence)
        withExtendedLifetime(echo) {}
        await service.shutdown()
    }

    /// After a reboot the records are all that there is; after a kill the links are still there.
    @Test func theNextEngineHasTheSameNetworks() async throws {
        let scene = try NetworkScene()
        let first = try await scene.started()
        let made = try await network(first, "app")
        let container = try await SceneContainer(first, "a", on: [made])
        await first.shutdown()
        let second = try scene.service()
        try await second.restore([container.lease.record])
        #expect(second.networks.named("app") == made)
        let other = try await SceneContainer(second, "b", on: [made])
        #expect(other.address == "172.18.0.3")
        let echo = try EchoServer(container.thread, 80)
        #expect(try other.talk(container.address, 80) == .answered(seenAs: other.address))
        withExtendedLifetime(echo) {}
        await #expect(throws: Fault.self) { try await second.remove(made.id, by: .engine) }
        await second.shutdown()
        let bridge = try #require(made.bridge?.bridge)
        try scene.host.run { try NetlinkSocket(.route).transact([RouteRequest.delete(link: bridge)]) }
        let third = try await scene.started()
        #expect(try scene.host.run { try NetlinkSocket(.route).link(named: bridge)?.isUp } == true)
        try await third.remove(made.id, by: .engine)
        await third.shutdown()
    }

    /// An engine that died between making a link and writing it down, or between deleting one and writing that down.
    @Test func whatADeadEngineLeftIsFoundByTheNext() async throws {
        let scene = try NetworkScene()
        let first = try await scene.started(warm: 0)
        let red = try await network(first, "red")
        let container = try await SceneContainer(first, "web")
        let id = container.lease.record.id
        let after = try await first.connect(id, namespace: container.lease.netns, AttachmentRequest(network: red.id))
        await first.shutdown()
        // The link to red was made, but its record is the one from before.
        let second = try scene.service(warm: 0)
        #expect(try await second.restore([container.lease.record], isComplete: true).isEmpty)
        #expect(eventually { (try? scene.sandboxLinks().count) == 1 })
        await second.shutdown()
        // The link to red is gone, but the record still has it.
        let third = try scene.service(warm: 0)
        #expect(try await third.restore([after], isComplete: true) == [container.lease.record])
        try await third.remove(red.id, by: .engine)
        await third.shutdown()
    }

    @Test func aMacvlanNetworkHangsOnItsParent() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let made = try await network(service, "lan") { spec in
            spec.driver = "macvlan"
            spec.options["parent"] = "lan0"
            spec.enablesIPv6 = false
            spec.ranges = [IPSubnet("198.51.100.0/24").map { AddressRange(subnet: $0, range: IPSubnet("198.51.100.64/28")) }]
                .compactMap { $0 }
        }
        let container = try await SceneContainer(service, "a", on: [made])
        #expect(container.address == "198.51.100.64")
        let echo = try EchoServer(container.thread, 80)
        #expect(try scene.fromNeighbour(container.address, 80) == .answered(seenAs: NetworkScene.neighbourAddress))
        withExtendedLifetime(echo) {}
        await service.release(container.lease.record.id)
        try await service.remove(made.id, by: .engine)
        #expect(try scene.host.run { try NetlinkSocket(.route).link(named: "lan0") } != nil)
        await service.shutdown()
    }

    @Test func whatCannotBeLeavesNothing() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started(warm: 0)
        let before = try scene.host.run { try NetlinkSocket(.route).links().count }
        await #expect(throws: Fault.self) { _ = try await network(service, "bridge") }
        await #expect(throws: Fault.self) {
            _ = try await network(service, "x") { $0.options["com.docker.network.bridge.name"] = "lan0" }
        }
        await #expect(throws: Fault.self) {
            _ = try await network(service, "x") {
                $0.ranges = [IPSubnet("172.30.5.0/24").map { AddressRange(subnet: $0) }].compactMap { $0 }
            }
        }
        #expect(try scene.host.run { try NetlinkSocket(.route).links().count } == before)
        #expect(service.networks.all.map(\.name) == ["bridge", "host", "none"])
        #expect(try scene.store.networks().count == 1)
        await service.shutdown()
    }
}
