import Linux
import Model

/// The container's root as a descriptor of its mount. Nothing in the image can lead a path out of it: every name is resolved
/// by openat2(2) RESOLVE_IN_ROOT without magic links, and what comes back is a descriptor, never a path (CVE-2021-30465).
struct RootFolder: ~Copyable {
    let mount: Descriptor

    init(mount: consuming Descriptor) { self.mount = mount }

    /// What stands at the path, symbolic links followed inside the root. O_PATH.
    borrowing func find(_ path: String) throws -> Descriptor {
        try Files.openInside(mount.raw, path.isEmpty ? "." : path, .path)
    }

    /// As `find`, but no part of the path may be a symbolic link.
    borrowing func findStraight(_ path: String) throws -> Descriptor {
        try Files.openInside(mount.raw, path.isEmpty ? "." : path, .path, resolve: [.inRoot, .noSymlinks, .noMagicLinks])
    }

    /// The folder at the path; what is missing of it is made (0755), also behind dangling links.
    borrowing func makeFolder(_ path: String, links: Int = 0) throws -> Descriptor {
        do { return try find(path) } catch let fault as KernelFault where fault.isMissingFile {}
        let (parentPath, name) = Self.split(path)
        let parent = try makeFolder(parentPath, links: links)
        if try !Files.makeFolder(name, mode: 0o755, at: parent.raw) {
            // Something is there that could not be followed: a dangling link.
            guard links < 8 else { throw KernelFault("open", errno: 40, path) }
            let target = try Files.readLink(name, at: parent.raw)
            return try makeFolder(
                MountPlan.normal(target.hasPrefix("/") ? target : parentPath + "/" + target), links: links + 1)
        }
        return try Files.openInside(parent.raw, name, [.path, .directory], resolve: [.beneath, .noSymlinks])
    }

    /// The file at the path; an empty one is made where nothing stands.
    borrowing func makeFile(_ path: String) throws -> Descriptor {
        do { return try find(path) } catch let fault as KernelFault where fault.isMissingFile {}
        let (parentPath, name) = Self.split(path)
        let parent = try makeFolder(parentPath)
        do {
            _ = try Files.open(name, [.writeOnly, .create, .exclusive, .noFollow], mode: 0o755, at: parent.raw)
        } catch let fault as KernelFault where fault.isExisting {
            // A dangling link: its target is made inside the root.
            let target = try Files.readLink(name, at: parent.raw)
            let place = MountPlan.normal(target.hasPrefix("/") ? target : parentPath + "/" + target)
            let (folder, last) = Self.split(place)
            let there = try makeFolder(folder)
            _ = try Files.open(last, [.writeOnly, .create, .exclusive, .noFollow], mode: 0o755, at: there.raw)
            return try Files.openInside(there.raw, last, .path, resolve: [.beneath, .noSymlinks])
        }
        return try Files.openInside(parent.raw, name, .path, resolve: [.beneath, .noSymlinks])
    }

    static func split(_ path: String) -> (String, String) {
        guard let slash = path.lastIndex(of: "/") else { return ("", path) }
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }
}
