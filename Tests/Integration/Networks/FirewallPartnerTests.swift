import Glibc
import Linux
import Model
import Networks
import TestSupport
import Testing

/// ufw and firewalld as Debian has them, each in a host of its own, with private copies of its files.
@Suite(
    .enabled(
        if: hasTables && FirewallPartner.arePresent, "nf_tables, ufw and firewalld are needed: apt-get install ufw firewalld"))
struct FirewallPartnerTests {
    private static let address = NetworkScene.hostAddress

    /// Every port that the partner's rules tell apart, as a listener of the host would be reached, and as published.
    private func compare(_ scene: NetworkScene, _ service: SandboxService, _ container: SceneContainer, _ ports: [UInt16])
        throws
    {
        let probes = ports.flatMap { port in
            [
                (scene.neighbour, "neighbour", Self.address), (scene.host, "host", "127.0.0.1"),
                (scene.host, "host", Self.address),
                (container.thread, "container", Self.address),
            ]
            .map {
                PolicyProbe(from: $0.0, place: $0.1, source: nil, target: $0.2, port: port, proto: .tcp)
            }
        }
        // A listener of the host on the port after each published one has the same rules.
        let listeners = probes.map { probe in
            PolicyProbe(
                from: probe.from, place: probe.place, source: nil, target: probe.target, port: probe.port + 1, proto: .tcp)
        }
        let servers = try ports.map { try EchoServer(scene.host, $0 + 1) }
        let (wanted, found) = (try PolicyProbe.ask(listeners), try PolicyProbe.ask(probes))
        for (probe, (wanted, found)) in zip(probes, zip(wanted, found)) where wanted != found {
            Issue.record("\(probe): a listener \(wanted), the published port \(found)")
        }
        withExtendedLifetime(servers) {}
    }

