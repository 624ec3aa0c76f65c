import Glibc
import TestSupport
import Testing

/// Names as programs in containers meet them: other C libraries, servers in the container, links.
@Suite(.serialized) struct ContainerNamesTests {
    private static let folder = String(#filePath.dropLast("ContainerNamesTests.swift".count))

    /// An engine whose machine has this resolv.conf, and a name server at 127.0.0.1 that knows every name as 7.7.7.7.
    private func engine(_ name: String, _ resolvConf: String, _ scratch: Scratch) throws -> EngineFixture {
        let path = try scratch.file("resolv.conf", resolvConf)
        let engine = try EngineFixture(
            name,
            prefix: [
                "/usr/bin/unshare", "--mount", "/bin/sh", "-c", "mount --bind '\(path)' /etc/resolv.conf; exec \"$@\"", "-",
            ])
        try engine.importBusybox()
        return engine
    }

    private func server(_ address: String, _ answer: String) throws -> pid_t {
        let started = run([
            "/bin/sh", "-c", "python3 '\(Self.folder)name_server.py' \(address) \(answer) >/dev/null 2>&1 </dev/null & echo $!",
        ])
        #expect(eventually { run(["/bin/sh", "-c", "ss -Hlun"]).output.contains("\(address):53 ") })
        return try #require(pid_t(started.output.dropLast()))
    }

    private static let musl = "/usr/bin/musl-gcc"

    /// musl asks for both families at once, goes through the search list itself, sends no EDNS, and (before 1.2.4) knows no TCP: it
    /// takes as much of an answer as there is.
    @Test(.enabled(if: access(musl, X_OK) == 0, "musl-tools is not installed"))
    func aStaticMuslProgramResolves() throws {
        let scratch = try Scratch("musl")
        let built = run([Self.musl, "-static", "-O1", "-o", scratch.path + "/resolve", Self.folder + "resolve.c"])
        #expect(built.status == 0, "\(built.error)")
        let server = try server("127.0.0.1", "7.7.7.7")
        defer { kill(server, SIGKILL) }
        let engine = try engine("musl", "nameserver 127.0.0.1\nsearch shop.example\n", scratch)
        defer { engine.clean() }
        #expect(
            engine.skiff("network", "create", "--subnet", "10.66.0.0/24", "--ipv6", "--subnet", "fd66::/64", "shop").status == 0
        )
        let web = engine.skiff(
            "run", "-d", "--name", "web", "--network", "shop", "--ip", "10.66.0.10", "--ip6", "fd66::10", "--network-alias",
            "www.shop.example", "busybox:test", "sleep", "300")
        #expect(web.status == 0, "\(web.error)")
        for number in 0..<3 {
            let one = engine.skiff(
                "run", "-d", "--network", "shop", "--ip", "10.66.0.2\(number)", "--network-alias", "app", "busybox:test",
                "sleep",
                "300")
            #expect(one.status == 0, "\(one.error)")
        }
        let names = [
            "web", "web.shop", "www", "app", "outside.example", "v6.example", "big.example", "10.66.0.10", "localhost",
        ]
        func resolve(_ flags: [String], _ names: [String]) -> [String: Set<String>] {
            let words = flags + ["-v", "\(scratch.path)/resolve:/resolve:ro", "--network", "shop", "busybox:test", "/resolve"]
            let result = run([binaries + "/skiff", "-H", "unix://" + engine.socket, "run", "--rm"] + words + names)
            #expect(result.status == 0, "\(result.error)")
            var found: [String: Set<String>] = [:]
            for line in result.output.split(separator: "\n") {
                let parts = line.split(separator: " ").map(String.init)
                found[String(parts[0].dropLast())] = Set(parts.dropFirst())
            }
            return found
        }
        let found = resolve([], names)
        #expect(found["web"] == ["10.66.0.10", "fd66::10"], "\(found)")
        #expect(found["web.shop"] == ["10.66.0.10", "fd66::10"])
        // docker's ndots:0 is no search list at all for musl
        #expect(found["www"]?.contains("10.66.0.10") == false)
        let searched = resolve(["--dns-option", "ndots:1"], ["www", "web"])
        #expect(searched["www"] == ["10.66.0.10", "fd66::10"], "\(searched)")
        #expect(searched["web"]?.contains("7.7.7.7") == true || searched["web"] == ["10.66.0.10", "fd66::10"])
        #expect(found["app"]?.isSuperset(of: ["10.66.0.20", "10.66.0.21", "10.66.0.22"]) == true)
        #expect(found["outside.example"] == ["7.7.7.7"])
        #expect(found["v6.example"] == ["2001:db8::6"])
        #expect(found["localhost"]?.contains("127.0.0.1") == true)
        let big = found["big.example"] ?? []
        #expect(big.count == 60 || Self.lacksTCP, "\(big)")
    }

