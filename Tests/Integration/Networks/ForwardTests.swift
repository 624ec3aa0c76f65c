import Glibc
import Linux
import Model
import Networks
import TestSupport
import Testing

/// Firewalls that forbid by default what is forwarded leave containers their way out and their published ports, and keep each
/// explicit rule's say.
@Suite(
    .enabled(
        if: hasTables && FirewallPartner.arePresent, "nf_tables, ufw and firewalld are needed: apt-get install ufw firewalld"))
struct ForwardTests {
    private static let open: UInt16 = 9000
    private static let denied: UInt16 = 9001
    /// A container that publishes a port, and two servers in the neighbourhood.
    private final class Stage: Sendable {
        static let published: UInt16 = 8000
        let scene: NetworkScene
        let service: SandboxService
        let container: SceneContainer
        let servers: [EchoServer]

        init(
            _ scene: NetworkScene, _ change: @escaping @Sendable (inout NetworksConfiguration) -> Void = { _ in }
        ) async throws {
            self.scene = scene
            service = try scene.service(change)
            try await service.restore([])
            container = try await SceneContainer(service, "web", ports: [.port(Self.published, 80)])
            servers = try [
                EchoServer(scene.neighbour, open), EchoServer(scene.neighbour, denied), EchoServer(container.thread, 80),
            ]
        }

        private func answers(_ port: UInt16) -> Bool {
            (try? container.talk(NetworkScene.neighbourAddress, port, milliseconds: 150))
                == .answered(seenAs: NetworkScene.hostAddress)
        }
        var reachesOut: Bool { answers(open) }
        var reachesDenied: Bool { answers(denied) }
        var isReached: Bool {
            (try? scene.fromNeighbour(NetworkScene.hostAddress, Self.published, milliseconds: 150))
                == .answered(seenAs: NetworkScene.neighbourAddress)
        }

