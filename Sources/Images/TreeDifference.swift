import Linux
import Model

/// What a tree has changed of another, written as an overlay's upper folder: changed and new files, a device 0/0 for what is gone.
struct TreeDifference {
    /// A file that the kernel has not changed since has the content that it was given.
    private let since: FileTime?
    private let merge = LayerMerge(.copies)

    init(since: FileTime?) { self.since = since }

    func write(_ root: borrowing Descriptor, _ base: borrowing Descriptor, to upper: borrowing Descriptor) throws {
        _ = try folder(root, base, upper)
        try finish(root, upper)
    }

    /// True when something was written.
    private func folder(_ root: borrowing Descriptor, _ base: borrowing Descriptor, _ upper: borrowing Descriptor) throws
        -> Bool
    {
        var isChanged = false
        let names = Set(try root.names())
        for name in try base.names() where !names.contains(name) {
            try upper.makeNode(name, .character, permissions: 0, major: 0, minor: 0)
            isChanged = true
        }
        for name in try root.names() {
            guard let status = try root.status(of: name) else { continue }
            if try entry(name, status, root, base, upper) { isChanged = true }
        }
        return isChanged
    }

    private func entry(
        _ name: PathBytes, _ status: FileStatus, _ root: borrowing Descriptor, _ base: borrowing Descriptor,
        _ upper: borrowing Descriptor
    ) throws -> Bool {
        let before = try base.status(of: name)
        guard status.kind == .directory else {
            if let before, try !isChanged(name, status, before, root, base) { return false }
            try FileCopy.copy(name, from: root, to: upper)
            return true
        }
        let inner = try root.open(child: name, [.read, .directory])
        try upper.makeDirectory(name, permissions: 0o700)
        let target = try upper.open(child: name, [.read, .directory])
        guard let before, before.kind == .directory else {
            try merge.apply(inner, to: target)
            try FileCopy.metadata(name, status, from: root, to: upper)
            return true
        }
        let wrote = try folder(inner, try base.open(child: name, [.read, .directory]), target)
        guard try wrote || hasOtherAttributes(name, status, before, root, base) else {
            try upper.unlink(name, directory: true)
            return false
        }
        try FileCopy.metadata(name, status, from: root, to: upper)
        return true
    }

    private func finish(_ root: borrowing Descriptor, _ upper: borrowing Descriptor) throws {
        let status = try root.status()
        try upper.changeOwner(uid: status.uid, gid: status.gid)
        try upper.changeMode(status.mode)
        try upper.setTimes(accessed: status.modified, modified: status.modified)
    }

    private func isChanged(
        _ name: PathBytes, _ status: FileStatus, _ before: FileStatus, _ root: borrowing Descriptor,
        _ base: borrowing Descriptor
    ) throws -> Bool {
        guard status.kind == before.kind, status.size == before.size, status.modified == before.modified,
            status.deviceMajor == before.deviceMajor, status.deviceMinor == before.deviceMinor
        else { return true }
        if try hasOtherAttributes(name, status, before, root, base) { return true }
        switch status.kind {
        case .symlink: return try root.symlinkTarget(name) != base.symlinkTarget(name)
        case .regular:
            if let since, (status.changed.seconds, status.changed.nanoseconds) <= (since.seconds, since.nanoseconds) {
                return false
            }
            return try hasOtherContent(root.open(child: name, [.read]), base.open(child: name, [.read]))
        default: return false
        }
    }

    private func hasOtherAttributes(
        _ name: PathBytes, _ status: FileStatus, _ before: FileStatus, _ root: borrowing Descriptor,
        _ base: borrowing Descriptor
    ) throws -> Bool {
        guard status.mode == before.mode, status.uid == before.uid, status.gid == before.gid else { return true }
        let names = try root.attributeNames(of: name)
        guard try names == base.attributeNames(of: name) else { return true }
        return try names.contains { try root.attribute(of: name, $0) != base.attribute(of: name, $0) }
    }

    private func hasOtherContent(_ left: borrowing Descriptor, _ right: borrowing Descriptor) throws -> Bool {
        var (one, two) = ([UInt8](repeating: 0, count: 64 << 10), [UInt8](repeating: 0, count: 64 << 10))
        var offset: Int64 = 0
        while true {
            let first = try one.withUnsafeMutableBytes { try left.read(into: $0, at: offset) }
            let second = try two.withUnsafeMutableBytes { try right.read(into: $0, at: offset) }
            guard first == second, one[..<first] == two[..<second] else { return true }
            if first == 0 { return false }
            offset += Int64(first)
        }
    }
}
