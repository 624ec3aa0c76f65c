import Client
import Linux
import Model
import Tar

enum CopyCommand {
    static let command = Command(
        "cp", aliases: ["container cp"], "Copy files/folders between a container and the local filesystem",
        usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n  skiff cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH", .exactly(2),
        flags: [
            .bool("archive", "a", "Archive mode (copy all uid/gid information)"),
            .bool("follow-link", "L", "Always follow symbol link in SRC_PATH"),
            .bool(
                "quiet", "q",
                "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached"),
        ],
        details:
            "Use '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\n"
            + "Use '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
        completes: [.files, .files]
    ) { invocation in
        let (from, to) = (invocation.arguments[0], invocation.arguments[1])
        guard !from.isEmpty else { throw FlagFault("source can not be empty") }
        guard !to.isEmpty else { throw FlagFault("destination can not be empty") }
        let (source, sourcePath) = CopyRules.split(from)
        let (destination, destinationPath) = CopyRules.split(to)
        let copy = Copy(try invocation.client(), invocation.flags)
        switch (source, destination) {
        case (_?, _?): throw FlagFault("copying between containers is not supported")
        case (nil, nil): throw FlagFault("must specify at least one container source")
        case (let container?, nil): try copy.out(container, sourcePath, to: destinationPath)
        case (nil, let container?): try copy.into(container, destinationPath, from: sourcePath)
        }
        return 0
    }
}

/// One `cp`.
private struct Copy {
    private let client: EngineClient
    private let follows: Bool
    private let keepsOwner: Bool
    private let isQuiet: Bool

    init(_ client: EngineClient, _ flags: Parsed) {
        self.client = client
        follows = flags.bool("follow-link")
        keepsOwner = flags.bool("archive")
        isQuiet = flags.has("quiet") ? flags.bool("quiet") : !StreamCalls.isTerminal(1)
    }

    private func target(_ container: String) -> String { "/containers/\(Query.path(container))/archive" }

    private func stat(_ container: String, _ path: String) throws -> PathStat {
        let head = try client.head(target(container), Query([("path", path)]))
        guard let stat = head.field(PathStat.header.lowercased()).flatMap({ PathStat(encoded: $0) }) else {
            throw Fault(.system, "the engine's answer does not say what is at \(path)")
        }
        return stat
    }

    /// Where a link of the container leads, as a path from its root.
    private static func followed(_ stat: PathStat, _ path: String) -> String {
        stat.linkTarget.hasPrefix("/") ? stat.linkTarget : CopyPath.join(CopyPath.split(path).folder, stat.linkTarget)
    }

    // MARK: Out of a container

    func out(_ container: String, _ path: String, to destination: String) throws {
        let isStream = destination == "-"
        let local = isStream ? destination : try CopyRules.absolute(destination)
        if !isStream { try CopyRules.checkOutput(local) }
        var source = CopyEnd(path: path, exists: true)
        if follows, let stat = try? stat(container, path), stat.isLink {
            (source.path, source.rename) = CopyRules.rename(path, resolved: Self.followed(stat, path))
        }
        let stream = try client.stream("GET", target(container), Query([("path", source.path)]))
        guard let stat = client.lastHead.field(PathStat.header.lowercased()).flatMap({ PathStat(encoded: $0) }) else {
            throw Fault(.system, "the engine's answer does not say what is at \(path)")
        }
        stream.useLargeBuffer()
        if isStream {
            while try stream.readBody({ try StreamCalls.writeAll(1, $0) }) != nil {}
            return
        }
        source.isFolder = stat.isFolder
        let progress = CopyProgress("Copying from container - ", isQuiet: isQuiet)
        do {
            try unpack(source, local, AnswerBody(stream) { progress.add($0) })
            progress.end()
        } catch {
            progress.end()
            throw error
        }
        say(progress.count, local)
    }

    private func unpack(_ source: CopyEnd, _ local: String, _ tar: AnswerBody) throws {
        let plan = try CopyRules.plan(from: source, to: try CopyRules.localDestination(local))
        var rules = ExtractionRules()
        rules.owner = .caller
        rules.keepsKinds = true
        rules.place = plan.folder
        let folder: Descriptor
        do { folder = try Descriptor.open(plan.folder, [.read, .directory]) } catch let fault as KernelFault {
            throw FlagFault("open \(plan.folder): \(fault.reason.lowercased())")
        }
        let base = CopyPath.split(source.path).base
        try TreeExtractor(root: folder, rules).extract(TarReader(tar)) { name in
            plan.name(source.rename.map { CopyPlan.replace(name, base, $0) } ?? name)
        }
    }