        /// Within a second and a bit.
        func becomes(
            _ when: String, out: Bool = true, denied: Bool = false, reached: Bool = true,
            _ place: SourceLocation = #_sourceLocation
        ) {
            let settled = eventually(timeout: 1.5) {
                self.reachesOut == out && self.isReached == reached && self.reachesDenied == denied
            }
            #expect(
                settled, "\(when): out \(reachesOut), denied \(reachesDenied), reached \(isReached); \(scene.chain())",
                sourceLocation: place)
        }
    }

    @Test(arguments: ["DROP", "REJECT"]) func ufwsDefaultLeavesContainersTheirNetwork(policy: String) async throws {
        let scene = try NetworkScene()
        let stage = try await Stage(scene)
        let ufw = try FirewallPartner(scene)
        try ufw.ufw(
            "sed -i 's/^DEFAULT_FORWARD_POLICY=.*/DEFAULT_FORWARD_POLICY=\"\(policy)\"/' /etc/default/ufw",
            "route deny proto tcp from any to \(NetworkScene.neighbourAddress) port \(Self.denied)",
            "allow \(Stage.published)/tcp", "--force enable")
        stage.becomes("enabled")
        // What shows rules shows ours.
        #expect(scene.output("iptables-nft -S FORWARD").contains("-i skiff0 -m comment --comment skiff -j ACCEPT"))
        #expect(scene.output("iptables-nft-save").contains("-o skiff0 -m comment --comment skiff -j ACCEPT"))
        #expect(scene.output("ip6tables-nft -S FORWARD").contains("--comment skiff"))
        let found = await stage.service.forwarding()
        #expect(found.map(\.chain) == ["ip filter FORWARD", "ip6 filter FORWARD"])
        #expect(found.allSatisfy { $0.answer == .added })
        try ufw.ufw("reload")
        stage.becomes("reloaded")
        try ufw.ufw("deny \(Stage.published)/tcp", "delete allow \(Stage.published)/tcp")
        stage.becomes("port denied", reached: false)
        try ufw.ufw("allow \(Stage.published)/tcp", "delete deny \(Stage.published)/tcp", "disable")
        stage.becomes("disabled", denied: true)
        #expect(eventually(timeout: 2) { !scene.output("iptables-nft -S FORWARD").contains("skiff") })
        try ufw.ufw("--force enable")
        stage.becomes("enabled again")
        // A rule that somebody adds behind ours has its say.
        _ = scene.output("iptables-nft -A FORWARD -p tcp --dport \(Self.open) -j DROP")
        // Where ufw rejects, nothing comes so far.
        stage.becomes("a rule at the end", out: policy == "REJECT")
        _ = scene.output("iptables-nft -D FORWARD -p tcp --dport \(Self.open) -j DROP")
        stage.becomes("without it")
        _ = scene.output("iptables-nft -F FORWARD")
        stage.becomes("flushed", denied: true)
        await stage.service.shutdown()
        #expect(stage.reachesOut && stage.isReached)
        #expect(scene.output("iptables-nft -S FORWARD").contains("-i skiff0 -m comment --comment skiff -j ACCEPT"))
    }

    @Test(arguments: ["nftables", "iptables"]) func firewalldsDefaultLeavesContainersTheirNetwork(backend: String) async throws
    {
        let scene = try NetworkScene()
        let stage = try await Stage(scene)
        let firewalld = try FirewallPartner(scene)
        try firewalld.startFirewalld(backend: backend)
        defer { firewalld.stop() }
        let deny = "--direct --add-rule ipv4 filter FORWARD 0 -p tcp --dport \(Self.denied) -j DROP"
        try firewalld.firewalld("--zone=public --add-interface=lan0", "--add-port=\(Stage.published)/tcp", deny)
        stage.becomes("started")
        let found = await stage.service.forwarding()
        #expect(!found.isEmpty && found.allSatisfy { $0.answer == .added }, "\(found)")
        try firewalld.firewalld("--reload")
        stage.becomes("reloaded", denied: true, reached: false)
        try firewalld.firewalld("--add-port=\(Stage.published)/tcp", deny)
        stage.becomes("as before")
        await stage.service.shutdown()
    }

    @Test func aChainOfNftThatDropsIsOpenedAtItsEnd() async throws {
        let scene = try NetworkScene()
        try scene.load(
            """
            table inet mine { chain forward { type filter hook forward priority 0; policy drop;
              ct state established,related accept
              tcp dport \(Self.denied) drop
              limit rate 5/minute log prefix "dropped "
            }
            }
            """)
        let stage = try await Stage(scene)
        stage.becomes("at the start")
        #expect(scene.warnings.withLock { $0.contains { $0.contains("inet mine forward") } })
        // Nobody changes anything now, and nobody goes on to do so.
        usleep(900_000)
        let before = try scene.host.run { try NetlinkSocket(.netfilter).tablesGeneration() }
        usleep(1_600_000)
        #expect(try scene.host.run { try NetlinkSocket(.netfilter).tablesGeneration() } == before)
        // A network that comes later.
        let other = try await stage.service.create(NetworkSpec(name: "other"), by: .engine)
        let second = try await SceneContainer(stage.service, "second", on: [other])
        #expect(
            try second.talk(NetworkScene.neighbourAddress, Self.open) == .answered(seenAs: NetworkScene.hostAddress))
        #expect(scene.output("nft list ruleset").components(of: "comment \"skiff\"") == 4)
        await stage.service.release(second.lease.record.id)
        try await stage.service.remove(other.id, by: .engine)
        #expect(scene.output("nft list ruleset").components(of: "comment \"skiff\"") == 2)
        try scene.load("flush chain inet mine forward\nadd rule inet mine forward reject")
        stage.becomes("another rule at the end", denied: true)
        try scene.load("delete table inet mine")
        stage.becomes("without the table", denied: true)
        await stage.service.shutdown()
    }

    /// An engine that comes and goes before another one: with it its ports and servers go.
    private func firstStage(_ scene: NetworkScene, _ body: (Stage) throws -> Void) async throws {
        let stage = try await Stage(scene)
        try body(stage)
        await stage.service.release(stage.container.lease.record.id)
        await stage.service.shutdown()
    }

    @Test func onlyAWarningWhereItIsWished() async throws {
        let scene = try NetworkScene()
        try scene.load("table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }\n}")
        try await firstStage(scene) { $0.becomes("added", denied: true) }
        let stage = try await Stage(scene) { $0.opensForwarding = false }
        #expect(!scene.output("nft list ruleset").contains("comment \"skiff\""))
        #expect(scene.warnings.withLock { $0.contains { $0.contains("iptables -A FORWARD -i skiff0 -j ACCEPT") } })
        #expect(await stage.service.forwarding().map(\.answer) == [.closed])
        _ = scene.output("iptables-nft -A FORWARD -i skiff0 -j ACCEPT; iptables-nft -A FORWARD -o skiff0 -j ACCEPT")
        stage.becomes("as advised", denied: true)
        await stage.service.shutdown()
    }

    /// A table that only its maker can change (firewalld from 2.3 on has such).
    @Test func anOwnedTableIsNamed() async throws {
        let scene = try NetworkScene()
        let owner = try scene.host.run {
            var table = NetlinkWriter()
            for byte in [1, 0, 0, 0] as [UInt8] { table.native(byte) }
            table.attribute(1, text: "firewalld")
            table.attribute(2, big: UInt32(2))
            let made = NetlinkMessage(type: 10 << 8, flags: NetlinkMessage.flagCreate, payload: table.bytes)
            let request = TablesRequest(table: "firewalld")
            let socket = try NetlinkSocket(.netfilter)
            let faults = try socket.batch([
                made, request.create(chain: "forward", type: "filter", hook: .forward, priority: 10),
                request.append([.reject(.either(3))], to: "forward"),
            ])
            guard faults.isEmpty else { throw KernelFault("nf_tables", errno: EINVAL, "\(faults)") }
            return Kept(socket)
        }
        let stage = try await Stage(scene)
        #expect(!stage.reachesOut)
        #expect(scene.warnings.withLock { $0.contains { $0.contains("--zone=trusted --add-interface=skiff0") } })
        withExtendedLifetime(owner) {}
        await stage.service.shutdown()
    }

    @Test func oldTablesThatDropAreNamed() async throws {
        let scene = try NetworkScene()
        guard access("/usr/sbin/iptables-legacy", X_OK) == 0,
            scene.output("iptables-legacy -P FORWARD DROP && echo yes") == "yes\n"
        else { return }
        try await firstStage(scene) { stage in
            #expect(!stage.reachesOut)
            #expect(scene.warnings.withLock { $0.contains { $0.contains("iptables-legacy -I FORWARD -i skiff0 -j ACCEPT") } })
            _ = scene.output("iptables-legacy -I FORWARD -i skiff0 -j ACCEPT; iptables-legacy -I FORWARD -o skiff0 -j ACCEPT")
            #expect(stage.reachesOut && stage.isReached)
        }
        let again = try await Stage(scene)
        #expect(await again.service.forwarding().isEmpty)
        // The same for input: a policy without rules is a rule.
        _ = scene.output("iptables-legacy -P INPUT DROP")
        let second = try await SceneContainer(again.service, "second", ports: [.port(8100, 80)])
        let server = try EchoServer(second.thread, 80)
        #expect(!again.isReached)
        #expect(try scene.fromHost("127.0.0.1", 8100, milliseconds: 200) == .silence)
        // Answers come in by the bridge: who drops them at its input hears nothing.
        _ = scene.output(
            "iptables-legacy -A INPUT -i lo -j ACCEPT; iptables-legacy -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT")
        let third = try await SceneContainer(again.service, "third", ports: [.port(8101, 80)])
        #expect(!again.isReached)
        #expect(try scene.fromHost("127.0.0.1", 8100) == .answered(seenAs: "172.30.0.1"))
        withExtendedLifetime((server, third)) {}
        await again.service.shutdown()
    }
}

/// Unchecked: only kept.
private final class Kept: @unchecked Sendable {
    let socket: NetlinkSocket
    init(_ socket: NetlinkSocket) { self.socket = socket }
}

extension String {
    fileprivate func components(of part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: part) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}

extension NetworkScene {
    /// What a command says on the host.
    func output(_ command: String) -> String {
        let text = try? host.run {
            guard let pipe = popen("(\(command)) 2>&1", "r") else { throw KernelFault("popen", errno: errno) }
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65536)
            while true {
                let count = fread(&buffer, 1, buffer.count, pipe)
                if count <= 0 { break }
                bytes += buffer[..<count]
            }
            pclose(pipe)
            return String(decoding: bytes, as: UTF8.self)
        }
        return text ?? ""
    }

    /// For the words of a test that failed.
    func chain() -> String { output("iptables-nft -S; nft list ruleset | grep -A12 'hook forward'") }
}