    @Test func ufwDecidesWhoReachesPublishedPorts() async throws {
        let scene = try NetworkScene()
        let ufw = try FirewallPartner(scene)
        try ufw.ufw(
            "allow 8000:8001/tcp", "allow from 198.51.100.0/24 to any port 8002:8003 proto tcp",
            "allow from 203.0.113.0/24 to any port 8004:8005 proto tcp", "reject 8006:8007/tcp", "--force enable")
        let service = try await scene.started()
        let ports: [UInt16] = [8000, 8002, 8004, 8006, 8008]
        let container = try await SceneContainer(service, "web", ports: ports.map { .port($0, $0) })
        let servers = try ports.map { try EchoServer(container.thread, $0) }
        try compare(scene, service, container, ports)
        #expect(try scene.fromNeighbour(Self.address, 8000) == .answered(seenAs: NetworkScene.neighbourAddress))
        #expect(try scene.fromNeighbour(Self.address, 8008, milliseconds: 300) == .silence)
        try ufw.ufw("allow 8008:8009/tcp", "deny 8000:8001/tcp", "delete allow 8000:8001/tcp")
        #expect(
            eventually(timeout: 1) {
                (try? scene.fromNeighbour(Self.address, 8008, milliseconds: 100))
                    == .answered(seenAs: NetworkScene.neighbourAddress)
            })
        try ufw.ufw("reload")
        usleep(1_000_000)
        try compare(scene, service, container, ports)
        #expect(try scene.fromNeighbour(Self.address, 8000, milliseconds: 300) == .silence)
        try ufw.ufw("disable")
        usleep(500_000)
        try compare(scene, service, container, ports)
        withExtendedLifetime(servers) {}
        await service.shutdown()
    }

    /// `ufw limit`: six new connections of a source within thirty seconds are one too many, for a listener and for what is published,
    /// and the list of sources is the same for both.
    @Test func ufwLimitsPublishedPortsAsListeners() async throws {
        let scene = try NetworkScene()
        let ufw = try FirewallPartner(scene)
        try ufw.ufw("limit 8000:8001/tcp", "--force enable")
        let service = try await scene.started()
        let container = try await SceneContainer(service, "web", ports: [.port(8000, 8000)])
        let servers = try [EchoServer(container.thread, 8000), EchoServer(scene.host, 8001)]
        func attempts(_ ports: [UInt16]) throws -> [Bool] {
            _ = scene.output("echo / >/proc/self/net/xt_recent/DEFAULT")
            return try ports.map { port in
                try scene.fromNeighbour(Self.address, port, milliseconds: 300)
                    == .answered(seenAs: NetworkScene.neighbourAddress)
            }
        }
        let listener = try attempts([UInt16](repeating: 8001, count: 8))
        #expect(listener == [true, true, true, true, true, false, false, false])
        #expect(try attempts([UInt16](repeating: 8000, count: 8)) == listener)
        #expect(try attempts([8001, 8000, 8001, 8000, 8001, 8000, 8000, 8001]) == listener)
        let audit = try await service.auditPorts()
        #expect(audit.first?.others.reach == .some)
        #expect(
            audit.first?.others.gates.flatMap(\.answers).contains {
                $0.verdict == .reject && $0.when.contains { $0.contains("recent --update --seconds 30 --hitcount 6") }
            } == true)
        // Another's table, and ours of the family, gone: both are back, and go on.
        _ = scene.output("nft delete table ip skiff")
        #expect(eventually(timeout: 1.5) { scene.output("nft list table ip skiff").contains("guarded_any") })
        try ufw.ufw("reload")
        usleep(1_200_000)
        #expect(try attempts([UInt16](repeating: 8000, count: 8)) == listener)
        let second = try await SceneContainer(service, "second", ports: [.port(8008, 8008)])
        #expect(try scene.fromNeighbour(Self.address, 8008, milliseconds: 300) == .silence)
        try ufw.ufw("disable")
        #expect(eventually(timeout: 1.5) { !scene.output("nft list tables").contains("ip skiff\n") })
        #expect(scene.output("nft list tables").contains("inet skiff"))
        withExtendedLifetime((servers, second)) {}
        await service.shutdown()
    }

    /// An ipset is asked as it is when the packet comes.
    @Test func ipsetsAreAsked() async throws {
        let scene = try NetworkScene()
        guard scene.output("ipset create friends hash:ip && ipset create pairs hash:ip,port && echo yes") == "yes\n" else {
            return
        }
        try scene.loadIptables(
            """
            *filter
            :INPUT DROP [0:0]
            -A INPUT -i lo -j ACCEPT
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p tcp -m multiport --dports 8000,8001 -m set --match-set friends src -j ACCEPT
            -A INPUT -p tcp -m set --match-set pairs src,dst -j ACCEPT
            COMMIT
            """)
        let service = try await scene.started()
        let ports: [UInt16] = [8000, 8002]
        let container = try await SceneContainer(service, "web", ports: ports.map { .port($0, $0) })
        let servers = try ports.map { try EchoServer(container.thread, $0) }
        try compare(scene, service, container, ports)
        _ = scene.output("ipset add friends \(NetworkScene.neighbourAddress)")
        #expect(try scene.fromNeighbour(Self.address, 8000) == .answered(seenAs: NetworkScene.neighbourAddress))
        try compare(scene, service, container, ports)
        _ = scene.output(
            "ipset add pairs \(NetworkScene.neighbourAddress),tcp:8002; ipset add pairs \(NetworkScene.neighbourAddress),tcp:8003"
        )
        #expect(try scene.fromNeighbour(Self.address, 8002) == .answered(seenAs: NetworkScene.neighbourAddress))
        try compare(scene, service, container, ports)
        _ = scene.output("ipset flush friends; ipset flush pairs")
        try compare(scene, service, container, ports)
        #expect(try scene.fromNeighbour(Self.address, 8000, milliseconds: 300) == .silence)
        withExtendedLifetime(servers) {}
        await service.shutdown()
    }

    @Test(arguments: ["nftables", "iptables"]) func firewalldDecidesWhoReachesPublishedPorts(backend: String) async throws {
        let scene = try NetworkScene()
        let firewalld = try FirewallPartner(scene)
        try firewalld.startFirewalld(backend: backend)
        defer { firewalld.stop() }
        try firewalld.firewalld(
            "--zone=public --add-interface=lan0", "--add-port=8000-8001/tcp",
            "--add-rich-rule='rule family=ipv4 source address=198.51.100.0/24 port port=8002-8003 protocol=tcp accept'",
            "--add-rich-rule='rule family=ipv4 source address=203.0.113.0/24 port port=8004-8005 protocol=tcp accept'")
        let service = try await scene.started()
        let ports: [UInt16] = [8000, 8002, 8004, 8006]
        let container = try await SceneContainer(service, "web", ports: ports.map { .port($0, $0) })
        let servers = try ports.map { try EchoServer(container.thread, $0) }
        try compare(scene, service, container, ports)
        #expect(try scene.fromNeighbour(Self.address, 8000) == .answered(seenAs: NetworkScene.neighbourAddress))
        #expect(
            try scene.fromNeighbour(Self.address, 8006, milliseconds: 300) != .answered(seenAs: NetworkScene.neighbourAddress))
        // What was not made permanent goes.
        try firewalld.firewalld("--reload")
        usleep(800_000)
        try compare(scene, service, container, ports)
        #expect(
            try scene.fromNeighbour(Self.address, 8000, milliseconds: 300) != .answered(seenAs: NetworkScene.neighbourAddress))
        withExtendedLifetime(servers) {}
        await service.shutdown()
    }
}

