import Linux
import Model

/// `process.apparmorProfile`.
public enum AppArmor {
    private static let field = "process.apparmorProfile"

    /// Whether this kernel has AppArmor switched on.
    public static var isEnabled: Bool {
        (try? CgroupFile.text("/sys/module/apparmor/parameters/enabled"))?.hasPrefix("Y") ?? false
    }

    /// Before anything is made: a fault that names the field when the profile cannot be honoured. `unconfined` needs nothing.
    public static func check(_ profile: String) throws {
        if profile.isEmpty || profile == "unconfined" { return }
        guard isValid(profile) else {
            throw Fault(.invalid, "\(field): \(profile) is not the name of a profile", subject: field)
        }
        guard isEnabled else {
            throw Fault(.unsupported, "\(field): this kernel has no AppArmor, or it is switched off", subject: field)
        }
    }

    /// Makes the next execve(2) of the calling thread change to the profile, which `check` has let pass; the container's
    /// root may lack /sys. `procfs` is a descriptor of a procfs's root.
    public static func changeOnExec(_ profile: String, procfs: CInt) throws {
        if profile.isEmpty { return }
        do {
            try ProcessAttribute.write(["apparmor/exec", "exec"], "exec " + profile, procfs: procfs)
        } catch let fault as KernelFault {
            // without AppArmor everything is unconfined
            if profile == "unconfined" && (fault.isMissing || fault.isInvalid) { return }
            let hint = fault.isMissing ? " is not loaded: load it with apparmor_parser" : " cannot be applied"
            throw Fault(
                fault.isMissing ? .invalid : .system, "\(field): profile \(profile)\(hint)", subject: field, cause: fault)
        }
    }

    /// Nothing that would end or split the kernel's command.
    private static func isValid(_ profile: String) -> Bool { profile.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F } }
}
