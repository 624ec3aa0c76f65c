import JSON
import Model

/// `--security-opt`, read.
package struct SecurityOptions: Sendable {
    package enum Profile: Sendable {
        case standard
        case unconfined
        case custom(OCI.Seccomp)
    }

    package var seccomp = Profile.standard
    package var noNewPrivileges = false
    /// A loaded profile's name, or `unconfined`.
    package var apparmor: String?
    /// `user:…`, `level:…` in the order given; `disable`.
    package var labels: [String] = []
    /// Nothing of /proc and /sys is masked or read-only.
    package var systemPathsUnconfined = false

    /// Both forms, `key=value` and the older `key:value`. The client sends a seccomp profile's content, not its path.
    /// - Throws: `invalid` in docker's words.
    package init(_ options: [String]) throws {
        for option in options {
            if option == "no-new-privileges" {
                noNewPrivileges = true
                continue
            }
            guard let mark = option.firstIndex(where: { $0 == "=" || $0 == ":" }) else {
                throw Fault(.invalid, "invalid --security-opt 1: \"\(option)\"", subject: option)
            }
            let value = String(option[option.index(after: mark)...])
            switch String(option[..<mark]) {
            case "label": labels.append(value)
            case "apparmor": apparmor = value
            case "no-new-privileges":
                guard let flag = ["true": true, "1": true, "false": false, "0": false][value] else {
                    throw Fault(.invalid, "invalid --security-opt 2: \"\(option)\"", subject: option)
                }
                noNewPrivileges = flag
            case "systempaths":
                guard value == "unconfined" else {
                    throw Fault(.invalid, "invalid --security-opt 2: \"\(option)\"", subject: option)
                }
                systemPathsUnconfined = true
            case "seccomp": seccomp = try Self.seccompProfile(value)
            case "writable-cgroups", "credentialspec":
                throw Fault(.unsupported, "--security-opt \(option) is not supported", subject: option)
            default: throw Fault(.invalid, "invalid --security-opt 2: \"\(option)\"", subject: option)
            }
        }
    }

    /// What to tell who asks for SELinux labels where the kernel has no SELinux; nil where nothing is lost.
    /// - Throws: `unsupported` where it has: this engine sets no labels, and a container without them is not what was asked for.
    package func labelWarning(hasSELinux: Bool) throws -> String? {
        guard let label = labels.first(where: { $0 != "disable" }) else { return nil }
        guard !hasSELinux else {
            throw Fault(
                .unsupported, "--security-opt label=\(label): this engine sets no SELinux labels; label=disable runs without",
                subject: label)
        }
        return "This kernel has no SELinux: --security-opt label=\(label) has no effect"
    }

    private static func seccompProfile(_ value: String) throws -> Profile {
        if value == "unconfined" { return .unconfined }
        if value == "builtin" { return .standard }
        do {
            return .custom(try OCI.Seccomp(json: Array(value.utf8), limits: JSONLimits(size: 1 << 20)))
        } catch { throw Fault(.invalid, "Decoding seccomp profile failed: \(Fault(error).message)") }
    }

    /// Docker's lists.
    package static let maskedPaths = [
        "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
        "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ]
    package static let readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
}
