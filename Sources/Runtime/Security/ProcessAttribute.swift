import Linux
import Model

/// Attributes of security modules below /proc/thread-self/attr (proc_pid_attr(5)).
enum ProcessAttribute {
    /// Writes one for the calling thread. `procfs` is the root of a procfs; a file that is another file system's, or is
    /// mounted over, is not written to (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).
    static func write(_ names: [String], _ value: String, procfs: CInt) throws {
        var missing: KernelFault?
        for name in names {
            do {
                let file = try Files.openInside(
                    procfs, "thread-self/attr/" + name, .writeOnly, resolve: [.beneath, .noMagicLinks, .noCrossMounts])
                guard try Files.fileSystem(of: file.raw) == FileSystemMagic.proc else {
                    throw Fault(.system, "/proc/thread-self/attr/\(name) is not on a procfs")
                }
                return try Files.write(file.raw, Array(value.utf8))
            } catch let fault as KernelFault where fault.isMissing && fault.call.hasPrefix("open") { missing = fault }
        }
        if let missing { throw missing }
    }
}
