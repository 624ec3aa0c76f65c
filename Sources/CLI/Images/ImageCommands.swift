import Client
import JSON
import Linux
import Model
import Tar

enum ImagesCommand {
    static let command = Command(
        "images", aliases: ["image ls", "image list"], group: .common, "List images", usage: "[OPTIONS] [REPOSITORY[:TAG]]",
        .atMost(1),
        flags: [
            .bool("all", "a", "Show all images (default hides intermediate images)"), .bool("digests", nil, "Show digests"),
            ListFlags.filter, ListFlags.format, .bool("no-trunc", nil, "Don't truncate output"),
            .bool("quiet", "q", "Only show image IDs"), .bool("tree", nil, "List images with their platforms as a tree"),
        ], completes: [.images], run: run)

    @Sendable private static func run(_ invocation: Invocation) throws -> CInt {
        let flags = invocation.flags
        let full = flags.bool("no-trunc")
        let listing = ImageRows(full: full, now: FileCalls.now).listing
        let columns = flags.bool("digests") ? ["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"] : listing.standard
        let shape = try listing.shape(flags.string("format"), columns: columns)
        var query = Query()
        query.flag("all", flags.bool("all"))
        var filters = try ListFlags.filters(flags)
        if let reference = invocation.arguments.first { filters.append(("reference", reference)) }
        query.filters(filters)
        if flags.bool("tree") {
            for (name, isSet) in [
                ("quiet", flags.bool("quiet")), ("no-trunc", full), ("digests", flags.bool("digests")),
                ("format", flags.string("format") != nil),
            ] where isSet { throw FlagFault("--\(name) is not yet supported with --tree") }
            query.flag("manifests", true)
            let images: [Docker.ImageSummary] = try invocation.client().get("/images/json", query)
            let isTerminal = StreamCalls.isTerminal(1)
            let width = isTerminal ? TerminalCalls.size(1)?.columns ?? 0 : 0
            let all = flags.bool("all") || filters.contains { $0.0 == "dangling" }
            let paint = isTerminal && (environmentVariable("NO_COLOR") ?? "").isEmpty
            try Screen.out(ImageTreeListing(images, all: all).text(width: width == 0 ? 80 : width, paint: paint))
            return 0
        }
        let images: [Docker.ImageSummary] = try invocation.client().get("/images/json", query)
        if flags.bool("quiet"), flags.string("format") == nil {
            var seen: Set<String> = []
            let ids = images.map { Shortened.id($0.id ?? "", full: full) }.filter { seen.insert($0).inserted }
            try Screen.out(ids.map { $0 + "\n" }.joined())
            return 0
        }
        let shows = flags.bool("digests") || (flags.string("format")?.contains(text: ".Digest") ?? false)
        try Screen.out(try listing.text(ImageRows.rows(images, digests: shows), shape))
        return 0
    }
}

/// Images as rows: one for each name.
package struct ImageRows {
    package struct Row {
        package let repository: String
        package let tag: String
        package let digest: String
        package let image: Docker.ImageSummary
    }

    let full: Bool
    let now: Int64

    package static func rows(_ images: [Docker.ImageSummary], digests: Bool) -> [Row] {
        images.flatMap { image -> [Row] in
            let tags = (image.repoTags ?? []).filter { $0 != "<none>:<none>" }
            let byDigest = (image.repoDigests ?? []).filter { $0 != "<none>@<none>" }.compactMap { GoText.cut($0, "@") }
            if tags.isEmpty {
                let repository = byDigest.first?.before ?? "<none>"
                return [Row(repository: repository, tag: "<none>", digest: byDigest.first?.after ?? "<none>", image: image)]
            }
            return tags.map { name in
                let (repository, tag) = ImageName.split(name)
                let digest = byDigest.first { $0.before == repository }?.after ?? "<none>"
                return Row(repository: repository, tag: tag, digest: digest, image: image)
            }
        }
    }

    var listing: Listing<Row> {
        Listing(
            type: "*formatter.imageContext",
            columns: [
                .init("ID", "IMAGE ID") { full ? $0.image.id ?? "" : Shortened.id($0.image.id ?? "") },
                .init("Repository", "REPOSITORY") { $0.repository },
                .init("Tag", "TAG") { $0.tag },
                .init("Digest", "DIGEST") { $0.digest },
                .init("CreatedSince", "CREATED") { HumanTime.ago(seconds: Int64($0.image.created ?? 0), now: now) },
                .init("CreatedAt", "CREATED AT") { HumanTime.full(seconds: Int64($0.image.created ?? 0)) },
                .init("Size", "SIZE") { ByteSize.human(Double($0.image.size ?? 0)) },
                .init("Containers", "CONTAINERS") {
                    ($0.image.containers ?? -1) == -1 ? "N/A" : String($0.image.containers ?? 0)
                },
                .init("VirtualSize", "SIZE") { ByteSize.human(Double($0.image.size ?? 0), digits: 4) },
                .init("SharedSize", "SHARED SIZE") {
                    ($0.image.sharedSize ?? -1) == -1 ? "N/A" : ByteSize.human(Double($0.image.sharedSize ?? 0), digits: 4)
                },
                .init("UniqueSize", "UNIQUE SIZE") { row in
                    let shared = row.image.sharedSize ?? -1
                    return shared == -1 ? "N/A" : ByteSize.human(Double((row.image.size ?? 0) - shared), digits: 4)
                },
            ], standard: ["Repository", "Tag", "ID", "CreatedSince", "Size"])
    }
}

