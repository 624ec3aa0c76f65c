/// The flags that `run` and `create` share: all that docker has.
enum RunFlags {
    static var run: [Flag] {
        create + [
            .bool("detach", "d", "Run container in background and print container ID"),
            .string("detach-keys", nil, "Override the key sequence for detaching a container"),
            .bool("sig-proxy", nil, "Proxy received signals to the process", shows: "true"),
        ]
    }

    static var create: [Flag] { general + process + limits + devices + network + health + storage + isolation }

    private static var general: [Flag] {
        [
            .list(
                "annotation", nil, "Add an annotation to the container (passed through to the OCI runtime)", type: "map",
                shows: "map[]", check: { _ = try KeyValues.pair($0) }),
            .list(
                "attach", "a", "Attach to STDIN, STDOUT or STDERR", values: .words(["stdin", "stdout", "stderr"]),
                check: { _ = try NetworkValues.stream($0) }),
            .string("cidfile", nil, "Write the container ID to the file", values: .files),
            Flag("disable-content-trust", nil, .bool, "Skip image verification", shows: "true", hidden: true),
            .bool("help", nil, "Print usage"),
            .list("label", "l", "Set meta data on a container", check: { _ = try KeyValues.label($0) }),
            .list("label-file", nil, "Read in a line delimited file of labels", values: .files),
            .string("log-driver", nil, "Logging driver for the container", values: .words(["json-file", "none"])),
            .list("log-opt", nil, "Log driver options"),
            .string("name", nil, "Assign a name to the container"),
            .string("platform", nil, "Set platform if server is multi-platform capable"),
            .string(
                "pull", nil, "Pull image before running (\"always\", \"missing\", \"never\")", shows: "\"missing\"",
                values: .words(["always", "missing", "never"])),
            .bool("quiet", "q", "Suppress the pull output"),
            .string(
                "restart", nil, "Restart policy to apply when a container exits", shows: "\"no\"",
                values: .words(["no", "always", "on-failure", "unless-stopped"])),
            .bool("rm", nil, "Automatically remove the container and its associated anonymous volumes when it exits"),
            .string("runtime", nil, "Runtime to use for this container"),
        ]
    }

    private static var process: [Flag] {
        [
            .string("entrypoint", nil, "Overwrite the default ENTRYPOINT of the image"),
            .list("env", "e", "Set environment variables", check: { _ = try KeyValues.variable($0) }),
            .list("env-file", nil, "Read in a file of environment variables", values: .files),
            .list("group-add", nil, "Add additional groups to join"),
            .bool("init", nil, "Run an init inside the container that forwards signals and reaps processes"),
            .bool("interactive", "i", "Keep STDIN open even if not attached"),
            .string("stop-signal", nil, "Signal to stop the container"),
            Flag("stop-timeout", nil, .int, "Timeout (in seconds) to stop a container"),
            .bool("tty", "t", "Allocate a pseudo-TTY"),
            .list("ulimit", nil, "Ulimit options", type: "ulimit", shows: "[]", check: { _ = try UlimitSpec.parse($0) }),
            .string("user", "u", "Username or UID (format: <name|uid>[:<group|gid>])"),
            .string("workdir", "w", "Working directory inside the container"),
        ]
    }

