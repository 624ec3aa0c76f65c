import Glibc
import Linux
import Model
import TestSupport
import Testing

/// Newer system calls, and such as container engines' own filters forbid, answered with ENOSYS (docs/kernels.md has the list).
@Suite(.serialized) struct FallbackTests {
    /// Each has a stand-in.
    static let replaced: [[String]] = [
        ["clone3"], ["close_range"], ["statx"], ["execveat"],
        ["faccessat2", "rseq", "fchmodat2", "mseal", "statmount", "listmount"],
        ["keyctl"], ["memfd_create"],
        ["clone3", "close_range", "statx", "execveat", "faccessat2", "rseq", "fchmodat2"],
    ]

    /// A keyring of its own is a capability that cannot be granted then: a warning.
    private func expectQuiet(_ words: String, _ calls: [String]) {
        if calls.contains("keyctl") {
            #expect(words.contains("no session keyring") && words.contains("keyctl"), "\(words)")
        } else {
            #expect(words.isEmpty, "\(words)")
        }
    }

    @Test(arguments: replaced) func aBundleRunsWithout(_ calls: [String]) throws {
        let bundle = try RuntimeBundle("without")
        bundle.without = calls
        let result = try bundle.run(["/bin/sh", "-c", "echo $$ $(ls /proc/self/fd | wc -l); cat /proc/self/cgroup; exit 7"])
        #expect(result.status == 7, "\(result.error)")
        // pid 1, and nothing of the runtime's is open: three streams, ls's folder
        #expect(result.output.hasPrefix("1 4\n"), "\(result.output)")
        let places = result.output.split(separator: "\n").dropFirst()
        #expect(!places.isEmpty && places.allSatisfy { $0.hasSuffix(":/") }, "not in its own cgroup: \(result.output)")
        expectQuiet(result.error, calls)
    }

    @Test(arguments: replaced) func anOverlayContainerLivesWithout(_ calls: [String]) throws {
        let shim = try ShimDriver(
            ["/bin/sh", "-c", "echo out; trap 'exit 9' TERM; touch /ready; while :; do sleep 0.05; done"], without: calls,
            name: "without")
        _ = try shim.start()
        #expect(eventually { shim.exists(shim.upper + "/ready") })
        let client = try shim.exec("e1", ["/bin/sh", "-c", "echo in; ls /proc/self/fd | wc -l; exit 3"])
        #expect(client.readAll().contains("in"))
        #expect(try shim.execExit("e1").exitCode == 3)
        guard case .stats(let stats) = try shim.request(.stats) else { return }
        #expect(stats.pids.current > 0, "the container is not in its cgroup")
        try shim.request(.signal(exec: nil, number: SIGTERM, all: false))
        #expect(try shim.exit().exitCode == 9)
        #expect(shim.waitForShim() == 0)
        #expect(try shim.log() == "out\n")
        expectQuiet(shim.diagnostics, calls)
    }

    /// What lies below them cannot be had otherwise: the call is named, and what to do.
    @Test(arguments: ["openat2", "mount_setattr", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount"])
    func aCallWithoutStandInIsNamed(_ call: String) throws {
        let bundle = try RuntimeBundle("named")
        bundle.without = [call]
        let result = try bundle.run(["/bin/true"])
        #expect(result.status == 1)
        #expect(result.error.contains("\(call)"), "\(result.error)")
        #expect(result.error.contains("a seccomp filter around this program forbids the call"), "\(result.error)")
        #expect(result.error.split(separator: "\n").count == 1, "\(result.error)")
    }

    @Test func featuresSayWhatIsMissing() {
        let words = Without.words(["clone3", "statx", "mount_setattr"]) + ["\(binaries)/skiff-runtime", "features"]
        let output = run(words).output
        #expect(output.contains(#""dev.skiff.kernel.missing.replaced": "clone3,statx""#), "\(output)")
        #expect(output.contains(#""dev.skiff.kernel.missing": "mount_setattr""#), "\(output)")
        #expect(!run(["\(binaries)/skiff-runtime", "features"]).output.contains("dev.skiff.kernel.missing"))
    }

    @Test func anEngineWorksWithout() throws {
        let engine = try EngineFixture(
            "without", prefix: Without.words(["clone3", "close_range", "statx", "execveat", "fchmodat2", "rseq"]))
        defer { engine.clean() }
        try engine.importBusybox()
        let hello = engine.skiff("run", "--rm", "--network", "none", "busybox:test", "echo", "hello")
        #expect(hello.output == "hello\n", "\(hello.error)")
        let started = engine.skiff("run", "-d", "--name", "lives", "--network", "none", "busybox:test", "sleep", "100")
        #expect(started.status == 0, "\(started.error)")
        #expect(engine.skiff("exec", "lives", "cat", "/proc/1/comm").output == "sleep\n")
        #expect(engine.skiff("stop", "-t", "0", "lives").status == 0)
        #expect(engine.skiff("rm", "lives").status == 0)
    }
}
