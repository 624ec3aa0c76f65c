import Linux
import Model

/// An open folder below a layer's root.
final class OpenFolder {
    let descriptor: Descriptor
    /// Its true path from the root, without symbolic links.
    let path: PathBytes

    init(_ descriptor: consuming Descriptor, path: PathBytes) {
        self.descriptor = descriptor
        self.path = path
    }

    func path(of name: PathBytes) -> PathBytes { path.isEmpty ? name : path + [0x2F] + name }
}

/// Opens folders below a root and keeps the last ones open: neighbours in an archive mostly share their folder.
final class FolderCache {
    let root: OpenFolder
    private let rootPath: PathBytes
    private var open: [[PathBytes]: OpenFolder] = [:]
    private var last: (key: [PathBytes], folder: OpenFolder)?

    init(root: consuming Descriptor) throws {
        rootPath = try root.kernelPath()
        self.root = OpenFolder(root, path: [])
    }

    /// The folder with this path as the kernel resolves it within the root. Missing ones are made with mode 0755 when `create`.
    func open(_ components: [PathBytes], create: Bool) throws -> OpenFolder {
        if components.isEmpty { return root }
        if let last, last.key == components { return last.folder }
        if let folder = open[components] {
            last = (components, folder)
            return folder
        }
        let folder = try resolve(components, create: create)
        if open.count >= 64 { open = [:] }
        open[components] = folder
        last = (components, folder)
        return folder
    }

    /// Something was removed or replaced: paths may mean other folders now.
    func forget() {
        open = [:]
        last = nil
    }

    private func resolve(_ components: [PathBytes], create: Bool) throws -> OpenFolder {
        let path = Array(components.joined(separator: [0x2F]))
        do {
            let descriptor = try root.descriptor.open(inRoot: path, [.read, .directory])
            return try known(descriptor)
        } catch let fault as KernelFault where fault.isMissing && create {
            var parents = components
            let name = parents.removeLast()
            let parent = try open(parents, create: true)
            try parent.descriptor.makeDirectory(name, permissions: 0o755)
            let descriptor = try parent.descriptor.open(child: name, [.read, .directory])
            try descriptor.changeMode(0o755)
            return OpenFolder(descriptor, path: parent.path(of: name))
        }
    }

    private func known(_ descriptor: consuming Descriptor) throws -> OpenFolder {
        let path = try descriptor.kernelPath()
        guard path.starts(with: rootPath) else { throw KernelFault("openat2", errno: 18) }
        return OpenFolder(descriptor, path: PathBytes(path.dropFirst(rootPath.count + 1)))
    }
}