enum HistoryCommand {
    static let command = Command(
        "history", aliases: ["image history"], "Show the history of an image", usage: "[OPTIONS] IMAGE", .exactly(1),
        flags: [
            ListFlags.format, .bool("human", "H", "Print sizes and dates in human readable format", shows: "true"),
            .bool("no-trunc", nil, "Don't truncate output"), .bool("quiet", "q", "Only show image IDs"),
        ], completes: [.images]
    ) { invocation in
        let flags = invocation.flags
        let full = flags.bool("no-trunc")
        let human = flags.bool("human", default: true)
        let now = FileCalls.now
        let listing = Listing<Docker.ImageHistoryResponseItem>(
            type: "*image.historyContext",
            columns: [
                .init("ID", "IMAGE") { full ? $0.id ?? "" : Shortened.id($0.id ?? "") },
                .init("CreatedSince", "CREATED") { item in
                    human
                        ? HumanTime.ago(seconds: Int64(item.created ?? 0), now: now)
                        : Timestamp(seconds: Int64(item.created ?? 0)).description
                },
                .init("CreatedAt", "CREATED AT") { Timestamp(seconds: Int64($0.created ?? 0)).description },
                .init("CreatedBy", "CREATED BY") { item in
                    let text = String((item.createdBy ?? "").map { $0 == "\t" ? " " : $0 })
                    return full ? text : Shortened.text(text, 45)
                },
                .init("Size", "SIZE") { human ? ByteSize.human(Double($0.size ?? 0)) : String($0.size ?? 0) },
                .init("Comment", "COMMENT") { $0.comment ?? "" },
            ], standard: ["ID", human ? "CreatedSince" : "CreatedAt", "CreatedBy", "Size", "Comment"])
        let shape = try listing.shape(flags.string("format"))
        let items: [Docker.ImageHistoryResponseItem] = try invocation.client()
            .get("/images/\(Query.path(invocation.arguments[0]))/history")
        if flags.bool("quiet"), flags.string("format") == nil {
            try Screen.out(items.map { (full ? $0.id ?? "" : Shortened.id($0.id ?? "")) + "\n" }.joined())
        } else {
            try Screen.out(try listing.text(items, shape))
        }
        return 0
    }
}

enum ImageChangeCommands {
    static let tag = Command(
        "tag", aliases: ["image tag"], "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        .exactly(2), completes: [.images]
    ) { invocation in
        do { _ = try Reference(invocation.arguments[1]) } catch let fault as Fault {
            throw FlagFault(
                "Error parsing reference: \(GoText.quote(invocation.arguments[1])) is not a valid repository/tag: \(fault.message)"
            )
        }
        let (repository, tag) = ImageName.split(invocation.arguments[1])
        try invocation.client().call(
            "POST", "/images/\(Query.path(invocation.arguments[0]))/tag", Query([("repo", repository), ("tag", tag)]))
        return 0
    }

    static let remove = Command(
        "rmi", aliases: ["image rm", "image remove"], "Remove one or more images", usage: "[OPTIONS] IMAGE [IMAGE...]",
        .atLeast(1),
        flags: [.bool("force", "f", "Force removal of the image"), .bool("no-prune", nil, "Do not delete untagged parents")],
        completes: [.images]
    ) { invocation in
        var query = Query()
        query.flag("force", invocation.flags.bool("force"))
        query.flag("noprune", invocation.flags.bool("no-prune"))
        let client = try invocation.client()
        var faults: [String] = []
        var failed = false
        // One after the other: images may be each other's parents.
        for name in invocation.arguments {
            do {
                let items: [Docker.ImageDeleteResponseItem] = try EngineClient.decode(
                    try client.call("DELETE", "/images/\(Query.path(name))", query))
                for item in items {
                    if let deleted = item.deleted, !deleted.isEmpty {
                        try Screen.out("Deleted: \(deleted)\n")
                    } else {
                        try Screen.out("Untagged: \(item.untagged ?? "")\n")
                    }
                }
            } catch let refusal as EngineRefusal {
                faults.append(refusal.description)
                failed = failed || !(refusal.isNotFound && invocation.flags.bool("force"))
            }
        }
        if !faults.isEmpty { Screen.error(faults.joined(separator: "\n") + "\n") }
        return failed ? 1 : 0
    }