    // MARK: Into a container

    func into(_ container: String, _ path: String, from source: String) throws {
        let isStream = source == "-"
        let local = isStream ? source : try CopyRules.absolute(source)
        var destination = CopyEnd(path: path)
        var found = try stat(orNone: container, path)
        if let link = found, link.isLink {
            destination.path = Self.followed(link, path)
            found = try stat(orNone: container, destination.path)
        }
        if let found {
            if found.mode & PathStat.Mode.device != 0 {
                throw FlagFault("destination \"\(container):\(path)\" must be a directory or a regular file: got a device")
            }
            destination.exists = true
            destination.isFolder = found.isFolder
        }
        if isStream {
            guard destination.isFolder else { throw FlagFault("destination \"\(container):\(path)\" must be a directory") }
            return try upload(container, destination.path) { sink in
                try DescriptorSource(FileCalls.standardInput()).copy(to: sink)
            }
        }
        let end = try CopyRules.localSource(local, follow: follows)
        let plan = try CopyRules.plan(from: end, to: destination)
        let progress = CopyProgress("Copying to container - ", isQuiet: isQuiet)
        do {
            try upload(container, plan.folder) { sink in try pack(end, plan, CountingSink(sink, progress)) }
            progress.end()
        } catch {
            progress.end()
            throw error
        }
        say(progress.count, container + ":" + destination.path)
    }

    private func stat(orNone container: String, _ path: String) throws -> PathStat? {
        do { return try stat(container, path) } catch is EngineRefusal { return nil }
    }

    private func pack(_ source: CopyEnd, _ plan: CopyPlan, _ sink: any ByteSink) throws {
        let (parent, base) = CopyPath.split(source.path)
        let name = plan.name(Array((source.rename ?? base).utf8))
        let archiver = TreeArchiver(sink, .tree)
        archiver.wholeSeconds = true
        do {
            if source.isFolder {
                let folder = try Descriptor.open(base == "/" ? "/" : parent + "/" + base, [.read, .directory])
                try archiver.add(folder: folder, as: name)
            } else {
                try archiver.add(Array(base.utf8), in: try Descriptor.open(parent, [.read, .directory]), as: name)
            }
        } catch let fault as KernelFault where !SocketCalls.isBrokenPipe(fault) {
            throw FlagFault("\(source.path): \(fault.reason.lowercased())")
        }
        try archiver.finish()
    }

    private func upload(_ container: String, _ folder: String, _ write: (any ByteSink) throws -> Void) throws {
        var query = Query([("path", folder), ("noOverwriteDirNonDir", "true")])
        if keepsOwner { query.add("copyUIDGID", "true") }
        let connection = try client.begin("PUT", target(container), query, body: .chunked(type: "application/x-tar"))
        do {
            let sink = RequestBodySink(connection)
            try write(sink)
            try sink.flush()
            try connection.endChunks()
        } catch let fault as KernelFault where SocketCalls.isBrokenPipe(fault) {
            // The engine refused before it had read everything: its words follow.
        }
        _ = try client.finish(connection)
    }

    private func say(_ count: Int, _ place: String) {
        guard !isQuiet else { return }
        Screen.error("Successfully copied \(ByteSize.human(Double(count))) to \(place)\n")
    }
}

private final class CountingSink: ByteSink {
    private let sink: any ByteSink
    private let progress: CopyProgress

    init(_ sink: any ByteSink, _ progress: CopyProgress) {
        self.sink = sink
        self.progress = progress
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        try sink.write(bytes)
        progress.add(bytes.count)
    }
}

/// What has been copied so far, in place, on a terminal.
private final class CopyProgress {
    private(set) var count = 0
    private let header: String
    private let isShown: Bool
    private var last = FileCalls.monotonic
    private var wasShown = false

    init(_ header: String, isQuiet: Bool) {
        self.header = header
        isShown = !isQuiet && StreamCalls.isTerminal(2)
    }

    func add(_ bytes: Int) {
        count += bytes
        guard isShown, FileCalls.monotonic - last > 200_000_000 else { return }
        last = FileCalls.monotonic
        wasShown = true
        Screen.error("\r\u{1B}[2K\(header)\(ByteSize.human(Double(count)))")
    }

    func end() {
        if wasShown { Screen.error("\r\u{1B}[2K") }
        wasShown = false
    }
}
