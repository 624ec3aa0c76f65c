import Glibc
import Linux
import Model
import Networks
import Testing

/// Who reaches what: the host, a neighbour on the LAN, the container itself and its neighbours.
@Suite(.enabled(if: hasTables, "this kernel lacks CONFIG_NF_TABLES_INET or CONFIG_NFT_NAT")) struct PublishTests {
    @Test func aPublishedPortAnswersEverybodyAndSeesTheClientsAddress() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let container = try await SceneContainer(service, "web", ports: [.port(8080, 80)])
        let other = try await SceneContainer(service, "other")
        let server = try EchoServer(container.thread, 80)
        #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 8080) == .answered(seenAs: NetworkScene.neighbourAddress))
        #expect(try scene.fromHost("127.0.0.1", 8080) == .answered(seenAs: "172.30.0.1"))
        #expect(try scene.fromHost("127.0.0.9", 8080) == .answered(seenAs: "172.30.0.1"))
        #expect(try scene.fromHost(NetworkScene.hostAddress, 8080) == .answered(seenAs: NetworkScene.hostAddress))
        #expect(try scene.fromHost("172.30.0.1", 8080) == .answered(seenAs: "172.30.0.1"))
        // Hairpin, and the neighbour container by way of the host.
        #expect(try container.talk(NetworkScene.hostAddress, 8080) == .answered(seenAs: "172.30.0.1"))
        #expect(try container.talk("172.30.0.1", 8080) == .answered(seenAs: "172.30.0.1"))
        #expect(try other.talk(NetworkScene.hostAddress, 8080) == .answered(seenAs: "172.30.0.1"))
        #expect(try other.talk(container.address, 80) == .answered(seenAs: other.address))
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    @Test func udpIsPublishedToo() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let container = try await SceneContainer(
            service, "dns", ports: [.port(5353, 53, .udp), .port(5354, 53, .udp, on: "127.0.0.1")])
        let server = try EchoServer(container.thread, 53, .udp)
        #expect(
            try scene.fromNeighbour(NetworkScene.hostAddress, 5353, .udp) == .answered(seenAs: NetworkScene.neighbourAddress))
        #expect(try scene.fromHost("127.0.0.1", 5353, .udp) == .answered(seenAs: "172.30.0.1"))
        #expect(try scene.fromHost("127.0.0.1", 5354, .udp) == .answered(seenAs: "172.30.0.1"))
        #expect(try container.talk("172.30.0.1", 5353, .udp) == .answered(seenAs: "172.30.0.1"))
        #expect(
            try scene.fromNeighbour(NetworkScene.hostAddress, 5354, .udp, milliseconds: 300)
                != .answered(seenAs: NetworkScene.neighbourAddress))
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    /// moby#8795: a UDP client that goes on sending reaches the container that has the port now.
    @Test func aUDPFlowFollowsItsPortToTheNextContainer() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let neighbour = scene.neighbour
        func ask() throws -> Talk {
            try neighbour.run { Talk.to(NetworkScene.hostAddress, 5353, .udp, milliseconds: 500, from: 40_000) }
        }
        // Before the port is published, too.
        #expect(try ask() != .answered(seenAs: NetworkScene.neighbourAddress))
        var first: SceneContainer? = try await SceneContainer(service, "first", ports: [.port(5353, 53, .udp)])
        let id = try #require(first?.lease.record.id)
        var server = try first.map { try EchoServer($0.thread, 53, .udp) }
        #expect(try ask() == .answered(seenAs: NetworkScene.neighbourAddress))
        withExtendedLifetime(server) {}
        (server, first) = (nil, nil)
        await service.release(id)
        let second = try await SceneContainer(service, "second", ports: [.port(5353, 53, .udp)])
        let next = try EchoServer(second.thread, 53, .udp)
        #expect(try ask() == .answered(seenAs: NetworkScene.neighbourAddress))
        withExtendedLifetime(next) {}
        await service.shutdown()
    }

    /// users-ask 2 (moby#41872, moby#45610)
    @Test func aPortOnLoopbackIsReachedFromThisHostAlone() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let container = try await SceneContainer(service, "private", ports: [.port(8081, 80, on: "127.0.0.1")])
        let other = try await SceneContainer(service, "other")
        let server = try EchoServer(container.thread, 80)
        #expect(try scene.fromHost("127.0.0.1", 8081) == .answered(seenAs: "172.30.0.1"))
        #expect(try scene.fromHost(NetworkScene.hostAddress, 8081) == .refused)
        #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 8081) == .refused)
        #expect(try other.talk("172.30.0.1", 8081) == .refused)
        // Straight to the container's address, past the host's.
        #expect(try scene.fromNeighbour(container.address, 80, milliseconds: 300) == .silence)
        // With 127.0.0.1 as destination on the wire, from the LAN and from a container with its own root.
        try scene.neighbour.run { try NetworkScene.routeLoopback(by: IPv4Address(number: 0xC633_6401)) }
        #expect(try scene.fromNeighbour("127.0.0.1", 8081, milliseconds: 300) == .silence)
        try other.thread.run { try NetworkScene.routeLoopback(by: IPv4Address(number: 0xAC1E_0001)) }
        #expect(try other.talk("127.0.0.1", 8081, milliseconds: 300) == .silence)
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    /// CVE-2020-8558: route_localnet alone would let a container reach what the host offers on 127.0.0.1.
    @Test func theHostsOwnLoopbackServicesStayClosed() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let hostOnly = try EchoServer(scene.host, 6000, address: "127.0.0.1")
        let container = try await SceneContainer(service, "attacker")
        #expect(try scene.fromHost("127.0.0.1", 6000) == .answered(seenAs: "127.0.0.1"))
        try container.thread.run { try NetworkScene.routeLoopback(by: IPv4Address(number: 0xAC1E_0001)) }
        #expect(try container.talk("127.0.0.1", 6000, milliseconds: 300) == .silence)
        try scene.neighbour.run { try NetworkScene.routeLoopback(by: IPv4Address(number: 0xC633_6401)) }
        #expect(try scene.fromNeighbour("127.0.0.1", 6000, milliseconds: 300) == .silence)
        withExtendedLifetime(hostOnly) {}
        await service.shutdown()
    }

    @Test func whatIsNotPublishedIsNotReachedFromTheLAN() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let container = try await SceneContainer(service, "web", ports: [.port(8080, 80)])
        let servers = [try EchoServer(container.thread, 80), try EchoServer(container.thread, 81)]
        #expect(try scene.fromNeighbour(container.address, 80, milliseconds: 300) == .silence)
        #expect(try scene.fromNeighbour(container.address, 81, milliseconds: 300) == .silence)
        #expect(try scene.fromHost(container.address, 81) == .answered(seenAs: "172.30.0.1"))
        withExtendedLifetime(servers) {}
        await service.shutdown()
    }

    @Test func aPortOnOneAddressAnswersThereOnly() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let container = try await SceneContainer(service, "web", ports: [.port(8082, 80, on: NetworkScene.hostAddress)])
        let server = try EchoServer(container.thread, 80)
        #expect(try scene.fromNeighbour(NetworkScene.hostAddress, 8082) == .answered(seenAs: NetworkScene.neighbourAddress))
        #expect(try scene.fromHost(NetworkScene.hostAddress, 8082) == .answered(seenAs: NetworkScene.hostAddress))
        #expect(try container.talk(NetworkScene.hostAddress, 8082) == .answered(seenAs: "172.30.0.1"))
        #expect(try scene.fromHost("127.0.0.1", 8082) == .refused)
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    @Test func containersReachTheWorldUnderTheHostsAddress() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let servers = [try EchoServer(scene.neighbour, 7000), try EchoServer(scene.neighbour, 7000, .udp)]
        let container = try await SceneContainer(service, "client")
        #expect(try container.talk(NetworkScene.neighbourAddress, 7000) == .answered(seenAs: NetworkScene.hostAddress))
        #expect(try container.talk(NetworkScene.neighbourAddress, 7000, .udp) == .answered(seenAs: NetworkScene.hostAddress))
        withExtendedLifetime(servers) {}
        await service.shutdown()
    }

    @Test func rangesAndPortsOfTheKernelsChoice() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let ports: [PortRequest] = (0...10).map { .port(8000 + $0, 80 + $0) } + [.port(nil, 200), .port(nil, 201, .udp)]
        let container = try await SceneContainer(service, "many", ports: ports)
        let servers = try [80, 85, 90, 200].map { try EchoServer(container.thread, $0) }
        for (host, _) in [(8000, 80), (8005, 85), (8010, 90)] as [(UInt16, UInt16)] {
            #expect(try scene.fromNeighbour(NetworkScene.hostAddress, host) == .answered(seenAs: NetworkScene.neighbourAddress))
        }
        let chosen = try #require(container.lease.record.bindings.first { $0.containerPort == 200 })
        #expect(chosen.hostPort >= 1024)
        #expect(try scene.fromHost("127.0.0.1", chosen.hostPort) == .answered(seenAs: "172.30.0.1"))
        // One container port, the first free of a host's range.
        let range = PortRequest(containerPort: 80, hostPorts: 8009...8012)
        let second = try await SceneContainer(service, "second", ports: [range])
        #expect(Set(second.lease.record.bindings.map(\.hostPort)) == [8011])
        withExtendedLifetime(servers) {}
        await service.shutdown()
    }

    @Test func aPortInUseIsRefusedInDockersWords() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let taken = try EchoServer(scene.host, 8080)
        let id = ObjectID.random()
        do {
            _ = try await service.acquire(.bridged(service, "web", id: id, ports: [.port(8079, 79), .port(8080, 80)]))
            Issue.record("the port was given out twice")
        } catch let fault as Fault {
            let pattern =
                #/failed to set up container networking: driver failed programming external connectivity on endpoint web \([0-9a-f]{64}\): failed to bind host port for 0\.0\.0\.0:8080:172\.30\.0\.\d+:80/tcp: address already in use/#
            #expect(fault.message.wholeMatch(of: pattern) != nil, "\(fault)")
            #expect(fault.kind == .system)
        }
        // Nothing is left behind: neither the other port nor the name of the container.
        #expect(service.record(of: id) == nil)
        #expect(try scene.elements("ports_any") == 0)
        let container = try await SceneContainer(service, "second", ports: [.port(8079, 79)])
        do {
            _ = try await service.acquire(.bridged(service, "third", ports: [.port(8079, 80)]))
            Issue.record("the port was given out twice")
        } catch let fault as Fault {
            #expect(fault.message.hasSuffix("Bind for 0.0.0.0:8079 failed: port is already allocated"), "\(fault)")
        }
        do {
            _ = try await service.acquire(
                .bridged(service, "third", ports: [.port(8078, 80, on: "203.0.113.9")]))
            Issue.record("an address that is not the host's was accepted")
        } catch let fault as Fault {
            #expect(fault.message.hasSuffix("cannot assign requested address"), "\(fault)")
        }
        withExtendedLifetime((taken, container)) {}
        await service.shutdown()
    }

    @Test func aPortIsFreeAgainAtOnce() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        for _ in 0..<5 {
            var container: SceneContainer? = try await SceneContainer(service, "web", ports: [.port(8080, 80)])
            let id = try #require(container?.lease.record.id)
            let server = try container.map { try EchoServer($0.thread, 80) }
            // A connection of the host's own leaves TIME_WAIT behind.
            #expect(try scene.fromHost("127.0.0.1", 8080) == .answered(seenAs: "172.30.0.1"))
            withExtendedLifetime(server) {}
            container = nil
            await service.release(id)
        }
        // The same without a release: the shim died, nobody has told us yet.
        var first: SceneContainer? = try await SceneContainer(service, "first", ports: [.port(8080, 80)])
        let firstID = try #require(first?.lease.record.id)
        first = nil
        let second = try await SceneContainer(service, "second", ports: [.port(8080, 80)])
        let server = try EchoServer(second.thread, 80)
        await service.release(firstID)
        #expect(try scene.fromHost("127.0.0.1", 8080) == .answered(seenAs: "172.30.0.1"))
        #expect(try scene.elements("ports_any") == 1)
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    /// A TIME_WAIT of a host's own server does not refuse the port, a live one does.
    @Test func timeWaitDoesNotRefuseAPort() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        try scene.host.run {
            let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
            var one: CInt = 1
            setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, 4)
            var name = Talk.socketAddress("127.0.0.1", 8085)
            let size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let client = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
            withUnsafePointer(to: &name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = bind(listener, $0, size)
                    _ = listen(listener, 1)
                    _ = connect(client, $0, size)
                }
            }
            let server = accept(listener, nil, nil)
            // The server's side closes first and keeps the port in TIME_WAIT.
            close(server)
            close(listener)
            usleep(20_000)
            close(client)
        }
        let container = try await SceneContainer(service, "web", ports: [.port(8085, 80)])
        let server = try EchoServer(container.thread, 80)
        #expect(try scene.fromHost("127.0.0.1", 8085) == .answered(seenAs: "172.30.0.1"))
        // And nobody of the host can take it now.
        #expect(throws: KernelFault.self) { try EchoServer(scene.host, 8085) }
        withExtendedLifetime(server) {}
        await service.shutdown()
    }

    @Test func fiftyPortsOfOneContainer() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let ports: [PortRequest] = (0..<50).map { .port(9000 + $0, 80) }
        let container = try await SceneContainer(service, "many", ports: ports)
        let server = try EchoServer(container.thread, 80)
        for port in [9000, 9025, 9049] as [UInt16] {
            #expect(try scene.fromNeighbour(NetworkScene.hostAddress, port) == .answered(seenAs: NetworkScene.neighbourAddress))
        }
        #expect(try scene.elements("ports_any") == 50)
        await service.release(container.lease.record.id)
        #expect(try scene.elements("ports_any") == 0)
        withExtendedLifetime(server) {}
        await service.shutdown()
    }
}
