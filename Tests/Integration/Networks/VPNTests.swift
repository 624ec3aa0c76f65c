import Glibc
import Linux
import Model
import Networks
import TestSupport
import Testing

/// A VPN on the host: a link with a smaller MTU whose other end is far away, and routes as wg-quick, OpenVPN and tailscale set
/// them. The link is a veth pair here; nothing of what is tested asks which kind it is.
@Suite(.enabled(if: hasTables, "this kernel lacks CONFIG_NF_TABLES_INET or CONFIG_NFT_NAT")) struct VPNTests {
    /// vpn0 100.64.0.1 on the host, MTU 1420; the far end 100.64.0.2 has more addresses, and an MTU of 1500.
    private struct Tunnel {
        let scene: NetworkScene
        let far: NamespaceThread

        init(_ scene: NetworkScene) throws {
            self.scene = scene
            let far = try NamespaceThread()
            self.far = far
            try scene.host.run {
                try NetlinkSocket(.route).transact([
                    VethRequest(
                        name: "vpn0", master: 0, mtu: 1420, group: 0, peerName: "eth0",
                        peerMAC: MACAddress(of: IPv4Address(number: 0x6440_0002)), namespace: far.namespace.raw
                    ).message
                ])
            }
            try host("ip addr add 100.64.0.1/32 dev vpn0; ip link set vpn0 mtu 1420 up; ip route add 100.64.0.0/24 dev vpn0")
            try far.run {
                let commands =
                    "ip link set eth0 mtu 1500 up; ip addr add 100.64.0.2/24 dev eth0; ip addr add 192.0.2.9/32 dev lo; "
                    + "ip addr add 172.30.9.9/32 dev lo; ip route add default via 100.64.0.1"
                guard system(commands) == 0 else { throw KernelFault("ip", errno: EINVAL) }
            }
            _ = eventually(timeout: 3) {
                (try? scene.host.run { try NetlinkSocket(.route).link(named: "vpn0")?.isRunning }) == true
            }
        }

        func host(_ commands: String) throws {
            try scene.host.run { guard system(commands) == 0 else { throw KernelFault(commands, errno: EINVAL) } }
        }
    }

    /// wg-quick with AllowedIPs = 0.0.0.0/0: a table of its own for all that is not the tunnel's, behind the LAN's routes.
    @Test func aTunnelForEverythingTakesContainersAlong() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let container = try await SceneContainer(service, "web", ports: [.port(8080, 80)])
        let tunnel = try Tunnel(scene)
        let servers = try [
            EchoServer(container.thread, 80), EchoServer(tunnel.far, 9000, address: "192.0.2.9"),
            EchoServer(scene.neighbour, 9000),
        ]
        try tunnel.host(
            "ip route add default dev vpn0 table 51820; ip rule add not fwmark 51820 table 51820 pref 32765; "
                + "ip rule add table main suppress_prefixlength 0 pref 32764")
        #expect(try container.talk("192.0.2.9", 9000) == .answered(seenAs: "100.64.0.1"))
        // The LAN stays beside it, and what is published is reached from both.
        #expect(try container.talk(NetworkScene.neighbourAddress, 9000) == .answered(seenAs: NetworkScene.hostAddress))
        #expect(
            try scene.fromNeighbour(NetworkScene.hostAddress, 8080) == .answered(seenAs: NetworkScene.neighbourAddress))
        #expect(try tunnel.far.run { Talk.to("100.64.0.1", 8080) } == .answered(seenAs: "100.64.0.2"))
        // The halves of the default route, as OpenVPN sets them, overlap everything and mean nothing.
        try tunnel.host("ip route add 0.0.0.0/1 dev vpn0; ip route add 128.0.0.0/1 dev vpn0")
        usleep(900_000)
        #expect(scene.warnings.withLock { !$0.contains { $0.contains("overlaps") } })
        withExtendedLifetime(servers) {}
        await service.shutdown()
    }

    /// The far end hears of segments that the tunnel can carry, though the container's link could carry more.
    @Test func segmentsFitThroughTheTunnel() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let container = try await SceneContainer(service, "web", ports: [.port(8080, 80)])
        let tunnel = try Tunnel(scene)
        let announced = try SegmentServer(tunnel.far, 9000)
        _ = try container.talk("100.64.0.2", 9000, milliseconds: 500)
        #expect(announced.sizes.last.map { $0 <= 1380 && $0 > 1300 } == true, "\(announced.sizes)")
        // The other way: what the container hears from a client whose link could carry more than the tunnel.
        let inside = try SegmentServer(container.thread, 80)
        _ = try tunnel.far.run { Talk.to("100.64.0.1", 8080, milliseconds: 500) }
        #expect(inside.sizes.last.map { $0 <= 1380 && $0 > 1300 } == true, "\(inside.sizes)")
        // On the LAN nothing is taken away, nor from what the host forwards for others.
        let near = try SegmentServer(scene.neighbour, 9000)
        _ = try container.talk(NetworkScene.neighbourAddress, 9000, milliseconds: 500)
        #expect(near.sizes.last.map { $0 > 1420 } == true, "\(near.sizes)")
        await service.shutdown()
    }

    /// Subnets are chosen beside a VPN's routes, in whatever table; a route that comes later is told of.
    @Test func routesThatOverlapAreEvadedOrToldOf() async throws {
        let scene = try NetworkScene()
        let tunnel = try Tunnel(scene)
        try tunnel.host("ip route add 172.16.0.0/12 dev vpn0 table 52; ip rule add table 52 pref 5270")
        let service = try await scene.started()
        let subnet = try #require(service.network.ipv4.first?.subnet)
        #expect(!"\(subnet)".hasPrefix("172."))
        #expect(scene.warnings.withLock { !$0.contains { $0.contains("overlaps") } })
        #expect(await service.overlappingRoutes().isEmpty)
        try tunnel.host("ip route add \(subnet) dev vpn0 table 52")
        #expect(
            eventually(timeout: 2) {
                scene.warnings.withLock {
                    $0.contains {
                        $0.contains("route to \(subnet) by vpn0 (table 52) overlaps network bridge")
                            && $0.contains("may take it")
                    }
                }
            })
        #expect(await service.overlappingRoutes().count == 1)
        // Ours is more exact than this one, and wins.
        try tunnel.host("ip route del \(subnet) dev vpn0 table 52; ip route add 10.0.0.0/8 dev vpn0")
        #expect(
            eventually(timeout: 2) {
                scene.warnings.withLock {
                    $0.contains { $0.contains("route to 10.0.0.0/8 by vpn0 overlaps") && $0.contains("nobody at") }
                }
            })
        let container = try await SceneContainer(service, "web")
        let server = try EchoServer(container.thread, 80)
        let talk = try scene.fromHost(container.address, 80)
        #expect(talk == .answered(seenAs: "\(service.network.ipv4.first?.gateway?.description ?? "")"))
        withExtendedLifetime(server) {}
        await service.shutdown()
    }
}

/// Accepts connections, and notes the segment size that each has (TCP_MAXSEG).
private final class SegmentServer: Sendable {
    private let content = Monitor<[CInt]>([])
    private let listener: CInt
    var sizes: [CInt] { content.update { $0 } }

    init(_ thread: NamespaceThread, _ port: UInt16) throws {
        listener = try thread.run {
            let raw = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | 0o2000000, 0)
            var name = Talk.socketAddress("0.0.0.0", port)
            let code = withUnsafePointer(to: &name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard code == 0, listen(raw, 8) == 0 else { throw KernelFault("listen", errno: errno) }
            return raw
        }
        try startThread { [content, listener] in
            defer { close(listener) }
            while true {
                let client = accept(listener, nil, nil)
                if client < 0 { return }
                var size: CInt = 0
                var length = socklen_t(MemoryLayout<CInt>.size)
                getsockopt(client, CInt(IPPROTO_TCP), 2, &size, &length)
                content.update { $0.append(size) }
                send(client, "!", 1, 0)
                close(client)
            }
        }
    }

    deinit { shutdown(listener, CInt(SHUT_RDWR)) }
}