/// ufw or firewalld on a scene's host. Its files are copies.
final class FirewallPartner {
    static let arePresent = access("/usr/sbin/ufw", X_OK) == 0 && access("/usr/sbin/firewalld", X_OK) == 0

    private let scene: NetworkScene
    private let folder: String

    init(_ scene: NetworkScene) throws {
        self.scene = scene
        var template = Array("/tmp/skiff-partner.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw KernelFault("mkdtemp", errno: errno) }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = system("rm -rf --one-file-system \(folder)") }

    private func bash(_ script: String) throws {
        try scene.host.run { [folder] in
            guard let pipe = popen("S=\(folder) bash -e >\(folder)/log 2>&1", "w") else {
                throw KernelFault("popen", errno: errno)
            }
            fputs(script + "\n", pipe)
            guard pclose(pipe) == 0 else {
                let log = (try? SmallFile.read("\(folder)/log")).map { String(decoding: $0, as: UTF8.self) } ?? ""
                throw KernelFault("bash", errno: EINVAL, script + "\n" + log)
            }
        }
    }

    func ufw(_ commands: String...) throws {
        let lines = commands.map { $0.hasPrefix("sed ") ? $0 : "ufw \($0)" }.joined(separator: "\n")
        try bash(
            """
            cat >$S/run <<'END'
            set -e
            for d in /etc/ufw /etc/default; do
              if [ ! -d $S$d ]; then mkdir -p $S$d; cp -a $d/. $S$d/; fi
              mount --bind $S$d $d
            done
            mount -t tmpfs tmpfs /run
            \(lines)
            END
            export S; unshare -m bash $S/run
            """)
    }

    func startFirewalld(backend: String) throws {
        try bash(
            """
            mkdir -p $S/etc $S/run/dbus; cp -a /etc/firewalld/. $S/etc/
            sed -i 's/^FirewallBackend=.*/FirewallBackend=\(backend)/' $S/etc/firewalld.conf
            cat >$S/start <<'END'
            mount --bind $S/etc /etc/firewalld; mount --bind $S/run /run
            dbus-daemon --system --nofork --nopidfile &
            sleep 0.5
            exec firewalld --nofork --nopid
            END
            export S; setsid unshare -mp --fork --kill-child --mount-proc bash $S/start >$S/daemon 2>&1 & echo $! >$S/pid
            export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$S/run/dbus/system_bus_socket
            for i in $(seq 60); do firewall-cmd --state && exit 0; sleep 0.2; done
            cat $S/daemon; exit 1
            """)
    }

    func firewalld(_ commands: String...) throws {
        try bash(
            "export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$S/run/dbus/system_bus_socket\n"
                + commands.map { "firewall-cmd \($0)" }.joined(separator: "\n"))
    }

    func stop() { try? bash("kill -- -$(cat $S/pid) || kill $(cat $S/pid); sleep 0.3") }
}
