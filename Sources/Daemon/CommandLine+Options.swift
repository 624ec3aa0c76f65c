import Linux
import Model

extension DaemonOptions {
    static let usage = """
        Usage: skiffd [OPTIONS]

        The engine of skiff. It serves the Docker Engine API on a Unix socket.

        Options:
              --bip, --subnet CIDR     Subnet of the default bridge (default: the first that is free)
              --bip6 ADDRESS/N         IPv6 address of the default bridge, with its subnet
              --bridge NAME            Link of the default bridge (default skiff0)
              --cgroup-parent PATH     Cgroup below which containers are made (default /skiff)
              --config FILE            Settings as JSON (default /etc/skiff/skiffd.json, where it exists)
              --data-root DIR          What survives a reboot (default /var/lib/skiff)
          -D, --debug                  Log every request
              --exec-root DIR          What does not (default /run/skiff); also --run-root
              --fixed-cidr-v6, --subnet6 CIDR
                                       IPv6 subnet of the default bridge, or with --bip6 the part of it that containers get
                                       addresses from (default: one of the engine's own ULA prefix)
              --forward-rules MODE     add: rules that let containers pass, in chains of the host's firewall that drop by default
                                       what is forwarded (ufw's, say); warn: only say which they are (default add)
          -G, --group GROUP            Group that may use the socket (default: only its owner)
          -h, --help                   This text
          -H, --host unix://PATH       Socket to serve; may be repeated (default unix:///run/skiff/skiff.sock)
              --http-proxy, --https-proxy URL, --no-proxy HOSTS
                                       How registries are reached (default: as the environment says)
              --insecure-registry HOST Registry without TLS or with an unverified certificate; may be repeated
              --ipv6=false             No IPv6 on the default bridge and on networks that do not ask for it (default: IPv6
                                       where the kernel has it)
              --keep-blobs WHICH       Compressed layers that stay beside the unpacked ones: all, needed (those that cannot be
                                       made again bit by bit) or minimal (of these those that no registry hands out)
                                       (default needed)
              --keep-blobs-for TIME    For how long all stay first (default 1h)
              --layer-compression KIND gzip or zstd, for layers that are pushed (default gzip)
              --log-format FORMAT      auto, text, json or journal (default auto)
          -l, --log-level LEVEL        trace, debug, info, notice, warning, error or critical (default info)
              --max-concurrent-downloads, --max-concurrent-uploads N
                                       Layers at a time (default 4 and 5)
              --max-download-attempts N
                                       Before a transfer is given up (default 5)
              --mtu BYTES              MTU of the default bridge
          -p, --pidfile FILE           File for the process id (default skiffd.pid in the exec root)
              --registry-mirror URL    Mirror of Docker Hub; may be repeated. Other registries' mirrors are in the file
              --registry-stall-timeout SECONDS
                                       Without a byte of a body after which a connection is taken for dead (default 10)
              --runtime FILE           skiff-runtime to use (default: beside skiffd, then in PATH)
              --validate               Check the settings and exit
              --storage-driver NAME    overlay2, btrfs or copy (default: what the data root can)
          -v, --version                Version and exit

        """

    private static let short: [Substring: String] = [
        "-D": "debug", "-G": "group", "-h": "help", "-H": "host", "-l": "log-level", "-p": "pidfile", "-v": "version",
    ]
    private static let switches: Set<String> = ["debug", "help", "version", "validate"]
    /// Settings that may stand without a value, which is then true.
    private static let flags: Set<String> = ["ipv6"]

    /// Flags as pflag reads them: `--name value`, `--name=value`, `-n value`.
    static func parse(_ arguments: [String]) throws -> Wish {
        var settings: [(name: String, value: String)] = []
        var wishes: Set<String> = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("-"), argument.count > 1 else {
                throw Fault(.invalid, "unexpected argument \"\(argument)\"")
            }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let isLong = argument.hasPrefix("--")
            guard let name = isLong ? String(parts[0].dropFirst(2)) : short[parts[0]], !name.isEmpty else {
                throw Fault(.invalid, "unknown flag: \(parts[0])")
            }
            if switches.contains(name) {
                if parts.count == 1 || parts[1] == "true" { wishes.insert(name) }
                continue
            }
            if flags.contains(name), parts.count == 1 {
                settings.append((name, "true"))
                continue
            }
            guard let value = parts.count == 2 ? String(parts[1]) : rest.popFirst() else {
                throw Fault(.invalid, "flag needs an argument: \(argument)")
            }
            settings.append((name, value))
        }
        if wishes.contains("help") { return .help }
        if wishes.contains("version") { return .version }
        let options = try merge(settings, debug: wishes.contains("debug"))
        return wishes.contains("validate") ? .validate : .run(options)
    }

    /// The file first, then the flags over it.
    private static func merge(_ settings: [(name: String, value: String)], debug: Bool) throws -> DaemonOptions {
        var options = DaemonOptions()
        if let file = settings.last(where: { $0.name == "config" })?.value {
            options.configurationFile = file
        } else if Files.exists(defaultFile) {
            options.configurationFile = defaultFile
        }
        if let file = options.configurationFile { try options.read(file: file) }
        if settings.contains(where: { $0.name == "host" }) { options.hosts = [] }
        for setting in settings where setting.name != "config" {
            do { try options.set(setting.name, setting.value) } catch let fault as Fault {
                guard fault.message != "unknown setting", setting.name != "hosts" else {
                    throw Fault(.invalid, "unknown flag: --\(setting.name)")
                }
                throw fault.prefixed("invalid argument for --\(setting.name)")
            }
        }
        if debug { options.level = min(options.level, .debug) }
        return options
    }
}