    private static var limits: [Flag] {
        [
            Flag("blkio-weight", nil, .uint16, "Block IO (relative weight), between 10 and 1000, or 0 to disable", shows: "0"),
            .list(
                "blkio-weight-device", nil, "Block IO weight (relative device weight)", shows: "[]",
                check: { _ = try DeviceSpec.weight($0) }),
            .string("cgroup-parent", nil, "Optional parent cgroup for the container"),
            Flag("cpu-count", nil, .int, "CPU count (Windows only)", hidden: true),
            Flag("cpu-percent", nil, .int, "CPU percent (Windows only)", hidden: true),
            Flag("cpu-period", nil, .int, "Limit CPU CFS (Completely Fair Scheduler) period"),
            Flag("cpu-quota", nil, .int, "Limit CPU CFS (Completely Fair Scheduler) quota"),
            Flag("cpu-rt-period", nil, .int, "Limit CPU real-time period in microseconds"),
            Flag("cpu-rt-runtime", nil, .int, "Limit CPU real-time runtime in microseconds"),
            Flag("cpu-shares", "c", .int, "CPU shares (relative weight)"),
            Flag("cpus", nil, .decimal, "Number of CPUs"),
            .string("cpuset-cpus", nil, "CPUs in which to allow execution (0-3, 0,1)"),
            .string("cpuset-mems", nil, "MEMs in which to allow execution (0-3, 0,1)"),
            Flag("kernel-memory", nil, .bytes, "Kernel memory limit", hidden: true),
            Flag("memory", "m", .bytes, "Memory limit"),
            Flag("memory-reservation", nil, .bytes, "Memory soft limit"),
            Flag("memory-swap", nil, .bytes, "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
            Flag("memory-swappiness", nil, .int, "Tune container memory swappiness (0 to 100)", shows: "-1"),
            .bool("oom-kill-disable", nil, "Disable OOM Killer"),
            Flag("oom-score-adj", nil, .int, "Tune host's OOM preferences (-1000 to 1000)"),
            Flag("pids-limit", nil, .int, "Tune container pids limit (set -1 for unlimited)"),
            Flag("shm-size", nil, .bytes, "Size of /dev/shm"),
        ]
    }

    private static var devices: [Flag] {
        [
            .list("device", nil, "Add a host device to the container", values: .files),
            .list(
                "device-cgroup-rule", nil, "Add a rule to the cgroup allowed devices list",
                check: { _ = try DeviceSpec.rule($0) }),
            .list(
                "device-read-bps", nil, "Limit read rate (bytes per second) from a device", shows: "[]",
                check: { _ = try DeviceSpec.bytesRate($0) }),
            .list(
                "device-read-iops", nil, "Limit read rate (IO per second) from a device", shows: "[]",
                check: { _ = try DeviceSpec.countRate($0) }),
            .list(
                "device-write-bps", nil, "Limit write rate (bytes per second) to a device", shows: "[]",
                check: { _ = try DeviceSpec.bytesRate($0) }),
            .list(
                "device-write-iops", nil, "Limit write rate (IO per second) to a device", shows: "[]",
                check: { _ = try DeviceSpec.countRate($0) }),
            .string("gpus", nil, "GPU devices to add to the container ('all' to pass all GPUs)", type: "gpu-request"),
        ]
    }

    private static var network: [Flag] {
        [
            .list("add-host", nil, "Add a custom host-to-IP mapping (host:ip)", check: { _ = try NetworkValues.host($0) }),
            .list("dns", nil, "Set custom DNS servers", check: { _ = try NetworkValues.address($0) }),
            .list("dns-opt", nil, "Set DNS options").asHidden,
            .list("dns-option", nil, "Set DNS options"),
            .list("dns-search", nil, "Set custom DNS search domains"),
            .string("domainname", nil, "Container NIS domain name"),
            .list("expose", nil, "Expose a port or a range of ports"),
            .string("hostname", "h", "Container host name"),
            .string("ip", nil, "IPv4 address (e.g., 172.30.100.104)"),
            .string("ip6", nil, "IPv6 address (e.g., 2001:db8::33)"),
            .list("link", nil, "Add link to another container", values: .containers, check: { _ = try NetworkValues.link($0) }),
            .list(
                "link-local-ip", nil, "Container IPv4/IPv6 link-local addresses", check: { _ = try NetworkValues.address($0) }),
            .string("mac-address", nil, "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
            .list(
                "net", nil, "Connect a container to a network", type: "network", values: .networks,
                check: { _ = try NetworkArgument.parse($0) }
            ).asHidden,
            .list("net-alias", nil, "Add network-scoped alias for the container").asHidden,
            .list(
                "network", nil, "Connect a container to a network", type: "network", values: .networks,
                check: { _ = try NetworkArgument.parse($0) }),
            .list("network-alias", nil, "Add network-scoped alias for the container"),
            .list("publish", "p", "Publish a container's port(s) to the host"),
            .bool("publish-all", "P", "Publish all exposed ports to random ports"),
        ]
    }

    private static var health: [Flag] {
        [
            .string("health-cmd", nil, "Command to run to check health"),
            Flag("health-interval", nil, .duration, "Time between running the check (ms|s|m|h)", shows: "0s"),
            Flag("health-retries", nil, .int, "Consecutive failures needed to report unhealthy"),
            Flag(
                "health-start-interval", nil, .duration,
                "Time between running the check during the start period (ms|s|m|h)", shows: "0s"),
            Flag(
                "health-start-period", nil, .duration,
                "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)", shows: "0s"),
            Flag("health-timeout", nil, .duration, "Maximum time to allow one check to run (ms|s|m|h)", shows: "0s"),
            .bool("no-healthcheck", nil, "Disable any container-specified HEALTHCHECK"),
        ]
    }

    private static var storage: [Flag] {
        [
            .list(
                "mount", nil, "Attach a filesystem mount to the container", type: "mount",
                check: { _ = try MountSpec.parse($0) }),
            .bool("read-only", nil, "Mount the container's root filesystem as read only"),
            .list("storage-opt", nil, "Storage driver options for the container"),
            .list("tmpfs", nil, "Mount a tmpfs directory"),
            .list("volume", "v", "Bind mount a volume", values: .files),
            .string("volume-driver", nil, "Optional volume driver for the container"),
            .list("volumes-from", nil, "Mount volumes from the specified container(s)", values: .containers),
        ]
    }

    private static var isolation: [Flag] {
        [
            .list("cap-add", nil, "Add Linux capabilities"),
            .list("cap-drop", nil, "Drop Linux capabilities"),
            .string(
                "cgroupns", nil,
                "Cgroup namespace to use (host|private)\n'host':    Run the container in the host's cgroup namespace\n"
                    + "'private': Run the container in its own private cgroup namespace\n'':        Use the engine's default (private)",
                values: .words(["host", "private"])),
            .string("ipc", nil, "IPC mode to use"),
            .string("isolation", nil, "Container isolation technology", hidden: true),
            .string("pid", nil, "PID namespace to use"),
            .bool("privileged", nil, "Give extended privileges to this container"),
            .list("security-opt", nil, "Security Options"),
            .list("sysctl", nil, "Sysctl options", type: "map", shows: "map[]", check: { _ = try KeyValues.sysctl($0) }),
            .string("userns", nil, "User namespace to use"),
            .string("uts", nil, "UTS namespace to use"),
        ]
    }
}

extension Flag {
    /// The same flag, left out of help texts.
    var asHidden: Flag {
        Flag(
            name, short, kind, help, type: type, shows: shownDefault, hidden: true, variable: variable, values: values,
            check: check)
    }
}
