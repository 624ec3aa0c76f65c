import Archive
import Images
import Linux
import Model
import State
import TestSupport
import Testing

/// A store as root has it, in a scratch folder, with what it takes to look at its layers as a container would.
final class ImageRootFixture {
    let scratch: Scratch
    let store: ImageStore
    let database: Database

    /// The scratch folder is a tmpfs: removing ten thousand files from a disk may take half a minute.
    init(_ name: String = #function, dataRoot: String? = nil) throws {
        scratch = try Scratch(name)
        let path = scratch.path
        guard run(["/bin/mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path]).status == 0 else {
            throw SetupFailure("cannot mount a tmpfs at \(path)")
        }
        scratch.defer_ { _ = run(["/bin/umount", "-l", path]) }
        let data = dataRoot ?? scratch.folder("data")
        database = try Database(path: data + "/skiff.db")
        store = try ImageStore(layout: Layout(dataRoot: data, runRoot: scratch.path + "/run"), database: database)
    }

    @discardableResult
    func shell(_ script: String) throws -> String {
        let result = run(["/bin/bash", "-euo", "pipefail", "-c", "cd '\(scratch.path)'; " + script])
        guard result.status == 0 else { throw SetupFailure("\(script): \(result.error)") }
        return result.output
    }

    func source(_ name: String) throws -> sending DescriptorSource {
        DescriptorSource(try Descriptor.open(scratch.path + "/" + name, [.read]))
    }

    func importTar(_ name: String, as reference: String) async throws -> ImageRecord {
        try await store.importRootfs(try source(name), ImportRequest(reference: Reference(reference)), caller: .engine)
    }

    func load(_ name: String) async throws -> [ImageRecord] { try await store.load(try source(name), caller: .engine) }

    func save(_ names: String..., to file: String) async throws {
        let target = try Descriptor.open(scratch.path + "/" + file, [.write, .create, .truncate])
        try await store.save(names, to: DescriptorSink(target))
    }

    /// Mounts layers, the topmost first, at `<scratch>/<name>`; with an upper folder `<name>.upper` when it is to be written.
    /// Undone at the end of the test.
    func mount(_ layers: [String], at name: String, writable: Bool = false) throws {
        let target = scratch.folder(name)
        var options = "redirect_dir=off,metacopy=off"
        if writable {
            options += ",upperdir=\(scratch.folder(name + ".upper")),workdir=\(scratch.folder(name + ".work"))"
        }
        // overlayfs wants two lower folders where there is no upper one
        let lower = (layers.count > 1 || writable ? layers : layers + [scratch.folder("empty")]).joined(separator: ":")
        // util-linux 2.39 and newer take fsconfig(2), whose values end at 255 bytes, unless told otherwise
        try shell(
            "LIBMOUNT_FORCE_MOUNT2=always mount -t overlay overlay -o '\(options),lowerdir=\(lower)' '\(target)'")
        scratch.defer_ { _ = run(["/bin/umount", "-l", target]) }
    }

    /// Everything that can be told about a tree: names, kinds, modes, owners, sizes, links, devices, times, attributes, contents.
    func census(_ folder: String) throws -> [String] {
        let script = """
            cd '\(folder)'
            find . -mindepth 1 ! -type d -printf '%p %y %m %U:%G %s %n %T@ %l\\n' | LC_ALL=C sort
            find . -mindepth 1 -type d -printf '%p %y %m %U:%G %T@\\n' | LC_ALL=C sort
            find . -mindepth 1 \\( -type b -o -type c \\) -exec stat -c '%n %t:%T' {} + | LC_ALL=C sort
            find . -mindepth 1 ! -type l -print0 | LC_ALL=C sort -z | xargs -0 -r getfattr -h -m - -d 2>/dev/null | grep -v overlay || true
            find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
            """
        return try shell(script).split(separator: "\n").map(String.init)
    }
}

func difference(_ left: [String], _ right: [String]) -> [String] {
    let right = Set(right)
    let all = Set(left)
    return left.filter { !right.contains($0) }.map { "- " + $0 } + right.filter { !all.contains($0) }.map { "+ " + $0 }.sorted()
}

func isInstalled(_ tool: String) -> Bool { run(["/bin/sh", "-c", "command -v \(tool)"]).status == 0 }
