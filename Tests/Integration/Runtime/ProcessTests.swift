import Glibc
import Model
import TestSupport
import Testing

@Suite struct ProcessTests {
    @Test func userGroupsAndUmaskAreSet() throws {
        let scene = try RuntimeScene("user")
        let result = try scene.run("id; umask; grep -E 'Groups|CapEff|CapInh' /proc/self/status") {
            $0.withProcess { $0.user = OCI.User(uid: 1000, gid: 1000, umask: 0o77, additionalGids: [29, 5]) }
        }
        #expect(result.output.contains("uid=1000(u) gid=1000(u) groups=5,29(audio)"), "\(result.error)")
        #expect(result.output.contains("\n0077\n"))
        #expect(result.output.contains("CapEff:\t0000000000000000"))
    }

    /// CVE-2016-3697, CVE-2024-40635
    @Test(arguments: ["4294967295", "4294967296", "-1", "\"0\"", "1.5"])
    func idsThatNoProcessCanHaveAreRefused(_ id: String) throws {
        let scene = try RuntimeScene("badid")
        let folder = scene.scratch.folder("bad")
        let text = scene.spec("id").jsonText.replacing(#""user":{"uid":0"#, with: "\"user\":{\"uid\":" + id)
        _ = try scene.scratch.file("bad/config.json", text)
        let result = scene.runtime(["run", "--bundle", folder, "badid"])
        #expect(result.status == 1)
        #expect(result.error.contains("process.user.uid"))
        #expect(scene.isClean())
    }

    /// CVE-2022-29162 and its kin
    @Test func inheritableCapabilitiesAreEmpty() throws {
        let scene = try RuntimeScene("inheritable")
        let result = try scene.run("grep Cap /proc/self/status")
        #expect(result.output.contains("CapInh:\t0000000000000000"))
        #expect(result.output.contains("CapPrm:\t0000000020000420"))
        #expect(result.output.contains("CapBnd:\t0000000020000420"))
        #expect(result.output.contains("CapAmb:\t0000000000000000"))
        let id = try scene.start()
        let exec = scene.runtime(["exec", id, "grep", "Cap", "/proc/self/status"])
        #expect(exec.output.contains("CapInh:\t0000000000000000"), "\(exec.error)")
        #expect(exec.output.contains("CapBnd:\t0000000020000420"))
    }

    @Test func ambientCapabilitiesReachAnotherUser() throws {
        let scene = try RuntimeScene("ambient")
        let names = ["CAP_NET_BIND_SERVICE"]
        let result = try scene.run("grep -E 'CapEff|CapAmb' /proc/self/status") {
            $0.withProcess {
                $0.user.uid = 1000
                $0.capabilities = OCI.Capabilities(
                    bounding: names, effective: names, inheritable: names, permitted: names, ambient: names)
            }
        }
        #expect(result.output == "CapEff:\t0000000000000400\nCapAmb:\t0000000000000400\n", "\(result.error)")
    }

    @Test func whatCannotBeGrantedIsAWarning() throws {
        let scene = try RuntimeScene("warn")
        let result = try scene.run("ulimit -c; cat /proc/self/oom_score_adj") {
            $0.withProcess {
                $0.rlimits = [
                    OCI.Rlimit(type: "RLIMIT_NOFILE", hard: 50_000_000, soft: 50_000_000),
                    OCI.Rlimit(type: "RLIMIT_CORE", hard: 0, soft: 0),
                ]
                $0.oomScoreAdj = 300
                $0.capabilities?.bounding.append("CAP_OF_TOMORROW")
            }
        }
        #expect(result.output == "0\n300\n", "\(result.error)")
        #expect(result.error.contains("CAP_OF_TOMORROW"))
        #expect(result.error.contains("level=warning"))
    }

    @Test func schedulerPersonalityAndMemoryPolicyAreSet() throws {
        let scene = try RuntimeScene("sched")
        // Without CONFIG_NUMA there is no set_mempolicy(2)
        let hasNodes = access("/proc/self/numa_maps", F_OK) == 0
        let result = try scene.run("uname -m; ionice -p $$; head -1 /proc/self/numa_maps; grep policy /proc/self/sched") {
            $0.withProcess {
                $0.scheduler = OCI.Scheduler(policy: .batch)
                $0.ioPriority = OCI.IOPriority(class: .idle)
            }
            $0.withLinux {
                $0.personality = OCI.Personality(domain: .linux32)
                if hasNodes { $0.memoryPolicy = OCI.MemoryPolicy(mode: .bind, nodes: "0") }
            }
        }
        // User-mode Linux has no other name for itself.
        let machine = run(["setarch", "linux32", "uname", "-m"]).output
        #expect(result.output.hasPrefix(machine), "\(result.output)\(result.error)")
        #expect(result.output.contains("idle"), "\(result.error)")
        if hasNodes {
            #expect(result.output.contains("bind:0"))
        } else {
            let refused = try scene.run("true") { $0.withLinux { $0.memoryPolicy = OCI.MemoryPolicy(mode: .bind, nodes: "0") } }
            #expect(refused.status != 0 && refused.error.contains("memoryPolicy"), "\(refused.error)")
        }
    }

    @Test func sysctlsOfItsNamespacesAreSetAndOthersRefused() throws {
        let scene = try RuntimeScene("sysctl")
        let result = try scene.run("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni") {
            $0.withLinux { $0.sysctl = ["net.ipv4.ip_forward": "1", "kernel.shmmni": "4000"] }
        }
        #expect(result.output == "1\n4000\n", "\(result.error)")
        // CVE-2022-0811
        for key in [
            "kernel.core_pattern", "net/../kernel/core_pattern", "kernel.shm_rmid_forced/../core_pattern", "vm.swappiness",
        ] {
            let refused = try scene.run("true") { $0.withLinux { $0.sysctl = [key: "1"] } }
            #expect(refused.status == 1, "\(key)")
            #expect(refused.error.contains("linux.sysctl["))
        }
    }

    @Test func onlyTheStreamsAreOpen() throws {
        let scene = try RuntimeScene("census")
        let result = try scene.run("for f in /proc/self/fd/*; do echo ${f##*/}; done")
        #expect(result.output == "0\n1\n2\n3\n", "\(result.output)\(result.error)")  // 3 is the shell's own listing
        let own = try scene.run("ls /proc/1/fd; true")
        #expect(own.output.split(separator: "\n").allSatisfy { ["0", "1", "2", "10"].contains($0) }, "\(own.output)")
    }

    /// CVE-2024-21626
    @Test(arguments: (3..<16).map { "/proc/self/fd/\($0)" } + ["/proc/self/fd/7/../../.."])
    func theWorkingFolderIsInsideTheRoot(_ folder: String) throws {
        let scene = try RuntimeScene("cwd")
        let result = try scene.run("pwd") { $0.withProcess { $0.cwd = folder } }
        #expect(result.status == 1)
        #expect(scene.isClean())
    }

    @Test func descriptorsArePreserved() throws {
        let scene = try RuntimeScene("preserve")
        let file = try scene.scratch.file("kept", "kept")
        let folder = try scene.bundle(scene.spec("cat <&3; test -e /proc/self/fd/4 && readlink /proc/self/fd/4"))
        let state = scene.scratch.folder("state")
        let result = run([
            "/bin/bash", "-c",
            "exec 3<\(file) 4</etc/passwd; exec \(binaries)/skiff-runtime --root \(state) run --preserve-fds 1 -b \(folder) preserve",
        ])
        #expect(result.output.hasPrefix("kept"), "\(result.error)")
        #expect(!result.output.contains("passwd"))
        let missing = run([
            "/bin/bash", "-c",
            "exec 3<&- 4<&-; exec \(binaries)/skiff-runtime --root \(state) run --preserve-fds 2 -b \(folder) preserve",
        ])
        #expect(missing.status == 1)
    }

    @Test func exitCodesAreTheProcesss() throws {
        let scene = try RuntimeScene("exit")
        #expect(try scene.run("exit 42").status == 42)
        let absent = try scene.run("") { $0.withProcess { $0.args = ["nosuch"] } }
        #expect(absent.status == 1)
        #expect(absent.error.contains(#"executable file not found in $PATH"#))
        let folder = try scene.run("") { $0.withProcess { $0.args = ["/etc"] } }
        #expect(folder.error.contains("permission denied"))
        let plain = try scene.run("") { $0.withProcess { $0.args = ["/etc/passwd"] } }
        #expect(plain.error.contains("permission denied"))
        #expect(scene.isClean())
    }
}
