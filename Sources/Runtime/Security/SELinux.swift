import Linux
import Model

/// `process.selinuxLabel` and `linux.mountLabel`.
public enum SELinux {
    /// Whether this kernel has SELinux and a policy is loaded.
    public static var isEnabled: Bool { CgroupFile.exists("/sys/fs/selinux/enforce") }

    /// Before anything is made: `field` is the JSON path that asks for the label.
    public static func check(_ label: String, field: String) throws {
        if label.isEmpty { return }
        guard isEnabled else {
            throw Fault(.unsupported, "\(field): this kernel has no SELinux, or no policy is loaded", subject: field)
        }
        // user:role:type[:level]
        let parts = label.split(separator: ":", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count >= 3, label.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x22 && $0 != 0x7F }) else {
            throw Fault(.invalid, "\(field): \(label) is not a security context such as user:role:type:level", subject: field)
        }
    }

    /// Makes the next execve(2) of the calling thread take the label, which `check` has let pass; the container's root may
    /// lack /sys. `procfs` is a descriptor of a procfs's root.
    public static func changeOnExec(_ label: String, procfs: CInt) throws {
        if label.isEmpty { return }
        let field = "process.selinuxLabel"
        do { try ProcessAttribute.write(["exec"], label, procfs: procfs) } catch let fault as KernelFault {
            throw Fault(.system, "\(field): label \(label) cannot be applied", subject: field, cause: fault)
        }
    }

    /// Mount data with the label as `context="…"` (mount(8)), for file systems that take it.
    public static func mountData(_ data: String, label: String) -> String {
        if label.isEmpty { return data }
        let context = "context=\"\(label)\""
        return data.isEmpty ? context : data + "," + context
    }
}
