import CKernel
import Glibc

/// Copies single files with everything that belongs to them.
public enum FileCopy {
    /// Copies one name of a folder, which is no directory, under the same name into another folder where it does not exist: content,
    /// owner, mode, attributes, times. Shares blocks where the file system can (copy_file_range(2)).
    public static func copy(_ name: PathBytes, from: borrowing Descriptor, to: borrowing Descriptor) throws {
        guard let status = try from.status(of: name) else { throw KernelFault("fstatat", errno: ENOENT, pathText(name)) }
        switch status.kind {
        case .regular:
            let source = try from.open(child: name, [.read])
            let target = try to.open(child: name, [.write, .create, .exclusive], permissions: 0o600)
            try content(source, target, size: status.size)
        case .symlink: try to.makeSymlink(name, to: try from.symlinkTarget(name))
        case .character, .block, .fifo, .socket:
            try to.makeNode(
                name, status.kind, permissions: status.mode & 0o777, major: status.deviceMajor, minor: status.deviceMinor)
        case .directory, .unknown: throw KernelFault("copy", errno: EISDIR, pathText(name))
        }
        try metadata(name, status, from: from, to: to)
    }

    /// Owner, attributes, mode and times of a name.
    public static func metadata(
        _ name: PathBytes, _ status: FileStatus, from: borrowing Descriptor, to: borrowing Descriptor
    ) throws {
        try to.changeOwner(of: name, uid: status.uid, gid: status.gid)
        for attribute in try from.attributeNames(of: name) {
            guard let value = try from.attribute(of: name, attribute) else { continue }
            try to.setAttribute(of: name, attribute, value)
        }
        if status.kind != .symlink { try to.changeMode(of: name, status.mode) }
        try to.setTimes(of: name, accessed: status.modified, modified: status.modified)
    }

    private static func content(_ source: borrowing Descriptor, _ target: borrowing Descriptor, size: Int64) throws {
        var offset: Int64 = 0
        let from = source.raw
        let to = target.raw
        while offset < size {
            let place = offset
            let count: Int
            do {
                count = try kernel("copy_file_range") {
                    skiff_copy_file_range(from, place, to, place, Int(min(size - place, 1 << 30)))
                }
            } catch let fault as KernelFault where [ENOSYS, EXDEV, EOPNOTSUPP, EINVAL].contains(fault.errno) {
                // Forbidden, or not between these file systems
                return try copyByHand(from, to, place)
            }
            if count == 0 { break }
            offset += Int64(count)
        }
    }

    private static func copyByHand(_ from: CInt, _ to: CInt, _ start: Int64) throws {
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        var offset = start
        while true {
            let count = try kernel("pread") { pread(from, &buffer, buffer.count, off_t(offset)) }
            if count == 0 { return }
            var written = 0
            while written < count {
                let place = written
                written += try buffer.withUnsafeBytes { bytes in
                    try kernel("pwrite") {
                        pwrite(to, bytes.baseAddress.map { $0 + place }, count - place, off_t(offset) + place)
                    }
                }
            }
            offset += Int64(count)
        }
    }
}
