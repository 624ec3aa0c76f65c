import Linux
import Model

/// Makes a container's root file system: a mount that is attached nowhere, so that nobody but the container and its shim sees it.
package enum OverlayRoot {
    /// Layers that the kernel stacks in one overlay; the Images room merges what is beyond.
    package static let layerLimit = 500

    /// A detached overlay of `lower` (topmost first), `upper` and `work`.
    ///
    /// `isVolatile` leaves out syncing to disk: a container that goes with its end (`--rm`) needs none, and its last unmount
    /// does not wait for the whole upper file system to be written back. Options that would let an upper folder refuse to be
    /// mounted with changed layers, or write references that other tools do not know, are off (overlayfs.rst).
    package static func mount(lower: [String], upper: String, work: String, isVolatile: Bool, oldWay: Bool = false) throws
        -> Descriptor
    {
        guard !lower.isEmpty else { throw Fault(.invalid, "the image has no layer") }
        guard lower.count <= layerLimit else {
            throw Fault(.unsupported, "the image has \(lower.count) layers, the kernel stacks at most \(layerLimit)")
        }
        // Left by a volatile mount before this one: mounting would be refused (EINVAL)
        if isVolatile {
            try? Files.remove(work + "/work/incompat/volatile/dirty")
            try? Files.remove(work + "/work/incompat/volatile", isFolder: true)
        }
        if !oldWay {
            do { return try mountNew(lower, upper, work, isVolatile) } catch let fault as KernelFault
                where fault.call.contains("lowerdir+") || fault.errno == 38
            {}
        }
        return try mountOld(lower, upper, work, isVolatile)
    }

    private static let options = [("index", "off"), ("redirect_dir", "off"), ("metacopy", "off"), ("xino", "off")]

    /// fsopen(2), fsconfig(2) with `lowerdir+` (from 6.7 on), fsmount(2)
    private static func mountNew(_ lower: [String], _ upper: String, _ work: String, _ isVolatile: Bool) throws -> Descriptor {
        let context = try FileSystemContext("overlay")
        for layer in lower {
            do { try context.set("lowerdir+", layer) } catch let fault as KernelFault {
                // A kernel that does not know the option says so for the first layer, whatever it is
                guard !Files.exists(layer) else { throw KernelFault("fsconfig lowerdir+", errno: fault.errno, layer) }
                throw Fault(.notFound, "layer \(layer) does not exist", subject: layer)
            }
        }
        try context.set("upperdir", upper)
        try context.set("workdir", work)
        for (key, value) in options { try context.set(key, value) }
        if isVolatile { try context.set("volatile") }
        do { return try context.create() } catch { throw try explained(error, lower, upper, work) }
    }

    /// The kernel's word is EINVAL or ENOENT for many things; a folder that is missing is named.
    private static func explained(_ error: any Error, _ lower: [String], _ upper: String, _ work: String) throws -> Fault {
        for path in lower + [upper, work] where !Files.exists(path) {
            return Fault(.notFound, "cannot mount the container's root: \(path) does not exist", subject: path)
        }
        return Fault(.system, "cannot mount the container's root", subject: upper, cause: error)
    }

    /// mount(2), whose options must fit into one page: in a mount namespace of its own, where a tmpfs holds short links to the
    /// layers. A child does that and hands over a detached clone of the mount. Works on 5.15.
    private static func mountOld(_ lower: [String], _ upper: String, _ work: String, _ isVolatile: Bool) throws -> Descriptor {
        let ends = try SeqPacket.pair().release()
        let ours = Descriptor(owning: ends[0])
        let theirs = Descriptor(owning: ends[1])
        let child = try Processes.clone()
        if child.isChild {
            var answer: [UInt8] = [0]
            do {
                let mount = try mountApart(lower, upper, work, isVolatile)
                _ = try SeqPacket.send(answer, descriptors: [mount.raw], on: theirs.raw)
            } catch {
                answer = [1] + Array(Fault(error).description.utf8)
                // One byte 1 alone would mean a long message
                _ = try? SeqPacket.send([0x21] + answer, on: theirs.raw)
            }
            Processes.exitNow(0)
        }
        let pid = child.pid
        let received = try SeqPacket.receive(on: ours.raw)
        _ = try? Processes.reap(pid, wait: true)
        guard case .message(let bytes, let passed) = received else {
            throw Fault(.system, "cannot mount the container's root: the helper process died", subject: upper)
        }
        guard let mount = passed.next() else {
            let text = String(decoding: bytes.dropFirst(2), as: UTF8.self)
            throw try explained(KernelFault("mount overlay", errno: 22, text), lower, upper, work)
        }
        return mount
    }

    private static func mountApart(_ lower: [String], _ upper: String, _ work: String, _ isVolatile: Bool) throws -> Descriptor
    {
        try Processes.unshare(.mount)
        try Mounts.setPropagation("/", .private, recursive: true)
        // A folder that surely is there and needs not be seen by this process any more
        let place = work
        let links = try FileSystemContext("tmpfs")
        let tmpfs = try links.create()
        let upperFolder = try Files.open(upper, [.path, .directory])
        let workFolder = try Files.open(work, [.path, .directory])
        try Files.makeFolder("mount", mode: 0o700, at: tmpfs.raw)
        for (number, layer) in lower.enumerated() { try Files.link(String(number), to: layer, at: tmpfs.raw) }
        try Files.link("upper", to: "/proc/self/fd/\(upperFolder.raw)", at: tmpfs.raw)
        try Files.link("work", to: "/proc/self/fd/\(workFolder.raw)", at: tmpfs.raw)
        try Mounts.attach(tmpfs.raw, ontoPath: place)
        try Files.changeFolder(to: tmpfs.raw)
        let names = (0..<lower.count).map { String($0) }.joined(separator: ":")
        var data = "lowerdir=\(names),upperdir=upper,workdir=work"
        for (key, value) in options { data += ",\(key)=\(value)" }
        if isVolatile { data += ",volatile" }
        try Mounts.mountOld(source: "overlay", target: "mount", type: "overlay", flags: 0, data: data)
        return try Mounts.clone("mount", recursive: false)
    }
}
