import Glibc
import Linux
import Model
import Networks
import Testing
import TestSupport

/// The life of sandboxes: what is in them, restarts, many at once, what is left.
@Suite struct SandboxTests {
    static let reason: Comment = "this kernel lacks CONFIG_NF_TABLES_INET or CONFIG_NFT_NAT"

    @Test func aSandboxHasItsAddressItsRouteAndNoIPv6() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let container = try await SceneContainer(service, "plain")
        let record = container.lease.record
        let endpoint = try #require(record.endpoints.first)
        let address = try #require(endpoint.ipv4?.address)
        #expect(endpoint.ipv4?.gateway?.description == "172.30.0.1")
        #expect(endpoint.ipv4?.prefix == 16)
        #expect(endpoint.mac == MACAddress(of: address))
        #expect(endpoint.networkName == "bridge")
        #expect(endpoint.network == service.network.id)
        try container.thread.run {
            let socket = try NetlinkSocket(.route)
            let links = try socket.links()
            #expect(links.map(\.name).sorted() == ["eth0", "lo"])
            #expect(!links.contains { !$0.isUp })
            #expect(links.first { $0.name == "eth0" }?.mac == endpoint.mac)
            #expect(links.first { $0.name == "eth0" }?.mtu == 1500)
            let eth0 = try #require(links.first { $0.name == "eth0" }).index
            #expect(try socket.addresses().filter { $0.link == eth0 }.compactMap(\.address.v4) == [address])
            #expect(try socket.routes().contains { $0.destination.prefix == 0 && $0.gateway == endpoint.ipv4?.gateway })
            #expect((try? NetSysctl.read("ipv6/conf/eth0/disable_ipv6")) == (endpoint.ipv6 == nil ? "1" : "0"))
            #expect(try NetSysctl.read("ipv4/ip_unprivileged_port_start") == "0")
        }
        await service.shutdown()
    }

    @Test func noneHasLoopbackOnly() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let lease = try await service.acquire(SandboxRequest(id: .random(), name: "none"))
        #expect(lease.record.primary?.ipv4 == nil)
        let thread = try NamespaceThread(lease.netns)
        try thread.run {
            let links = try NetlinkSocket(.route).links()
            #expect(links.map(\.name) == ["lo"])
            #expect(!links.contains { !$0.isUp })
            #expect(try NetlinkSocket(.route).routes().allSatisfy { $0.destination.prefix != 0 })
        }
        #expect(await service.statistics(of: lease.record.id).isEmpty)
        await service.shutdown()
    }

    @Test func wishesForAddressAndMACAreFulfilledOrRefused() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let wish = try #require(IPv4Address("172.30.7.7"))
        let mac = try #require(MACAddress("02:11:22:33:44:55"))
        let request = SandboxRequest.bridged(service, "wish", address: wish, mac: mac)
        var lease: SandboxLease? = try await service.acquire(request)
        #expect(lease?.record.primary?.ipv4?.address == wish)
        #expect(lease?.record.primary?.mac == mac)
        lease = nil
        await #expect(throws: Fault.self) {
            _ = try await service.acquire(.bridged(service, "again", address: wish))
        }
        await #expect(throws: Fault.self) {
            _ = try await service.acquire(.bridged(service, "outside", address: .loopback))
        }
        // The same again, while the last namespace is still dying; and one that is prepared for somebody else.
        var again: SandboxLease? = try await service.acquire(request)
        #expect(again?.record.primary?.ipv4?.address == wish)
        again = nil
        let third = try await service.acquire(request)
        #expect(third.record.primary?.mac == mac)
        let prepared = try await service.acquire(
            .bridged(service, "early", address: IPv4Address("172.30.0.2")))
        #expect(prepared.record.primary?.ipv4?.address.description == "172.30.0.2")
        await service.shutdown()
    }

    @Test(.enabled(if: hasTables, Self.reason)) func countersAreTheContainers() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let container = try await SceneContainer(service, "counted", ports: [.port(8080, 80)])
        let server = try EchoServer(container.thread, 80)
        for _ in 0..<10 { _ = try scene.fromHost("127.0.0.1", 8080) }
        let all = await service.statistics(of: container.lease.record.id)
        #expect(all.keys.sorted() == ["eth0"])
        let counters = try #require(all["eth0"])
        #expect(counters.receivedPackets >= 30)
        #expect(counters.sentPackets >= 20)
        #expect(counters.receivedPackets > counters.sentPackets)
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    /// users-ask 6: an engine that dies loses no connection, no port and no address.
    @Test(.enabled(if: hasTables, Self.reason)) func aNewEngineTakesOverWhatTheOldOneLeft() async throws {
        let scene = try NetworkScene()
        let old = try await scene.started()
        let kept = try await SceneContainer(old, "kept", ports: [.port(8080, 80), .port(8081, 80, on: "127.0.0.1")])
        let server = try EchoServer(kept.thread, 80)
        let connection = try scene.neighbour.run { try LongConnection(NetworkScene.hostAddress, 8080) }
        var gone: SceneContainer? = try await SceneContainer(old, "gone", ports: [.port(8090, 80)])
        #expect(gone != nil)
        // What a kill leaves: no release, everything prepared ahead dies.
        await old.shutdown()
        gone = nil
        #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 8080) == .answered(seenAs: NetworkScene.neighbourAddress))

        let new = try scene.service()
        #expect(new.network == old.network)
        #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 8080) == .answered(seenAs: NetworkScene.neighbourAddress))
        try await new.restore([kept.lease.record])
        #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 8080) == .answered(seenAs: NetworkScene.neighbourAddress))
        #expect(try scene.fromHost("127.0.0.1", 8081) == .answered(seenAs: "172.30.0.1"))
        #expect(try scene.elements("ports_any") == 1)
        #expect(connection.isOpen)
        let next = try await SceneContainer(new, "next", ports: [.port(8090, 80)])
        #expect(next.address != kept.address)
        await #expect(throws: Fault.self) {
            _ = try await new.acquire(.bridged(new, "thief", ports: [.port(8080, 80)]))
        }
        await new.release(kept.lease.record.id)
        #expect(try scene.elements("ports_any") == 1)
        withExtendedLifetime((server, next)) {}
        await new.shutdown()
    }

    /// users-ask 3
    @Test(.enabled(if: hasTables, Self.reason)) func aFlushedTableComesBackWithTheNextChange() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let first = try await SceneContainer(service, "first", ports: [.port(8080, 80)])
        let server = try EchoServer(first.thread, 80)
        try scene.host.run {
            _ = try NetlinkSocket(.netfilter).batch([TablesRequest(table: "skiff").delete()])
        }
        let second = try await SceneContainer(service, "second", ports: [.port(8081, 80)])
        #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 8080) == .answered(seenAs: NetworkScene.neighbourAddress))
        #expect(try scene.elements("ports_any") == 2)
        try scene.host.run {
            _ = try NetlinkSocket(.netfilter).batch([TablesRequest(table: "skiff").delete()])
        }
        await service.release(second.lease.record.id)
        #expect(try scene.elements("ports_any") == 1)
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    /// users-ask 3: a firewall that loads its rules anew takes everybody's away.
    @Test(.enabled(if: hasTables, Self.reason)) func whatOthersFlushComesBackByItself() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let first = try await SceneContainer(service, "first", ports: [.port(8080, 80)])
        let server = try EchoServer(first.thread, 80)
        let table = TablesRequest(table: "skiff")
        for round in 1...2 {
            let start = monotonic()
            try scene.host.run { _ = try NetlinkSocket(.netfilter).batch([table.delete()]) }
            #expect(eventually(timeout: 5) { (try? scene.elements("ports_any")) == 1 }, "round \(round)")
            #expect(monotonic() - start < (round == 1 ? 1.5 : 4))
            #expect(
                try scene.fromNeighbour(NetworkScene.hostAddress, 8080) == .answered(seenAs: NetworkScene.neighbourAddress))
        }
        #expect(scene.warnings.withLock { $0.filter { $0.contains("has been put back") }.count } == 2)
        // Our own changes are none of others'.
        let second = try await SceneContainer(service, "second", ports: [.port(8081, 80)])
        await service.release(second.lease.record.id)
        try await Task.sleep(for: .milliseconds(600))
        #expect(scene.warnings.withLock { $0.filter { $0.contains("has been put back") }.count } == 2)
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    @Test(.enabled(if: hasTables, Self.reason)) func fiftyAtOnceAreAllDifferentAndWork() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started(warm: 4)
        let leases = try await withThrowingTaskGroup(of: SandboxLease.self) { group in
            for number in 0..<50 {
                group.addTask {
                    let port = PortRequest(containerPort: 80, hostPorts: (9100 + UInt16(number))...(9100 + UInt16(number)))
                    return try await service.acquire(.bridged(service, "n\(number)", ports: [port]))
                }
            }
            return try await group.reduce(into: [SandboxLease]()) { $0.append($1) }
        }
        #expect(Set(leases.compactMap(\.record.primary?.ipv4?.address)).count == 50)
        #expect(Set(leases.compactMap(\.record.primary?.mac)).count == 50)
        #expect(try scene.elements("ports_any") == 50)
        for lease in leases.prefix(5) + leases.suffix(5) {
            let server = try EchoServer(try NamespaceThread(lease.netns), 80)
            let port = try #require(lease.record.bindings.first).hostPort
            #expect(try scene.fromHost("127.0.0.1", port) == .answered(seenAs: "172.30.0.1"))
            withExtendedLifetime(server) {}
        }
        await withTaskGroup(of: Void.self) { group in
            for lease in leases { group.addTask { await service.release(lease.record.id) } }
        }
        #expect(try scene.elements("ports_any") == 0)
        await service.shutdown()
    }

    @Test(.enabled(if: hasTables, Self.reason)) func nothingIsLeftOfSandboxesThatEnded() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started(warm: 3)
        for _ in 0..<3 {
            var leases: [SandboxLease] = []
            for number in 0..<10 {
                leases.append(
                    try await service.acquire(
                        .bridged(service, "n", ports: [.port(9200 + UInt16(number), 80)])))
            }
            for lease in leases { await service.release(lease.record.id) }
        }
        await service.shutdown()
        #expect(service.records.isEmpty)
        #expect(eventually(timeout: 10) { (try? scene.sandboxLinks().isEmpty) == true })
        #expect(try scene.elements("ports_any") == 0)
    }

    @Test func withoutAFirewallContainersTalkAndPortsAreRefusedByName() async throws {
        let scene = try NetworkScene()
        let service = try scene.service { $0.managesFirewall = false }
        try await service.restore([])
        let first = try await SceneContainer(service, "first")
        let second = try await SceneContainer(service, "second")
        let server = try EchoServer(first.thread, 80)
        #expect(try second.talk(first.address, 80) == .answered(seenAs: second.address))
        #expect(try scene.fromHost(first.address, 80) == .answered(seenAs: "172.30.0.1"))
        do {
            _ = try await service.acquire(.bridged(service, "third", ports: [.port(8080, 80)]))
            Issue.record("a port was published without a firewall")
        } catch let fault as Fault {
            #expect(fault.kind == .unsupported)
            #expect(fault.message.contains("cannot publish ports: nf_tables is missing"), "\(fault)")
        }
        #expect(scene.warnings.withLock { $0.contains { $0.contains("nf_tables") } })
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    /// A record that was not yet written when the engine was killed.
    @Test(.enabled(if: hasTables, Self.reason)) func aLostRecordIsReadBackFromTheKernel() async throws {
        let scene = try NetworkScene()
        let old = try await scene.started()
        let container = try await SceneContainer(
            old, "lost", ports: [.port(8080, 80), .port(8081, 81, .udp, on: "127.0.0.1")])
        let other = try await SceneContainer(old, "other", ports: [.port(9090, 80)])
        let process = try container.thread.run { try RunningProcess(["/bin/sleep", "60"]).pid }
        defer {
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
        }
        await old.shutdown()
        let new = try scene.service()
        let record = container.lease.record
        var found = try #require(await new.rediscover(record.id, pid: process))
        #expect(found.acquisition != record.acquisition)
        found.acquisition = record.acquisition
        found.endpoints[0].id = try #require(record.endpoints.first).id
        #expect(Set(found.bindings) == Set(record.bindings))
        found.bindings = record.bindings
        #expect(found == record)
        #expect(await new.rediscover(record.id, pid: getpid()) == nil)
        #expect(await new.rediscover(record.id, pid: Int32.max) == nil)
        withExtendedLifetime(other) {}
        await new.shutdown()
    }

    @Test func aLateReleaseDoesNotReachTheNextSandboxOfTheSameContainer() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let id = ObjectID.random()
        let first = try await service.acquire(.bridged(service, "again", id: id)).record
        let second = try await service.acquire(.bridged(service, "again", id: id)).record
        await service.release(first)
        #expect(service.record(of: id) == second)
        await service.release(second)
        #expect(service.record(of: id) == nil)
        await service.shutdown()
    }

    @Test func settingUpAgainChangesNothing() async throws {
        let scene = try NetworkScene()
        try scene.host.run { try NetSysctl.write("ipv4/ip_forward", "0") }
        let first = try await scene.started()
        let links = try scene.host.run { try NetlinkSocket(.route).link(named: "skiff0") }
        let second = try scene.service()
        #expect(second.network == first.network)
        #expect(try scene.host.run { try NetlinkSocket(.route).link(named: "skiff0")?.index } == links?.index)
        #expect(try scene.host.run { try NetSysctl.read("ipv4/ip_forward") } == "1")
        #expect(scene.warnings.withLock { $0.filter { $0.contains("ip_forward") }.count } == 1)
        await first.shutdown()
        await second.shutdown()
    }

    /// Docker's daemon sets the policy of the forward chain to drop, which only a rule in that chain outweighs (`ForwardTests`).
    @Test(.enabled(if: hasTables, Self.reason)) func anotherProgramsForwardPolicyIsNamed() async throws {
        let scene = try NetworkScene()
        let result = try scene.host.run {
            run([
                "/usr/sbin/nft",
                "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
            ])
        }
        try #require(result.status == 0, "\(result.error)")
        let service = try await scene.started()
        #expect(
            scene.warnings.withLock {
                $0.contains { $0.hasPrefix("chain ip filter FORWARD drops what none of its rules lets pass") }
            })
        await service.shutdown()
    }

    /// Two engines in one network namespace keep out of each other's way.
    @Test(.enabled(if: hasTables, Self.reason)) func twoEnginesWithBridgesOfTheirOwn() async throws {
        let scene = try NetworkScene()
        let first = try await scene.started()
        let firstContainer = try await SceneContainer(first, "first", ports: [.port(8080, 80)])
        let store = MemoryNetworkStore()
        let second = try scene.host.run {
            var configuration = NetworksConfiguration()
            configuration.bridge = "other0"
            return try SandboxService(configuration: configuration, store: store, warn: { _ in })
        }
        try await second.restore([])
        let secondContainer = try await SceneContainer(second, "second", ports: [.port(8081, 80)])
        let servers = [try EchoServer(firstContainer.thread, 80), try EchoServer(secondContainer.thread, 80)]
        #expect(second.network.subnets.first?.description == "172.31.0.0/16")
        for port in [8080, 8081] as [UInt16] {
            #expect(try scene.fromNeighbour(NetworkScene.hostAddress, port) == .answered(seenAs: NetworkScene.neighbourAddress))
        }
        #expect(try firstContainer.talk(secondContainer.address, 80, milliseconds: 300) == .silence)
        withExtendedLifetime(servers) {}
        await first.shutdown()
        await second.shutdown()
    }

    @Test func aSubnetThatTheHostRoutesIsAvoided() async throws {
        let scene = try NetworkScene()
        try scene.host.run {
            let socket = try NetlinkSocket(.route)
            let link = try socket.link(named: "lan0")
            try socket.transact([
                RouteRequest.add(
                    route: IPv4Subnet("172.30.5.0/24"), gateway: IPv4Address(number: 0xC633_6402), link: link?.index ?? 0)
            ])
        }
        let service = try scene.service()
        #expect(service.network.subnets.first?.description == "172.31.0.0/16")
        #expect(throws: Fault.self) { try scene.service { $0.subnet = IPv4Subnet("198.51.0.0/16") } }
        await service.shutdown()
    }

    @Test func aLinkWithTheBridgesNameThatIsNoneIsRefused() throws {
        let scene = try NetworkScene()
        do {
            _ = try scene.service { $0.bridge = "lan0" }
            Issue.record("a veth was taken for a bridge")
        } catch let fault as Fault {
            #expect(fault.message == "link lan0 exists and is no bridge; remove it or configure another bridge name")
        }
    }
}

/// A connection that is kept open over other events.
final class LongConnection: Sendable {
    private let raw: CInt

    init(_ address: String, _ port: UInt16) throws {
        raw = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | 0o2000000, 0)
        var name = Talk.socketAddress(address, port)
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        try kernel("connect") {
            withUnsafePointer(to: &name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(raw, $0, size) }
            }
        }
        var buffer = [UInt8](repeating: 0, count: 64)
        _ = recv(raw, &buffer, 64, 0)
    }

    deinit { close(raw) }

    /// Bytes still reach the other side and are acknowledged.
    var isOpen: Bool {
        guard send(raw, "x", 1, CInt(MSG_NOSIGNAL)) == 1 else { return false }
        for _ in 0..<50 {
            var unacknowledged: CInt = 0
            // SIOCOUTQ
            if ioctl(raw, 0x5411, &unacknowledged) == 0, unacknowledged == 0 { return true }
            usleep(20_000)
        }
        return false
    }
}
