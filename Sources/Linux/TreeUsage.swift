/// What files and folders take: apparent sizes as du(1) `--apparent-size` adds them up, folders included, a file with several
/// names counted once. Goes into no mount, and follows no link.
public struct TreeUsage: Sendable, Equatable {
    /// Bytes of everything, as it appears.
    public private(set) var bytes: Int64 = 0
    /// Bytes of regular files only, as docker shows sizes.
    public private(set) var content: Int64 = 0
    /// Names, folders included.
    public private(set) var files = 0
    /// Bytes that would come free if everything counted were removed: without files that have names elsewhere too.
    public var freed: Int64 { bytes - shared.values.reduce(0) { $0 + ($1.left > 0 ? $1.bytes : 0) } }

    private struct Shared: Equatable {
        var bytes: Int64
        /// Names that were not met yet.
        var left: UInt64
    }

    private struct Inode: Hashable {
        var device: UInt64
        var number: UInt64
    }

    private var shared: [Inode: Shared] = [:]

    public init() {}

    /// Adds what a path of the engine's own stands for; nothing where it is absent.
    public mutating func add(path: String) throws {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        let parent: Descriptor
        do { parent = try Descriptor.open(String(path[..<slash]), [.path, .directory]) } catch let fault as KernelFault
            where fault.isAbsent
        { return }
        try add(Array(path[path.index(after: slash)...].utf8), in: parent)
    }

    /// Adds one name of a folder, with all below it. What vanishes meanwhile counts or not.
    public mutating func add(_ name: PathBytes, in folder: borrowing Descriptor) throws {
        guard let status = try folder.status(of: name) else { return }
        try add(name, status, in: folder, device: status.device)
    }

    /// - Parameter device: of the folder: subvolumes have devices of their own, and so have mounts.
    private mutating func add(
        _ name: PathBytes, _ status: FileStatus, in folder: borrowing Descriptor, device: UInt64
    ) throws {
        files += 1
        guard status.kind == .directory else { return count(status) }
        bytes += status.size
        let child: Descriptor
        do { child = try folder.open(child: name, [.read, .directory]) } catch let fault as KernelFault where fault.isAbsent {
            return
        }
        if status.device != device, Mounts.isRoot(child.raw) { return }
        for name in try child.names() {
            guard let inner = try child.status(of: name) else { continue }
            try add(name, inner, in: child, device: status.device)
        }
    }

    private mutating func count(_ status: FileStatus) {
        if status.links > 1 {
            let key = Inode(device: status.device, number: status.inode)
            if shared[key] != nil {
                shared[key]?.left -= 1
                return
            }
            shared[key] = Shared(bytes: status.size, left: status.links - 1)
        }
        bytes += status.size
        if status.kind == .regular { content += status.size }
    }
}
