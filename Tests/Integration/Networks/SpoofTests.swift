import Linux
import Model
import Networks
import TestSupport
import Testing

/// A container that poses as its neighbour, or as a router, on bridges of ours. The threat is CAP_NET_RAW and CAP_NET_ADMIN.
@Suite struct SpoofTests {
    private struct Cast {
        let scene: NetworkScene
        let service: SandboxService
        let victim: SceneContainer
        let attacker: SceneContainer
        let server: SceneContainer
        let echo: EchoServer
    }

    private func cast() async throws -> Cast {
        let scene = try NetworkScene()
        let service = try await scene.started()
        let made = try await service.create(NetworkSpec(name: "app"), by: .engine)
        let victim = try await SceneContainer(service, "victim", on: [made])
        let attacker = try await SceneContainer(service, "attacker", on: [made])
        let server = try await SceneContainer(service, "server", on: [made])
        return Cast(
            scene: scene, service: service, victim: victim, attacker: attacker, server: server,
            echo: try EchoServer(server.thread, 80))
    }

    private func ipv4(_ container: SceneContainer) throws -> IPv4Address {
        try #require(container.lease.record.endpoints.first?.ipv4?.address)
    }

    /// Makes the attacker's only address another.
    private func pose(_ attacker: SceneContainer, as address: IPv4Address, instead own: IPv4Address) throws {
        try attacker.thread.run {
            let socket = try NetlinkSocket(.route)
            let index = try #require(try socket.link(named: "eth0")).index
            try socket.transact([
                RouteRequest.remove(address: .v4(own), prefix: 24, link: index),
                RouteRequest.add(address: address, prefix: 24, link: index),
            ])
        }
    }

    @Test(.enabled(if: hasTables, SandboxTests.reason))
    func aNeighboursAddressIsNoUse() async throws {
        let cast = try await cast()
        let own = try ipv4(cast.attacker)
        let victim = try ipv4(cast.victim)
        let free = IPv4Address(number: own.number + 100)
        #expect(try cast.attacker.talk(cast.server.address, 80) == .answered(seenAs: own.description))
        try pose(cast.attacker, as: victim, instead: own)
        #expect(try cast.attacker.talk(cast.server.address, 80, milliseconds: 400) != .answered(seenAs: victim.description))
        // The victim has not been talked away from the server meanwhile.
        #expect(try cast.victim.talk(cast.server.address, 80) == .answered(seenAs: victim.description))
        // The host's address is nobody's either; a free one is (virtual addresses that move between containers).
        try pose(cast.attacker, as: IPv4Address(number: own.number & 0xFFFF_FF00 | 1), instead: victim)
        #expect(try cast.attacker.talk(cast.server.address, 80, milliseconds: 400) != .answered(seenAs: "172.18.0.1"))
        try pose(cast.attacker, as: free, instead: IPv4Address(number: own.number & 0xFFFF_FF00 | 1))
        #expect(try cast.attacker.talk(cast.server.address, 80) == .answered(seenAs: free.description))
        withExtendedLifetime(cast.echo) {}
        await cast.service.shutdown()
    }

    @Test(.enabled(if: hasTables, SandboxTests.reason))
    func aNeighboursEthernetAddressIsNoUse() async throws {
        let cast = try await cast()
        let own = try #require(cast.attacker.lease.record.endpoints.first?.mac)
        let victim = try #require(cast.victim.lease.record.endpoints.first?.mac)
        func wear(_ mac: MACAddress) throws {
            try cast.attacker.thread.run { try NetlinkSocket(.route).transact([RouteRequest.set("eth0", mac: mac)]) }
        }
        try wear(victim)
        #expect(try cast.attacker.talk(cast.server.address, 80, milliseconds: 400) != .answered(seenAs: cast.attacker.address))
        #expect(try cast.victim.talk(cast.server.address, 80) == .answered(seenAs: cast.victim.address))
        try wear(own)
        #expect(try cast.attacker.talk(cast.server.address, 80, milliseconds: 3000) == .answered(seenAs: cast.attacker.address))
        withExtendedLifetime(cast.echo) {}
        await cast.service.shutdown()
    }

    /// Somebody else flushes all rules; the guard is there again within a second.
    @Test(.enabled(if: hasTables, SandboxTests.reason))
    func theGuardIsPutBack() async throws {
        let cast = try await cast()
        let table = TablesRequest(table: "skiff", family: .bridge)
        func rules() throws -> Int { try cast.scene.host.run { try NetlinkSocket(.netfilter).ruleCount(of: table) } }
        let before = try rules()
        #expect(before > 0)
        try cast.scene.host.run { _ = try NetlinkSocket(.netfilter).batch([table.delete()]) }
        #expect(eventually(timeout: 2) { (try? rules()) == before })
        await cast.service.shutdown()
    }
}
