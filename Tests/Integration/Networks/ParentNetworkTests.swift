import Glibc
import Linux
import Model
import Networks
import TestSupport
import Testing

/// Networks on a link of the host: macvlan and ipvlan in a host of the test's own, whose neighbour is on the other end of `lan0`.
@Suite(.serialized) struct ParentNetworkTests {
    private static func network(
        _ service: SandboxService, _ name: String, _ driver: String, subnet: String = "198.51.100.0/24", range: String? = nil,
        ipv6: String? = nil, _ options: [String: String]
    ) async throws -> NetworkRecord {
        var spec = NetworkSpec(name: name)
        spec.driver = driver
        spec.options = ["parent": "lan0"].merging(options) { _, given in given }
        spec.enablesIPv6 = ipv6 != nil
        spec.ranges = [
            AddressRange(subnet: try #require(IPSubnet(subnet)), range: range.flatMap { IPSubnet($0) })
        ]
        if let ipv6 { spec.ranges.append(AddressRange(subnet: try #require(IPSubnet(ipv6)))) }
        return try await service.create(spec, by: .engine)
    }

    private func fault(_ body: () async throws -> Void) async -> Fault? {
        do { try await body() } catch { return Fault(error) }
        return nil
    }

    private static func links(_ scene: NetworkScene) throws -> Set<String> {
        Set(try scene.host.run { try NetlinkSocket(.route).links().map(\.name) })
    }

    @Test(arguments: [MacvlanSettings.Mode.bridge, .private, .vepa])
    func aMacvlanModeDecidesWhoMeets(_ mode: MacvlanSettings.Mode) async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let made = try await Self.network(
            service, "lan", "macvlan", range: "198.51.100.64/28", ["macvlan_mode": mode.rawValue])
        let server = try await SceneContainer(service, "server", on: [made])
        let client = try await SceneContainer(service, "client", on: [made])
        let echo = try EchoServer(server.thread, 80)
        #expect(try scene.fromNeighbour(server.address, 80) == .answered(seenAs: NetworkScene.neighbourAddress))
        let between = try client.talk(server.address, 80)
        if mode == .bridge {
            #expect(between == .answered(seenAs: client.address))
        } else {
            // Frames to a neighbour on the same link leave by the wire, and nobody there sends them back; an unanswered ARP is errno 113
            #expect([.silence, .failed(EHOSTUNREACH)].contains(between), "\(between)")
        }
        // The host itself is never met
        #expect(try client.talk(NetworkScene.hostAddress, 80, milliseconds: 300) != .refused)
        withExtendedLifetime(echo) {}
        await service.shutdown()
    }

    @Test func passthruTakesTheWholeLink() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let made = try await Self.network(service, "whole", "macvlan", range: "198.51.100.64/28", ["macvlan_mode": "passthru"])
        let refusal = await fault {
            _ = try await Self.network(service, "second", "macvlan", subnet: "10.66.0.0/24", [:])
        }
        #expect(refusal?.kind == .forbidden)
        #expect(
            refusal?.message == "macvlan network \(made.id.short) is already using parent interface lan0 in mode passthru")
        let only = try await SceneContainer(service, "only", on: [made])
        let echo = try EchoServer(only.thread, 80)
        #expect(try scene.fromNeighbour(only.address, 80) == .answered(seenAs: NetworkScene.neighbourAddress))
        let parent = try #require(try scene.host.run { try NetlinkSocket(.route).link(named: "lan0") })
        #expect(try only.thread.run { try NetlinkSocket(.route).link(named: "eth0")?.mac } == parent.mac)
        #expect(await fault { _ = try await SceneContainer(service, "further", on: [made]) } != nil)
        #expect(service.networks.usedAddresses(made.id).ipv4 == 1)
        withExtendedLifetime(echo) {}
        await service.release(only.lease.record.id)
        try await service.remove(made.id, by: .engine)
        // The other way round
        let shared = try await Self.network(service, "shared", "macvlan", [:])
        let late = await fault {
            _ = try await Self.network(
                service, "late", "macvlan", subnet: "10.66.0.0/24", ["macvlan_mode": "passthru"])
        }
        #expect(
            late?.message
                == "cannot use mode passthru, macvlan network \(shared.id.short) is already using parent interface lan0")
        await service.shutdown()
    }

