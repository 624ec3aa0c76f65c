import Linux
import Model

/// One end of a copy between a container and this machine.
package struct CopyEnd: Sendable, Equatable {
    package var path: String
    package var exists = false
    package var isFolder = false
    /// What the copied entry is called where links have changed the last component of the path.
    package var rename: String?

    package init(path: String, exists: Bool = false, isFolder: Bool = false, rename: String? = nil) {
        self.path = path
        self.exists = exists
        self.isFolder = isFolder
        self.rename = rename
    }
}

/// Where an archive is to be unpacked, and what the first part of its entries' names becomes.
package struct CopyPlan: Sendable, Equatable {
    package var folder: String
    package var from: String?
    package var to = ""

    package init(folder: String, from: String? = nil, to: String = "") {
        self.folder = folder
        self.from = from
        self.to = to
    }

    /// An entry's name in the archive that is unpacked.
    package func name(_ name: [UInt8]) -> [UInt8] {
        guard let from else { return name }
        return Self.replace(name, from, to)
    }

    static func replace(_ name: [UInt8], _ old: String, _ new: String) -> [UInt8] {
        // All names begin with the root's slash: the new name goes before it.
        let old = old == "/" ? [] : Array(old.utf8)
        guard name.starts(with: old) else { return name }
        return Array(new.utf8) + name.dropFirst(old.count)
    }
}

/// docker cp's rules.
package enum CopyRules {
    /// `CONTAINER:PATH`, or a local path where the container is nil.
    package static func split(_ argument: String) -> (container: String?, path: String) {
        guard !argument.hasPrefix("/"), let (container, path) = GoText.cut(argument, ":"), !container.hasPrefix("."),
            !container.isEmpty
        else { return (nil, argument) }
        return (container, path)
    }

    /// Where the source's archive goes, and under which name.
    package static func plan(from source: CopyEnd, to destination: CopyEnd) throws -> CopyPlan {
        if destination.exists, destination.isFolder { return CopyPlan(folder: destination.path) }
        if destination.exists, source.isFolder { throw FlagFault("cannot copy directory") }
        if !destination.exists, !source.isFolder, CopyPath.assertsFolder(destination.path) {
            throw FlagFault("no such directory")
        }
        let (folder, base) = CopyPath.split(destination.path)
        return CopyPlan(folder: folder, from: source.rename ?? CopyPath.split(source.path).base, to: base)
    }

    /// The path that a link led to, with the end of the path that was asked for, and the name that was asked for where it is another.
    package static func rename(_ path: String, resolved: String) -> (path: String, name: String?) {
        var resolved = resolved
        if CopyPath.endsInDot(path), !CopyPath.endsInDot(resolved) { resolved += "/." }
        if CopyPath.endsInSlash(path), !CopyPath.endsInSlash(resolved) { resolved += "/" }
        let name = CopyPath.base(path)
        return (resolved, name == CopyPath.base(resolved) ? nil : name)
    }

    /// Absolute, with the slash or dot that it ended in.
    package static func absolute(_ path: String) throws -> String {
        if path.hasPrefix("/") { return CopyPath.keepingEnd(CopyPath.clean(path), of: path) }
        guard let folder = FileCalls.workingFolder else { throw FlagFault("getwd: no such file or directory") }
        return CopyPath.keepingEnd(CopyPath.join(folder, path), of: path)
    }

    // MARK: This machine's end

    /// - Parameter path: absolute.
    package static func localSource(_ path: String, follow: Bool) throws -> CopyEnd {
        var path = path
        var name: String?
        if follow {
            (path, name) = rename(path, resolved: try resolve(path))
        } else {
            let slash = path.lastIndex(of: "/") ?? path.startIndex
            let parent = try resolve(String(path[...slash]))
            let resolved = (parent == "/" ? "" : parent) + path[slash...]
            if CopyPath.endsInSlash(path), CopyPath.base(path) != CopyPath.base(resolved) { name = CopyPath.base(path) }
            path = resolved
        }
        let status = try status(path)
        return CopyEnd(path: path, exists: true, isFolder: status.kind == .folder, rename: name)
    }

    /// Links at the end are followed, also to what does not exist: the copy makes it.
    /// - Parameter path: absolute.
    package static func localDestination(_ path: String) throws -> CopyEnd {
        var path = path
        for _ in 0..<11 {
            let status: NodeStatus
            do { status = try Files.status(path, follow: false) } catch let fault as KernelFault {
                guard FileCalls.isMissing(fault) else { throw said("lstat", path, fault) }
                let parent = CopyPath.split(path).folder
                guard try self.status(parent, verb: "stat", follow: true).kind == .folder else {
                    throw FlagFault("not a directory")
                }
                return CopyEnd(path: path)
            }
            guard status.kind == .link else { return CopyEnd(path: path, exists: true, isFolder: status.kind == .folder) }
            let target = try Files.readLink(path)
            path = target.hasPrefix("/") ? target : CopyPath.join(CopyPath.split(path).folder, target)
        }
        throw FlagFault("too many symlinks in \(path)")
    }

    /// Docker's check of a place that a client writes to.
    package static func checkOutput(_ path: String) throws {
        let folder = CopyPath.folder(CopyPath.clean(path))
        if folder != ".", !FileCalls.exists(folder) {
            throw FlagFault("invalid output path: directory \(GoText.quote(folder)) does not exist")
        }
        guard let status = try? Files.status(path) else { return }
        if status.kind == .character || status.kind == .block {
            throw FlagFault("invalid output path: \(GoText.quote(path)) must be a directory or a regular file: got a device")
        }
    }

    private static func status(_ path: String, verb: String = "lstat", follow: Bool = false) throws -> NodeStatus {
        do { return try Files.status(path, follow: follow) } catch let fault as KernelFault { throw said(verb, path, fault) }
    }

    private static func said(_ verb: String, _ path: String, _ fault: KernelFault) -> FlagFault {
        FlagFault("\(verb) \(path): \(fault.reason.lowercased())")
    }

    /// filepath.EvalSymlinks
    private static func resolve(_ path: String) throws -> String {
        if let resolved = FileCalls.resolve(path) { return resolved }
        // The first part that is not there is named.
        var part = ""
        for name in path.split(separator: "/") {
            part += "/" + name
            do { _ = try Files.status(part) } catch let fault as KernelFault where FileCalls.isMissing(fault) {
                throw said("lstat", part, fault)
            } catch { break }
        }
        throw FlagFault("not a directory")
    }
}