    static let prune = PruneCommand.make(
        "image prune", "image", "/images/prune", "Remove unused images", question: "This will remove all dangling images.",
        list: "ImagesDeleted", title: "Deleted Images:", all: "Remove all unused images, not just dangling ones",
        allQuestion: "This will remove all images without at least one container associated to them.")
}

/// Archives that become images, and images that become archives.
enum ArchiveCommands {
    static let importFile = Command(
        "import", aliases: ["image import"], "Import the contents from a tarball to create a filesystem image",
        usage: "[OPTIONS] file|- [REPOSITORY[:TAG]]", .atLeast(1),
        flags: [
            .list("change", "c", "Apply Dockerfile instruction to the created image"),
            .string("message", "m", "Set commit message for imported image"),
            .string("platform", nil, "Set platform if server is multi-platform capable"),
        ], completes: [.files, .images]
    ) { invocation in
        let flags = invocation.flags
        let source = invocation.arguments[0]
        if source.hasPrefix("http://") || source.hasPrefix("https://") {
            throw FlagFault("importing from a URL is not supported: fetch it first, curl … | skiff import - NAME")
        }
        var query = Query([("fromSrc", "-")])
        if invocation.arguments.count > 1 {
            do { _ = try Reference(invocation.arguments[1]) } catch let fault as Fault { throw FlagFault(fault.message) }
            let (repository, tag) = ImageName.split(invocation.arguments[1])
            query.add("repo", repository)
            query.add("tag", tag)
        }
        query.add(ifSet: "message", flags.string("message") ?? "")
        for change in flags.list("change") { query.add("changes", change) }
        query.add(ifSet: "platform", flags.string("platform") ?? "")
        let file = try source == "-" ? FileCalls.standardInput() : open(source)
        try ArchiveUpload(try invocation.client()).send("/images/create", query, from: file.raw, quiet: false)
        return 0
    }

    static let load = Command(
        "load", aliases: ["image load"], "Load an image from a tar archive or STDIN", usage: "[OPTIONS]", .none,
        flags: [
            .string("input", "i", "Read from tar archive file or OCI layout folder, instead of STDIN", values: .files),
            .string("platform", nil, "Load only the given platform variant"),
            .bool("quiet", "q", "Suppress the load output"),
        ]
    ) { invocation in
        let input = invocation.flags.string("input") ?? ""
        if input.isEmpty, StreamCalls.isTerminal(0) { throw FlagFault("requested load from stdin, but stdin is empty") }
        let isQuiet = invocation.flags.bool("quiet")
        var query = Query([("quiet", isQuiet ? "1" : "0")])
        try query.platform(invocation.flags.string("platform") ?? "")
        let upload = ArchiveUpload(try invocation.client())
        if !input.isEmpty, FileCalls.isFolder(input) {
            try upload.send("/images/load", query, folder: input, quiet: isQuiet)
        } else {
            let file = try input.isEmpty ? FileCalls.standardInput() : open(input)
            try upload.send("/images/load", query, from: file.raw, quiet: isQuiet)
        }
        return 0
    }

    static let save = Command(
        "save", aliases: ["image save"], "Save one or more images to a tar archive (streamed to STDOUT by default)",
        usage: "[OPTIONS] IMAGE [IMAGE...]", .atLeast(1),
        flags: [
            .string(
                "format", nil, "Form of the output: \"tar\", or \"oci-dir\" for a folder in OCI layout", shows: "\"tar\"",
                values: .words(["tar", "oci-dir"])),
            .string("output", "o", "Write to a file or, ending in a slash, to a folder, instead of STDOUT", values: .files),
            .string("platform", nil, "Save only the given platform variant"),
        ], completes: [.images]
    ) { invocation in
        let flags = invocation.flags
        var query = Query(invocation.arguments.map { ("names", $0) })
        try query.platform(flags.string("platform") ?? "")
        let output = flags.string("output") ?? ""
        let format = flags.string("format") ?? (output.hasSuffix("/") || FileCalls.isFolder(output) ? "oci-dir" : "tar")
        switch format {
        case "tar": try download(invocation, "/images/get", query, "failed to save image")
        case "oci-dir":
            guard !output.isEmpty else { throw FlagFault("a folder needs a name: give --output") }
            try unpack(try invocation.client().stream("GET", "/images/get", query), into: output)
        default: throw FlagFault("unknown format \(GoText.quote(format)): \"tar\" and \"oci-dir\" are known")
        }
        return 0
    }

