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

    /// On v1 the runtime makes the tree of cgroups that the container's process mounts; where mounts cannot be put onto a detached one
    /// (before Linux 6.15) that process makes it. Both look the same.
    @Test(.enabled(if: CgroupFile.exists("/sys/fs/cgroup/memory"), "needs cgroup v1"))
    func cgroupsAreMountedAlikeWithoutDetachedTrees() throws {
        var looks: [String] = []
        for without in [[], ["mounts-onto-detached"]] {
            let bundle = try RuntimeBundle("tree")
            bundle.without = without
            bundle.namespaces = ["pid", "ipc", "uts", "mount", "network"]
            bundle.mounts = """
                ,{"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]},
                {"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","noexec","nodev","ro"]}
                """
            let result = try bundle.run([
                "/bin/sh", "-c",
                """
                cd /sys/fs/cgroup; for d in *; do echo $d $(readlink $d) $([ -L $d ] || grep -c . $d/cgroup.procs); done
                mkdir x 2>/dev/null && echo writable; sed -n 's|.* /sys/fs/cgroup\\([^ ]*\\) \\([^ ]*\\) .*- .*|\\1 \\2|p' /proc/self/mountinfo | sort
                """,
            ])
            #expect(result.status == 0 && result.error.isEmpty, "\(result.error)")
            #expect(!result.output.contains("writable"))
            looks.append(result.output)
        }
        #expect(looks[0] == looks[1])
        #expect(looks[0].contains("ro,nosuid,nodev,noexec"), "\(looks[0])")
    }

    /// What `kill`, `delete` and filters rest on.
    @Test(arguments: ["pidfd_open", "pidfd_send_signal"]) func killingWithoutProcessDescriptorsIsRefusedByName(_ call: String)
        throws
    {
        let bundle = try RuntimeBundle("pidfd")
        let started = try bundle.command(["run", "--detach", "--bundle", bundle.scratch.path], ["/bin/sleep", "100"])
        #expect(started.status == 0, "\(started.error)")
        defer { _ = try? bundle.command(["delete", "--force"]) }
        bundle.without = [call]
        let killed = try bundle.command(["kill"], after: ["KILL"])
        #expect(killed.status == 1)
        #expect(
            killed.error.contains(call) && killed.error.contains("a seccomp filter around this program forbids the call"),
            "\(killed.error)")
        bundle.without = []
        #expect(try bundle.command(["kill"], after: ["KILL"]).status == 0)
    }

    private static let filter = #","seccomp":{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"]"#

    @Test func aFilterWithoutSeccompIsRefusedByName() throws {
        let bundle = try RuntimeBundle("seccomp")
        bundle.linux = Self.filter + #","syscalls":[{"names":["chdir"],"action":"SCMP_ACT_ERRNO"}]}"#
        bundle.without = ["seccomp"]
        let result = try bundle.run(["/bin/true"])
        #expect(result.status == 1)
        #expect(result.error.contains("seccomp") && result.error.contains("forbids the call"), "\(result.error)")
        bundle.without = []
        #expect(try bundle.run(["/bin/true"]).status == 0)
    }

    /// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (5.19): `features` does not promise it, who asks for it is told.
    @Test func killableWaitsOfNotifyingFilters() throws {
        let flag = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
        func promised(_ without: [String]) -> Bool {
            let output = run(Without.words(without) + ["\(binaries)/skiff-runtime", "features"]).output
            guard let supported = output.firstRange(of: "supportedFlags") else { return false }
            return output[supported.upperBound...].prefix(400).contains(flag)
        }
        #expect(!promised(["wait-killable"]))
        let bundle = try RuntimeBundle("killable")
        bundle.linux = Self.filter + #","flags":["\#(flag)"],"syscalls":[{"names":["chdir"],"action":"SCMP_ACT_ERRNO"}]}"#
        bundle.without = ["wait-killable"]
        let result = try bundle.run(["/bin/true"])
        #expect(result.status == 1 && result.error.contains("seccomp"), "\(result.error)")
    }

    /// MPOL_WEIGHTED_INTERLEAVE (6.9).
    @Test func aPolicyThatTheKernelDoesNotKnowIsNamed() throws {
        let bundle = try RuntimeBundle("interleave")
        bundle.linux = #","memoryPolicy":{"mode":"MPOL_WEIGHTED_INTERLEAVE","nodes":"0"}"#
        bundle.without = ["weighted-interleave"]
        let result = try bundle.run(["/bin/true"])
        #expect(result.status == 1)
        #expect(result.error.contains("linux.memoryPolicy: the kernel refuses it"), "\(result.error)")
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
