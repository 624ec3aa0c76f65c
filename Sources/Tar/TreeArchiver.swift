import Linux
import Model

/// Writes a folder's content as a tar: a whole tree, or an overlay's upper folder as a layer with OCI whiteouts.
///
/// Names are sorted, so that equal trees make equal tars. Links are never followed. Sockets, which tar does not know, are left out.
public final class TreeArchiver {
    public enum Form: Sendable {
        /// Everything as it is.
        case tree
        /// An overlay's upper folder: devices 0/0 become `.wh.` files, opaque folders get `.wh..wh..opq`.
        case overlayUpper
    }

    private let writer: TarWriter
    private let form: Form
    private var links: [FileKey: PathBytes] = [:]
    /// Asked for each folder, by its open descriptor, whether its content belongs into the archive.
    public var enters: ((CInt) throws -> Bool)?
    /// Times without their fractions, as docker's `cp` has them: no extended headers just for those.
    public var wholeSeconds = false
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)

    private struct FileKey: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    public init(_ sink: any ByteSink, _ form: Form) {
        writer = TarWriter(sink)
        self.form = form
    }

    deinit { buffer.deallocate() }

    /// Writes the tree below `root`, which is the archive's `./`, and the end marker. The tree may change meanwhile: what vanishes
    /// is left out, and a file's content is cut or filled to the size that its header told.
    public func archive(_ root: borrowing Descriptor) throws {
        try children(of: root, path: [])
        try writer.finish()
    }

    /// Writes one name of a folder, with all that is below it, under another path; the end marker is the caller's (`finish`).
    public func add(_ name: PathBytes, in folder: borrowing Descriptor, as path: PathBytes) throws {
        try entry(name, in: folder, path)
    }

    /// Writes a folder and all that is below it under a path: `etc`, `.` or `/`.
    public func add(folder: borrowing Descriptor, as path: PathBytes) throws { try entry([0x2E], in: folder, path) }

    /// Writes the end marker.
    public func finish() throws { try writer.finish() }

    private func children(of folder: borrowing Descriptor, path: PathBytes) throws {
        for name in try folder.names() {
            let full = path.isEmpty ? name : (path.last == 0x2F ? path : path + [0x2F]) + name
            do { try entry(name, in: folder, full) } catch let fault as KernelFault where fault.isMissing { continue }
        }
    }

    private func entry(_ name: PathBytes, in folder: borrowing Descriptor, _ path: PathBytes) throws {
        guard let status = try folder.status(of: name), status.kind != .socket, status.kind != .unknown else { return }
        if form == .overlayUpper {
            if status.isWhiteout { return try whiteout(name, path) }
            if status.kind == .regular, status.size == 0, Self.places.contains(path) { return }
        }
        var entry = TarEntry(path: path, kind: Self.kind(status.kind), mode: status.mode)
        entry.uid = status.uid
        entry.gid = status.gid
        entry.modified = wholeSeconds ? FileTime(seconds: status.modified.seconds) : status.modified
        entry.deviceMajor = status.deviceMajor
        entry.deviceMinor = status.deviceMinor
        if status.kind != .directory, status.links > 1 {
            let key = FileKey(device: status.device, inode: status.inode)
            if let first = links[key] {
                entry.kind = .hardLink
                entry.linkTarget = first
                return try writer.begin(entry)
            }
            links[key] = path
        }
        var opaque = false
        entry.attributes = try attributes(name, in: folder, path, opaque: &opaque)
        switch status.kind {
        case .regular: try file(name, in: folder, entry)
        case .symlink:
            entry.linkTarget = try folder.symlinkTarget(name)
            try writer.begin(entry)
        case .directory:
            if entry.path.last != 0x2F { entry.path += [0x2F] }
            let below = try opened(name, in: folder, [.read, .directory])
            try writer.begin(entry)
            if opaque { try writer.begin(TarEntry(path: entry.path + Whiteout.opaque, kind: .file, mode: 0o600)) }
            if try enters?(below.raw) ?? true { try children(of: below, path: path) }
        default: try writer.begin(entry)
        }
    }

    private static func kind(_ kind: FileStatus.Kind) -> TarEntry.Kind {
        switch kind {
        case .regular: .file
        case .directory: .directory
        case .symlink: .symlink
        case .character: .character
        case .block: .block
        case .fifo: .fifo
        case .socket, .unknown: .other
        }
    }

    /// Where a container's own files are mounted, and the sign by which programs know that they are in one. Empty, they are no
    /// content of an image.
    private static let places = Set(
        ["etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv"].map { PathBytes($0.utf8) })

    private func whiteout(_ name: PathBytes, _ path: PathBytes) throws {
        let folder = path.dropLast(name.count)
        try writer.begin(TarEntry(path: folder + Whiteout.prefix + name, kind: .file, mode: 0o600))
    }

    private func attributes(
        _ name: PathBytes, in folder: borrowing Descriptor, _ path: PathBytes, opaque: inout Bool
    ) throws -> [TarEntry.Attribute] {
        var attributes: [TarEntry.Attribute] = []
        for attribute in try folder.attributeNames(of: name) {
            guard let value = try folder.attribute(of: name, attribute) else { continue }
            if form == .overlayUpper, Whiteout.isOverlayAttribute(attribute) {
                let mark = attribute.drop { $0 != 0x2E }.dropFirst("overlay.".utf8.count + 1)
                switch String(decoding: mark, as: UTF8.self) {
                case "opaque": opaque = value == Whiteout.opaqueValue
                case "redirect", "metacopy":
                    throw Fault(
                        .unsupported,
                        "\"\(TarEntry.shown(path))\" refers to a layer below (overlay \(String(decoding: mark, as: UTF8.self)))"
                    )
                default: break
                }
                continue
            }
            // The host's labels mean nothing elsewhere.
            if attribute == Array("security.selinux".utf8) { continue }
            attributes.append(TarEntry.Attribute(name: attribute, value: value))
        }
        return attributes
    }

    /// Opens what was looked at. Where somebody exchanges names meanwhile, a device or a link is there at one moment and refuses to be
    /// opened, and the file again at the next: that ends no archive.
    private func opened(_ name: PathBytes, in folder: borrowing Descriptor, _ mode: OpenMode) throws -> Descriptor {
        for _ in 0..<15 {
            do { return try folder.open(child: name, mode) } catch is KernelFault { continue }
        }
        return try folder.open(child: name, mode)
    }

    private func file(_ name: PathBytes, in folder: borrowing Descriptor, _ entry: TarEntry) throws {
        let file = try opened(name, in: folder, [.read, .nonBlocking])
        // What was looked at and what was opened may be two things when somebody exchanges names meanwhile.
        let status = try file.status()
        guard status.kind == .regular else { return }
        var entry = entry
        entry.size = status.size
        try writer.begin(entry)
        var left = status.size
        while left > 0 {
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(left, Int64(buffer.count)))])
            var count = try file.read(into: part)
            if count == 0 {
                part.initializeMemory(as: UInt8.self, repeating: 0)
                count = part.count
            }
            try writer.content(UnsafeRawBufferPointer(rebasing: part[..<count]))
            left -= Int64(count)
        }
    }
}
