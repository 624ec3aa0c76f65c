import Glibc

extension Descriptor {
    /// Names in this folder without `.` and `..`, sorted by their bytes (readdir(3)).
    public borrowing func names() throws -> [PathBytes] {
        let copy = try open(child: [0x2E], [.read, .directory]).release()
        guard let stream = fdopendir(copy) else {
            let code = errno
            close(copy)
            throw KernelFault("fdopendir", errno: code)
        }
        defer { closedir(stream) }
        var names: [PathBytes] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw KernelFault("readdir", errno: errno) }
                break
            }
            let name: PathBytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name == [0x2E] || name == [0x2E, 0x2E] { continue }
            names.append(name)
        }
        names.sort { $0.lexicographicallyPrecedes($1) }
        return names
    }

    /// Removes a name and everything below it, following no link; a name that is not there is fine.
    public borrowing func removeTree(_ name: PathBytes) throws {
        do {
            try unlink(name)
            return
        } catch let fault as KernelFault {
            if fault.errno == ENOENT { return }
            guard fault.errno == EISDIR || fault.errno == EPERM else { throw fault }
        }
        do {
            let folder = try open(child: name, [.read, .directory])
            for child in try folder.names() { try folder.removeTree(child) }
        }
        try unlink(name, directory: true)
    }

    /// Makes a folder where there is none, with its parents (mkdir(2)); one that is there already is fine.
    public static func makeDirectories(_ path: String, permissions: UInt32 = 0o700) throws {
        var made = ""
        for part in path.split(separator: "/") {
            made += "/" + part
            if mkdir(made, mode_t(permissions)) == 0 || errno == EEXIST { continue }
            throw KernelFault("mkdir", errno: errno, made)
        }
    }
}
