import Linux
import Model
import Networks
import TestSupport
import Testing

private let kernelHasIPv6 = (try? NamespaceThread().run { try NetSysctl.read("ipv6/conf/all/disable_ipv6") }) == "0"

/// IPv6 on the default network: there where the kernel has it, in whatever state the records and the bridge are. That packets
/// flow is the matrix's business.
@Suite(.enabled(if: kernelHasIPv6 && hasTables, "this kernel has no IPv6 or lacks nf_tables"))
struct DualStackTests {
    private func addresses6(of link: String, _ thread: NamespaceThread) throws -> [IPv6Address] {
        try thread.run {
            let socket = try NetlinkSocket(.route)
            let index = socket.index(ofLink: link)
            return try socket.addresses().filter { $0.link == index }.compactMap(\.address.v6).filter { $0.high >> 54 != 0x3FA }
        }
    }

    @Test func containersOfTheDefaultNetworkHaveBothFamilies() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let subnet = try #require(service.network.ipv6.first?.subnet.v6)
        #expect(subnet.prefix == 64 && subnet.network.isUniqueLocal)
        #expect(service.network.ipv6.first?.gateway == .v6(subnet.gateway))
        #expect(try addresses6(of: "skiff0", scene.host) == [subnet.gateway])
        #expect(try scene.host.run { try NetSysctl.read("ipv6/conf/all/forwarding") } == "1")
        let container = try await SceneContainer(service, "both", ports: [.port(8080, 80)])
        let endpoint = try #require(container.lease.record.primary)
        // The same number in both.
        let number = try #require(endpoint.ipv4?.address.number) & 0xFFFF
        let own = subnet.network.advanced(by: UInt64(number))
        #expect(endpoint.ipv6 == InterfaceIPv6(address: own, prefix: 64, gateway: subnet.gateway))
        #expect(try addresses6(of: "eth0", container.thread) == [own])
        #expect(container.lease.record.bindings.map(\.hostAddress) == [.v4(.any), .v6(.any)])
        try container.thread.run {
            let advertisements = try NetSysctl.read("ipv6/conf/eth0/accept_ra")
            #expect(advertisements == "0")
            let table = NetSysctl.text("/proc/thread-self/net/ipv6_route") ?? ""
            let gateway = subnet.gateway.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            #expect(table.contains { $0 == "\n" } && table.contains("\(String(repeating: "0", count: 32)) 00 "))
            #expect(table.contains(gateway), "no route by way of \(gateway):\n\(table)")
        }
        await service.release(container.lease.record.id)
        #expect(service.networks.usedAddresses(service.network.id).ipv6 <= 2)
        await service.shutdown()
    }

    /// The number is the same whatever networks a user has made before: an engine that has no IPv6 yet leaves it free.
    @Test func theDefaultNetworkOfAnEarlierEngineGetsIPv6AndRunningContainersStayAsTheyAre() async throws {
        let scene = try NetworkScene()
        let old = try scene.service { $0.enablesIPv6 = false }
        try await old.restore([])
        #expect(old.network.ipv6.isEmpty)
        #expect(try addresses6(of: "skiff0", scene.host).isEmpty)
        let kept = try await SceneContainer(old, "kept", ports: [.port(8080, 80)])
        #expect(kept.lease.record.primary?.ipv6 == nil)
        var spec = NetworkSpec(name: "app")
        spec.enablesIPv6 = true
        let app = try await old.create(spec, by: .engine)
        await old.shutdown()

        let new = try scene.service()
        #expect(try await new.restore([kept.lease.record]).isEmpty)
        #expect(new.network.id == old.network.id && new.network.ipv4 == old.network.ipv4)
        let subnet = try #require(new.network.ipv6.first?.subnet.v6)
        let other = try #require(app.ipv6.first?.subnet.v6)
        #expect(subnet.network.high >> 16 == other.network.high >> 16 && subnet.network.high & 0xFFFF == 0)
        #expect(try addresses6(of: "skiff0", scene.host) == [subnet.gateway])
        #expect(new.record(of: kept.lease.record.id) == kept.lease.record)
        #expect(try addresses6(of: "eth0", kept.thread).isEmpty)
        let next = try await SceneContainer(new, "next")
        #expect(try addresses6(of: "eth0", next.thread) == [try #require(next.lease.record.primary?.ipv6?.address)])
        if hasTables {
            let server = try EchoServer(kept.thread, 80)
            #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 8080) == .answered(seenAs: NetworkScene.neighbourAddress))
            withExtendedLifetime(server) {}
        }
        await new.shutdown()

        let again = try scene.service()
        #expect(again.network == new.network)
        await again.shutdown()
        let without = try scene.service { $0.enablesIPv6 = false }
        #expect(without.network == old.network)
        #expect(try addresses6(of: "skiff0", scene.host).isEmpty)
        await without.shutdown()
    }

    @Test func whereTheKernelHasNoIPv6NothingIsSaid() async throws {
        let scene = try NetworkScene()
        try scene.host.run { try NetSysctl.write("ipv6/conf/all/disable_ipv6", "1") }
        let service = try await scene.started()
        #expect(service.network.ipv6.isEmpty)
        let container = try await SceneContainer(service, "four")
        #expect(container.lease.record.primary?.ipv6 == nil)
        #expect(scene.warnings.withLock { $0.filter { $0.lowercased().contains("ipv6") } } == [])
        await service.shutdown()
    }

    @Test func aContainerThatSwitchesItOffHasNone() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started(warm: 0)
        var wish = AttachmentRequest(network: service.network.id)
        wish.withoutIPv6 = true
        let lease = try await service.acquire(
            SandboxRequest(id: .random(), name: "four", attachments: [wish], ports: [.port(8080, 80)]))
        #expect(lease.record.primary?.ipv4 != nil && lease.record.primary?.ipv6 == nil)
        #expect(lease.record.bindings.map(\.hostAddress) == [.v4(.any)])
        #expect(service.networks.usedAddresses(service.network.id).ipv6 == 0)
        await service.shutdown()
    }

    @Test func aSubnetCanBeChosen() async throws {
        let scene = try NetworkScene()
        let first = try scene.service {
            $0.subnet6 = IPv6Subnet("2001:db8:5::/64")
            $0.gateway6 = IPv6Address("2001:db8:5::7")
            $0.range6 = IPv6Subnet("2001:db8:5::8000/113")
        }
        try await first.restore([])
        #expect(try addresses6(of: "skiff0", scene.host).map(\.description) == ["2001:db8:5::7"])
        let container = try await SceneContainer(first, "chosen")
        #expect(container.lease.record.primary?.ipv6?.gateway?.description == "2001:db8:5::7")
        #expect(
            IPv6Subnet("2001:db8:5::8000/113").map { $0.contains(container.lease.record.primary?.ipv6?.address ?? .any) }
                == true)
        await first.shutdown()
        // Kept while nobody says otherwise; what does not fit is refused.
        let second = try scene.service()
        #expect(second.network == first.network)
        await second.shutdown()
        #expect(throws: Fault.self) { try scene.service { $0.subnet6 = IPv6Subnet("2001:db8:6::/126") } }
        #expect(throws: Fault.self) {
            try scene.service {
                $0.subnet6 = IPv6Subnet("2001:db8:6::/64")
                $0.range6 = IPv6Subnet("2001:db8:5::8000/113")
            }
        }
    }

    /// When our record is lost, containers may still live on the bridge.
    @Test func theBridgesOwnSubnetIsFoundAgain() async throws {
        let scene = try NetworkScene()
        let first = try scene.service { $0.subnet6 = IPv6Subnet("fd77:1:2:3::/64") }
        await first.shutdown()
        try scene.store.delete(network: first.network.id)
        let second = try scene.service()
        #expect(second.network.ipv6 == first.network.ipv6 && second.network.ipv4 == first.network.ipv4)
        await second.shutdown()
    }
}
