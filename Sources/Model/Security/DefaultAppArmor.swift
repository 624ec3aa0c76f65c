/// The AppArmor profile of a container for which nobody names one (apparmor.d(5)).
///
/// It refuses what a container's root could do to the machine through /proc, /sys and mounts even where a mask fails, and
/// sockets of AF_ALG, which a seccomp filter cannot see in i386's socketcall. The engine loads the text with
/// apparmor_parser, where that exists. It includes nothing of /etc/apparmor.d.
public enum DefaultAppArmor {
    public static let name = "skiff-default"

    /// The profile's source, by whatever name.
    public static func source(name: String = name) -> String {
        """
        @{PROC}=/proc/

        profile \(name) flags=(attach_disconnected,mediate_deleted) {
          # Everything that the kernel's other means leave to a container; then what must not be.
          network,
          capability,
          file,
          umount,

          # AF_ALG by socket(2) and by socketcall(2)
          deny network alg,

          # Signals and tracing stay within the container; the machine may send to it.
          signal (receive) peer=unconfined,
          signal (receive) peer=skiff-runtime,
          signal (send,receive) peer=\(name),
          ptrace (trace,read,tracedby,readby) peer=\(name),

          # No mounts: the runtime made them all.
          deny mount,

          # Of /proc only processes and, by kernel.shm*, System V memory may be written to.
          deny @{PROC}/* w,
          deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
          deny @{PROC}/sys/[^k]** w,
          deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
          deny @{PROC}/sysrq-trigger rwklx,
          deny @{PROC}/kcore rwklx,

          # Of /sys only the container's cgroup, as far as it is mounted for writing.
          deny /sys/[^f]*/** wklx,
          deny /sys/f[^s]*/** wklx,
          deny /sys/fs/[^c]*/** wklx,
          deny /sys/fs/c[^g]*/** wklx,
          deny /sys/fs/cg[^r]*/** wklx,
          deny /sys/firmware/** rwklx,
          deny /sys/devices/virtual/powercap/** rwklx,
          deny /sys/kernel/security/** rwklx,
        }

        """
    }
}