    /// The archive's files in a folder of their own: what is there already must be empty.
    private static func unpack(_ stream: HTTPConnection, into folder: String) throws {
        stream.useLargeBuffer()
        try Files.makeFolders(folder, mode: 0o755)
        let root = try Descriptor.open(folder, [.read, .directory])
        guard try root.names().isEmpty else { throw FlagFault("\(folder) is not empty") }
        var rules = ExtractionRules()
        rules.owner = .caller
        rules.place = folder
        try TreeExtractor(root: root, rules).extract(TarReader(AnswerBody(stream)))
    }

    static let export = Command(
        "export", aliases: ["container export"], "Export a container's filesystem as a tar archive",
        usage: "[OPTIONS] CONTAINER", .exactly(1),
        flags: [.string("output", "o", "Write to a file, instead of STDOUT", values: .files)], completes: [.containers]
    ) { invocation in
        try download(
            invocation, "/containers/\(Query.path(invocation.arguments[0]))/export", Query(), "failed to export container")
        return 0
    }

    private static func download(_ invocation: Invocation, _ path: String, _ query: Query, _ failure: String) throws {
        let output = invocation.flags.string("output") ?? ""
        if output.isEmpty, StreamCalls.isTerminal(1) {
            throw FlagFault("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        }
        if let slash = output.lastIndex(of: "/"), slash != output.startIndex, !FileCalls.isFolder(String(output[..<slash])) {
            throw FlagFault("\(failure): invalid output path: stat \(output[..<slash]): no such file or directory")
        }
        let stream = try invocation.client().stream("GET", path, query)
        stream.useLargeBuffer()
        guard !output.isEmpty else {
            while try stream.readBody({ try StreamCalls.writeAll(1, $0) }) != nil {}
            return
        }
        // Written aside and renamed: a download that breaks off leaves no half archive under the name.
        let part = output + ".part"
        do {
            let file = try FileCalls.create(part, mode: 0o600)
            while try stream.readBody({ try StreamCalls.writeAll(file.raw, $0) }) != nil {}
            try FileCalls.rename(part, output)
        } catch {
            FileCalls.unlink(part)
            throw error
        }
    }

    private static func open(_ path: String) throws -> Descriptor {
        do { return try FileCalls.open(path) } catch let fault as KernelFault {
            throw FlagFault("open \(path): \(fault.reason.lowercasedFirst)")
        }
    }
}

/// Sends an archive and shows the engine's messages.
struct ArchiveUpload {
    private let client: EngineClient

    init(_ client: EngineClient) { self.client = client }

    func send(_ path: String, _ query: Query, from fd: CInt, quiet: Bool) throws {
        let progress = UploadProgress(total: FileCalls.size(fd), quiet: quiet)
        try send(path, query, progress, quiet: quiet) { connection in
            var buffer = [UInt8](repeating: 0, count: 256 << 10)
            while true {
                let count = try buffer.withUnsafeMutableBytes { try StreamCalls.read(fd, into: $0) }
                if count == 0 { break }
                try buffer.withUnsafeBytes { try connection.sendChunk(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
                progress.add(count)
            }
        }
    }

    /// A folder's content as an archive.
    func send(_ path: String, _ query: Query, folder: String, quiet: Bool) throws {
        let progress = UploadProgress(total: nil, quiet: quiet)
        let root = try Descriptor.open(folder, [.read, .directory])
        try send(path, query, progress, quiet: quiet) { connection in
            let sink = RequestBodySink(connection)
            try TreeArchiver(sink, .tree).archive(root)
            try sink.flush()
        }
    }

    private func send(
        _ path: String, _ query: Query, _ progress: UploadProgress, quiet: Bool, _ write: (HTTPConnection) throws -> Void
    ) throws {
        let connection = try client.begin("POST", path, query, body: .chunked(type: "application/x-tar"))
        do {
            try write(connection)
            try connection.endChunks()
        } catch let fault as KernelFault where SocketCalls.isBrokenPipe(fault) {
            // The engine refused before it had read everything: its words follow.
        }
        progress.end()
        try client.finishHead(connection)
        // What was loaded is said in any case.
        try ProgressStream(quiet: false).show(connection)
    }
}

/// `Uploading 12.3MB / 60MB` in place, on a terminal, when it takes longer than a moment.
final class UploadProgress {
    private let total: Int?
    private let isShown: Bool
    private var sent = 0
    private var last = FileCalls.monotonic
    private var wasShown = false

    init(total: Int?, quiet: Bool) {
        self.total = total
        isShown = !quiet && StreamCalls.isTerminal(2)
    }

    func add(_ count: Int) {
        sent += count
        guard isShown, FileCalls.monotonic - last > 200_000_000 else { return }
        last = FileCalls.monotonic
        wasShown = true
        let whole = total.map { " / " + ByteSize.human(Double($0)) } ?? ""
        Screen.error("\r\u{1B}[2KUploading \(ByteSize.human(Double(sent)))\(whole)")
    }

    func end() { if wasShown { Screen.error("\r\u{1B}[2K") } }
}
