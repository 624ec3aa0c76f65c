import JSON
import Linux
import Model
import Runtime

/// `spec`: a configuration to start from, as `runc spec` prints it.
enum SpecCommand {
    static func run(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try CommandOptions(
            arguments, CommandOptions.Known(values: ["bundle"], switches: ["rootless"], short: [("b", "bundle")]))
        guard options.operands.isEmpty else { throw UsageFault("spec", "\"spec\" requires exactly 0 argument(s)") }
        let folder = try BundleFile.folder(options.value("bundle"))
        let path = folder + "/config.json"
        guard !Files.exists(path) else { throw Fault(.conflict, "File config.json exists. Remove it first", subject: path) }
        let unified = (try? CgroupLayout.detect().mode) == .unified
        let spec = options.has("rootless") ? rootless() : standard(cgroupNamespace: unified)
        let text = try JSONValue(json: spec.json).indented(by: "\t")
        do {
            let file = try Files.open(path, [.writeOnly, .create, .exclusive], mode: 0o666)
            try Files.write(file.raw, Array((text + "\n").utf8))
        } catch { throw Fault(.system, "cannot write \(path)", subject: path, cause: error) }
        return 0
    }

    package static func standard(cgroupNamespace: Bool) -> OCI.Spec {
        let names = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
        let process = OCI.Process(
            terminal: true, args: ["sh"],
            env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"], cwd: "/",
            capabilities: OCI.Capabilities(bounding: names, effective: names, permitted: names),
            rlimits: [OCI.Rlimit(type: "RLIMIT_NOFILE", hard: 1024, soft: 1024)], noNewPrivileges: true)
        let kinds: [OCI.NamespaceType] = [.pid, .network, .ipc, .uts, .mount] + (cgroupNamespace ? [.cgroup] : [])
        let linux = OCI.Linux(
            resources: OCI.Resources(devices: [OCI.DeviceRule(allow: false, access: "rwm")]),
            namespaces: kinds.map { OCI.Namespace(type: $0) },
            maskedPaths: [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"])
        return OCI.Spec(
            ociVersion: OCI.version, process: process, root: OCI.Root(path: "rootfs", readonly: true), hostname: "skiff",
            mounts: mounts, linux: linux)
    }

    private static let mounts: [OCI.Mount] = {
        let strict = ["nosuid", "noexec", "nodev"]
        return [
            OCI.Mount(destination: "/proc", type: "proc", source: "proc"),
            OCI.Mount(
                destination: "/dev", type: "tmpfs", source: "tmpfs",
                options: ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            OCI.Mount(
                destination: "/dev/pts", type: "devpts", source: "devpts",
                options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            OCI.Mount(
                destination: "/dev/shm", type: "tmpfs", source: "shm", options: strict + ["mode=1777", "size=65536k"]),
            OCI.Mount(destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: strict),
            OCI.Mount(destination: "/sys", type: "sysfs", source: "sysfs", options: strict + ["ro"]),
            OCI.Mount(destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: strict + ["relatime", "ro"]),
        ]
    }()

    /// For a user who is not root: one id mapped, no network or limits of its own.
    private static func rootless() -> OCI.Spec {
        var spec = standard(cgroupNamespace: true)
        var linux = spec.linux ?? OCI.Linux()
        linux.namespaces = linux.namespaces.filter { $0.type != .network } + [OCI.Namespace(type: .user)]
        linux.uidMappings = [OCI.IDMapping(containerID: 0, hostID: Processes.userID, size: 1)]
        linux.gidMappings = [OCI.IDMapping(containerID: 0, hostID: Processes.groupID, size: 1)]
        linux.resources = nil
        spec.linux = linux
        spec.mounts = spec.mounts.filter { $0.destination != "/sys/fs/cgroup" }.map { mount in
            var mount = mount
            mount.options.removeAll { $0.hasPrefix("gid=") }
            if mount.destination == "/sys" {
                mount.type = "none"
                mount.source = "/sys"
                mount.options = ["rbind", "nosuid", "noexec", "nodev", "ro"]
            }
            return mount
        }
        return spec
    }
}
