import Glibc
import JSON
import Model
import TestSupport

/// A bundle with a busybox root and the runtime under test, with state of its own.
final class RuntimeScene {
    let scratch: Scratch
    let root: String
    private let stateRoot: String
    private var made: [String] = []
    private var count = 0

    /// Each test of a suite names itself: container ids, and with them cgroups, must not meet.
    private let name: String

    init(_ name: String) throws {
        self.name = name
        scratch = try Scratch("runtime" + name)
        root = try scratch.busyboxRoot()
        stateRoot = scratch.folder("state")
    }

    deinit {
        for id in made { _ = runtime(["delete", "--force", id]) }
    }

    func runtime(_ arguments: [String], input: String? = nil, timeout: Double = 30) -> ProcessResult {
        TestSupport.run([binaries + "/skiff-runtime", "--root", stateRoot] + arguments, input: input, timeout: timeout)
    }

    /// The configuration that the tests start from: `runc spec` without a terminal, a writable root.
    func spec(_ script: String) -> OCI.Spec {
        let all = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
        let strict = ["nosuid", "noexec", "nodev"]
        return OCI.Spec(
            ociVersion: OCI.version,
            process: OCI.Process(
                args: ["sh", "-c", script], env: ["PATH=/usr/bin:/bin"], cwd: "/",
                capabilities: OCI.Capabilities(bounding: all, effective: all, permitted: all), noNewPrivileges: true),
            root: OCI.Root(path: root), hostname: "scene",
            mounts: [
                OCI.Mount(destination: "/proc", type: "proc", source: "proc"),
                OCI.Mount(destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=65536k"]),
                OCI.Mount(
                    destination: "/dev/pts", type: "devpts", source: "devpts",
                    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
                OCI.Mount(destination: "/dev/shm", type: "tmpfs", source: "shm", options: strict + ["mode=1777"]),
                OCI.Mount(destination: "/sys", type: "sysfs", source: "sysfs", options: strict + ["ro"]),
                OCI.Mount(destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: strict + ["ro"]),
            ],
            linux: OCI.Linux(
                cgroupsPath: testCgroup + "/runtime-" + name,
                namespaces: [.pid, .network, .ipc, .uts, .mount].map { OCI.Namespace(type: $0) },
                maskedPaths: ["/proc/keys", "/proc/timer_list", "/sys/firmware"], readonlyPaths: ["/proc/sys"]))
    }

    /// A bundle of the configuration; its path.
    func bundle(_ spec: OCI.Spec) throws -> String {
        count += 1
        let folder = scratch.folder("bundle\(count)")
        _ = try scratch.file("bundle\(count)/config.json", spec.jsonText)
        return folder
    }

    /// Runs a script in the foreground, with the configuration changed.
    func run(
        _ script: String, _ flags: [String] = [], _ change: (inout OCI.Spec) -> Void = { _ in }
    ) throws -> ProcessResult {
        var spec = spec(script)
        change(&spec)
        let id = "\(name)-\(getpid())-\(count)"
        made.append(id)
        return runtime(["run", "--bundle", try bundle(spec)] + flags + [id])
    }

    /// A container in the background, whose id is answered.
    func start(_ script: String = "sleep 1000", _ change: (inout OCI.Spec) -> Void = { _ in }) throws -> String {
        var spec = spec(script)
        change(&spec)
        let id = "\(name)-\(getpid())-\(count)"
        made.append(id)
        let folder = try bundle(spec)
        let command =
            "exec '\(binaries)/skiff-runtime' --root '\(stateRoot)' run -d --bundle '\(folder)' \(id) </dev/null >'\(folder)/out' 2>&1"
        let result = TestSupport.run(["/bin/sh", "-c", command])
        guard result.status == 0 else {
            throw SetupFailure("run -d: \(TestSupport.run(["/bin/cat", folder + "/out"]).output)")
        }
        return id
    }

    func state(_ id: String) throws -> JSONValue { try JSONValue(json: Array(runtime(["state", id]).output.utf8)) }

    /// Nothing of a container may be left: state, cgroups.
    func isClean() -> Bool {
        let left = TestSupport.run(["/bin/ls", "-A", stateRoot]).output
        let cgroups = TestSupport.run([
            "/bin/sh", "-c",
            "ls -d /sys/fs/cgroup/*\(testCgroup)/runtime-\(name) /sys/fs/cgroup\(testCgroup)/runtime-\(name) 2>/dev/null",
        ])
        return left.isEmpty && cgroups.output.isEmpty
    }
}

extension OCI.Spec {
    mutating func withLinux(_ change: (inout OCI.Linux) -> Void) {
        var linux = linux ?? OCI.Linux()
        change(&linux)
        self.linux = linux
    }

    mutating func withProcess(_ change: (inout OCI.Process) -> Void) {
        var process = process ?? OCI.Process(cwd: "/")
        change(&process)
        self.process = process
    }

    mutating func withUserNamespace() {
        withLinux {
            $0.namespaces.append(OCI.Namespace(type: .user))
            $0.uidMappings = [OCI.IDMapping(containerID: 0, hostID: 100_000, size: 65_536)]
            $0.gidMappings = $0.uidMappings
        }
    }
}