    @Test func severalNetworksHangOnOneLink() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let first = try await Self.network(service, "first", "macvlan", range: "198.51.100.64/28", [:])
        let second = try await Self.network(service, "second", "macvlan", subnet: "203.0.113.0/24", ["macvlan_mode": "private"])
        try scene.neighbour.run {
            let socket = try NetlinkSocket(.route)
            let link = socket.index(ofLink: "eth0") ?? 0
            let address = try #require(IPv4Address("203.0.113.9"))
            try socket.transact([RouteRequest.add(address: address, prefix: 24, link: link)])
        }
        let one = try await SceneContainer(service, "one", on: [first])
        let both = try await SceneContainer(service, "both", on: [first, second])
        let echo = try EchoServer(both.thread, 80)
        for endpoint in both.lease.record.endpoints {
            let address = try #require(endpoint.ipv4?.address.description)
            #expect(
                try scene.fromNeighbour(address, 80)
                    == .answered(seenAs: endpoint.network == first.id ? NetworkScene.neighbourAddress : "203.0.113.9"))
        }
        let other = await fault { _ = try await Self.network(service, "l", "ipvlan", subnet: "10.66.0.0/24", [:]) }
        #expect(
            other?.message == "network \(first.id.short) is already using parent interface lan0"
                || other?.message == "network \(second.id.short) is already using parent interface lan0")
        // In use
        let busy = await fault { try await service.remove(second.id, by: .engine) }
        #expect(busy?.message.contains("has active endpoints") == true)
        await service.release(both.lease.record.id)
        try await service.remove(second.id, by: .engine)
        withExtendedLifetime(echo) {}
        let still = try EchoServer(one.thread, 81)
        #expect(try scene.fromNeighbour(one.address, 81) == .answered(seenAs: NetworkScene.neighbourAddress))
        withExtendedLifetime(still) {}
        await service.shutdown()
    }

    @Test func aContainerHasTheMACAndAddressesThatItAskedFor() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let made = try await Self.network(service, "lan", "macvlan", ipv6: "fd98::/64", [:])
        try scene.neighbour.run {
            try NetSysctl.write("ipv6/conf/eth0/disable_ipv6", "0")
            try NetSysctl.write("ipv6/conf/eth0/accept_dad", "0")
            let socket = try NetlinkSocket(.route)
            let address = try #require(IPv6Address("fd98::9"))
            try socket.transact([RouteRequest.add(address: address, prefix: 64, link: socket.index(ofLink: "eth0") ?? 0)])
        }
        var wish = AttachmentRequest(network: made.id)
        wish.mac = MACAddress("02:aa:bb:cc:dd:01")
        wish.ipv4 = IPv4Address("198.51.100.77")
        wish.ipv6 = IPv6Address("fd98::77")
        let lease = try await service.acquire(SandboxRequest(id: .random(), name: "a", attachments: [wish]))
        let thread = try NamespaceThread(lease.netns)
        let link = try #require(try thread.run { try NetlinkSocket(.route).link(named: "eth0") })
        #expect(link.mac == wish.mac)
        let echo = try EchoServer(thread, 80)
        #expect(try scene.fromNeighbour("198.51.100.77", 80) == .answered(seenAs: NetworkScene.neighbourAddress))
        withExtendedLifetime(echo) {}
        let seen = try scene.neighbour.run {
            run(["/bin/sh", "-c", "busybox ping -6 -c 1 -W 3 fd98::77 >/dev/null && ip -6 neigh show fd98::77"])
        }
        #expect(seen.output.contains("02:aa:bb:cc:dd:01"), "\(seen.output)\(seen.error)")
        withExtendedLifetime(lease) {}
        await service.shutdown()
    }

    // MARK: VLANs

    static let hasVLAN: Bool = {
        let fault = try? NamespaceThread().run {
            let socket = try NetlinkSocket(.route)
            let lo = socket.index(ofLink: "lo") ?? 1
            return try socket.results([RouteRequest.createVLAN("probe.9", parent: lo, id: 9)]).first ?? nil
        }
        // lo takes no VLAN anywhere; what counts is why not
        return !"\((fault ?? nil).map { "\($0)" } ?? "")".contains("Unknown device type")
    }()

    @Test func whereAVLANCannotBeMadeNothingIsLeft() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started(warm: 0)
        let before = try Self.links(scene)
        for parent in ["none0.10", "lan0.4095", "lan0.x"] + (Self.hasVLAN ? [] : ["lan0.10"]) {
            let refusal = await fault { _ = try await Self.network(service, "v", "macvlan", ["parent": parent]) }
            #expect(refusal != nil, "\(parent)")
        }
        #expect(try Self.links(scene) == before)
        #expect(service.networks.named("v") == nil)
        await service.shutdown()
    }

    @Test(.enabled(if: hasVLAN, "this kernel lacks CONFIG_VLAN_8021Q"))
    func aVLANIsMadeWithItsFirstNetworkAndGoesWithItsLast() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let first = try await Self.network(service, "first", "macvlan", subnet: "203.0.113.0/24", ["parent": "lan0.10"])
        let made = try #require(try scene.host.run { try NetlinkSocket(.route).link(named: "lan0.10") })
        #expect(made.kind == "vlan")
        let second = try await Self.network(service, "second", "macvlan", subnet: "10.66.0.0/24", ["parent": "lan0.10"])
        try scene.neighbour.run {
            let socket = try NetlinkSocket(.route)
            try socket.transact([RouteRequest.createVLAN("eth0.10", parent: socket.index(ofLink: "eth0") ?? 0, id: 10)])
            let address = try #require(IPv4Address("203.0.113.9"))
            try socket.transact([
                RouteRequest.set("eth0.10", isUp: true),
                RouteRequest.add(address: address, prefix: 24, link: socket.index(ofLink: "eth0.10") ?? 0),
            ])
        }
        let container = try await SceneContainer(service, "a", on: [first])
        let echo = try EchoServer(container.thread, 80)
        #expect(try scene.fromNeighbour(container.address, 80) == .answered(seenAs: "203.0.113.9"))
        withExtendedLifetime(echo) {}
        await service.release(container.lease.record.id)
        try await service.remove(first.id, by: .engine)
        #expect(try Self.links(scene).contains("lan0.10"))
        try await service.remove(second.id, by: .engine)
        #expect(try !Self.links(scene).contains("lan0.10"))
        #expect(try Self.links(scene).contains("lan0"))
        await service.shutdown()
    }

    // MARK: ipvlan

    @Test(
        .enabled(if: NetworkDriverTests.hasIpvlan, NetworkDriverTests.lacksIpvlan), arguments: IpvlanSettings.Mode.allCases)
    func containersOnAnIpvlanMeet(_ mode: IpvlanSettings.Mode) async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let subnet = mode == .l2 ? "198.51.100.0/24" : "203.0.113.0/24"
        let made = try await Self.network(
            service, "ip", "ipvlan", subnet: subnet, range: mode == .l2 ? "198.51.100.64/28" : nil,
            ["ipvlan_mode": mode.rawValue])
        if mode != .l2 {
            // Nobody answers ARP there: the LAN's router knows the way
            try scene.neighbour.run {
                let socket = try NetlinkSocket(.route)
                let subnet = try #require(IPv4Subnet("203.0.113.0/24"))
                let host = try #require(IPv4Address(NetworkScene.hostAddress))
                try socket.transact([RouteRequest.add(route: subnet, gateway: host, link: socket.index(ofLink: "eth0") ?? 0)])
            }
        }
        let server = try await SceneContainer(service, "server", on: [made])
        let client = try await SceneContainer(service, "client", on: [made])
        let echo = try EchoServer(server.thread, 80)
        #expect(try client.talk(server.address, 80) == .answered(seenAs: client.address))
        #expect(try scene.fromNeighbour(server.address, 80) == .answered(seenAs: NetworkScene.neighbourAddress))
        let parent = try #require(try scene.host.run { try NetlinkSocket(.route).link(named: "lan0") })
        #expect(try server.thread.run { try NetlinkSocket(.route).link(named: "eth0")?.mac } == parent.mac)
        let other = await fault {
            _ = try await Self.network(
                service, "other", "ipvlan", subnet: "10.66.0.0/24", ["ipvlan_mode": mode == .l2 ? "l3" : "l2"])
        }
        #expect(other?.message.contains("in mode \(mode.rawValue), bridge: a second network there needs the same") == true)
        withExtendedLifetime(echo) {}
        await service.shutdown()
    }

    // MARK: SCTP

    static let hasSCTP: Bool = {
        let raw = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 132)
        if raw >= 0 { close(raw) }
        return raw >= 0
    }()

    @Test(.enabled(if: hasSCTP, "this kernel lacks CONFIG_IP_SCTP"))
    func containersTalkSCTP() async throws {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let spec = NetworkSpec(name: "app")
        let made = try await service.create(spec, by: .engine)
        let server = try await SceneContainer(service, "server", on: [made])
        let client = try await SceneContainer(service, "client", on: [made])
        let listener = try server.thread.run {
            let raw = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | 0o2000000, 132)
            var name = Talk.socketAddress("0.0.0.0", 3868)
            try kernel("bind") {
                withUnsafePointer(to: &name) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(raw, $0, 16) }
                }
            }
            try kernel("listen") { listen(raw, 4) }
            return raw
        }
        defer { close(listener) }
        let address = server.address
        let code = try client.thread.run {
            let raw = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | 0o2000000, 132)
            defer { close(raw) }
            var name = Talk.socketAddress(address, 3868)
            let code = withUnsafePointer(to: &name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(raw, $0, 16) }
            }
            return code == 0 ? 0 : errno
        }
        #expect(code == 0)
        await service.shutdown()
    }
}
