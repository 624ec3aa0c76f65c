import Linux
import Model

extension RootFolder {
    /// `linux.maskedPaths`: files are covered by /dev/null, folders by an empty read-only tmpfs. What is not there needs none.
    ///
    /// The null device is taken by descriptor and looked at (CVE-2025-31133: an image or a race can put something else there).
    borrowing func mask(_ paths: [String], label: String?) throws {
        if paths.isEmpty { return }
        var null: Descriptor?
        var empty: Descriptor?
        for (index, path) in paths.enumerated() {
            let target: Descriptor
            do { target = try find(MountPlan.normal(path)) } catch let fault as KernelFault
                where fault.isMissingFile || fault.isNoFolder
            { continue }
            do {
                if try Files.status(of: target.raw).kind == .folder {
                    try cover(target.raw, withFolder: &empty, label)
                } else {
                    if null == nil { null = try nullDevice() }
                    guard let raw = null?.raw else { continue }
                    let clone = try Mounts.clone(of: raw, recursive: false)
                    try Mounts.attach(clone.raw, onto: target.raw)
                }
            } catch let fault as KernelFault {
                throw Fault(.system, "linux.maskedPaths[\(index)]: cannot mask \(path)", subject: path, cause: fault)
            }
        }
    }

    /// One tmpfs for all folders: the first is attached, the others are clones of it.
    private borrowing func cover(_ target: CInt, withFolder empty: inout Descriptor?, _ label: String?) throws {
        if let raw = empty?.raw {
            let clone = try Mounts.clone(of: raw, recursive: false)
            return try Mounts.attach(clone.raw, onto: target)
        }
        let file = try FileSystemContext("tmpfs")
        try file.set("source", "tmpfs")
        try file.set("nr_blocks", "1")
        try file.set("nr_inodes", "1")
        if let label { try file.set("context", label) }
        try file.set("ro")
        let mount = try file.create([.readOnly, .noSUID, .noDevices, .noExecute])
        try Mounts.attach(mount.raw, onto: target)
        empty = consume mount
    }

    private borrowing func nullDevice() throws -> Descriptor {
        let null = try findStraight("dev/null")
        let status = try Files.status(of: null.raw)
        guard status.kind == .character, status.major == 1, status.minor == 3 else {
            throw Fault(.invalid, "linux.maskedPaths: /dev/null in the container is not the null device")
        }
        return null
    }

    /// `linux.readonlyPaths`: bound onto themselves, read-only. What is not there needs none.
    borrowing func makeReadOnly(_ paths: [String]) throws {
        for (index, path) in paths.enumerated() {
            do {
                let target = try find(MountPlan.normal(path))
                let clone = try Mounts.clone(of: target.raw, recursive: true)
                try Mounts.change(clone.raw, set: .readOnly)
                try Mounts.attach(clone.raw, onto: target.raw)
            } catch let fault as KernelFault {
                if fault.isMissingFile || fault.isNoFolder { continue }
                throw Fault(
                    .system, "linux.readonlyPaths[\(index)]: cannot make \(path) read-only", subject: path, cause: fault)
            }
        }
    }
}