    /// musl's loader tells its version.
    private static let lacksTCP: Bool = {
        let text = run(["/bin/sh", "-c", "/lib/ld-musl-*.so.1 2>&1"]).output
        let version = text.split(separator: "\n").first { $0.hasPrefix("Version ") }?.dropFirst(8).split(separator: ".") ?? []
        let numbers = version.compactMap { Int($0) }
        return numbers.count == 3 && (numbers[0], numbers[1], numbers[2]) < (1, 2, 4)
    }()

    @Test func loopbackMeansTheContainersOwnUnlessItIsTheHostsFile() throws {
        let scratch = try Scratch("loopback")
        let server = try server("127.0.0.1", "7.7.7.7")
        defer { kill(server, SIGKILL) }
        let engine = try engine("loopback", "nameserver 127.0.0.1\n", scratch)
        defer { engine.clean() }
        #expect(engine.skiff("network", "create", "shop").status == 0)
        func lookup(_ flags: String...) -> ProcessResult {
            run(
                [binaries + "/skiff", "-H", "unix://" + engine.socket, "run", "--rm", "--network", "shop"] + flags
                    + ["busybox:test", "nslookup", "outside.example"])
        }
        #expect(lookup().output.contains("7.7.7.7"))
        // Nobody listens in the container, and the host's server is not the container's
        let own = lookup("--dns", "127.0.0.1")
        #expect(!own.output.contains("7.7.7.7"), "\(own.output)")
        #expect(own.status != 0)
    }

    // MARK: Links

    @Test func aLinkCanBeRemoved() throws {
        let engine = try EngineFixture("links")
        defer { engine.clean() }
        try engine.importBusybox()
        #expect(engine.skiff("run", "-d", "--name", "db", "busybox:test", "sleep", "300").status == 0)
        let web = engine.skiff(
            "run", "-d", "--name", "web", "--link", "db:store", "--link", "db", "busybox:test", "sleep", "300")
        #expect(web.status == 0, "\(web.error)")
        func hosts() -> String { engine.skiff("exec", "web", "cat", "/etc/hosts").output }
        #expect(hosts().contains("\tstore ") && hosts().contains("\tdb "))
        // A link's name stands for the container that it leads to
        #expect(engine.skiff("inspect", "-f", "{{.Name}}", "web/store").output == "/db\n")
        let plain = engine.skiff("rm", "--link", "db")
        #expect(plain.status == 1)
        #expect(plain.error.contains("Conflict, cannot remove the default link name of the container"), "\(plain.error)")
        let unknown = engine.skiff("rm", "-l", "web/nothing")
        #expect(unknown.error.contains("No such container: web/nothing"), "\(unknown.error)")
        let removed = engine.skiff("rm", "-l", "/web/store")
        #expect(removed.status == 0 && removed.output == "web/store\n", "\(removed.output)\(removed.error)")
        #expect(!hosts().contains("\tstore ") && hosts().contains("\tdb "))
        #expect(engine.skiff("inspect", "-f", "{{.HostConfig.Links}}", "web").output.contains("store") == false)
        #expect(engine.skiff("rm", "-l", "web/store").error.contains("No such container: web/store"))
        // Both are there, and the link does not come back
        #expect(engine.skiff("restart", "-t", "0", "web").status == 0)
        #expect(!hosts().contains("\tstore ") && hosts().contains("\tdb "))
        #expect(engine.skiff("exec", "web", "env").output.contains("STORE_") == false)
        #expect(engine.skiff("inspect", "-f", "{{.State.Running}}", "db").output == "true\n")
    }
}
