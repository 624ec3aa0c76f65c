import Client
import JSON
import Linux
import Model

/// Indexes of several platforms: gathered in the client's configuration folder, put together by the engine.
enum ManifestCommands {
    private static let insecure = Flag(
        "insecure", nil, .bool, "Allow communication with an insecure registry (the engine's own setting decides)", hidden: true
    )

    static let create = Command(
        "manifest create", "Create a local manifest list for annotating and pushing to a registry",
        usage: "MANIFEST_LIST MANIFEST [MANIFEST...]", .atLeast(2),
        flags: [.bool("amend", "a", "Amend an existing manifest list"), insecure], completes: [.images]
    ) { invocation in
        let list = try Reference(invocation.arguments[0]).withDefaultTag
        var draft = try ManifestDraft(invocation, list)
        if !draft.entries.isEmpty, !invocation.flags.bool("amend") {
            throw FlagFault("refusing to amend an existing manifest list with no --amend flag")
        }
        for text in invocation.arguments.dropFirst() { try draft.add(try ManifestDraft.fetch(invocation, text)) }
        try draft.save()
        try Screen.out("Created manifest list \(list)\n")
        return 0
    }

    static let annotate = Command(
        "manifest annotate", "Add additional information to a local image manifest", usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
        .exactly(2),
        flags: [
            .string("arch", nil, "Set architecture"), .string("os", nil, "Set operating system"),
            .string("variant", nil, "Set architecture variant"),
        ], completes: [.images]
    ) { invocation in
        let list = try Reference(invocation.arguments[0]).withDefaultTag
        let image = try Reference(invocation.arguments[1]).withDefaultTag.description
        var draft = try ManifestDraft(invocation, list)
        guard let index = draft.entries.firstIndex(where: { $0.image == image }) else {
            throw FlagFault("manifest for image \(try Reference(image).familiar) does not exist in \(list.familiar)")
        }
        let flags = invocation.flags
        if let text = flags.string("arch") { draft.entries[index].architecture = text }
        if let text = flags.string("os") { draft.entries[index].os = text }
        if let text = flags.string("variant") { draft.entries[index].variant = text }
        let (system, architecture) = (draft.entries[index].os, draft.entries[index].architecture)
        guard isKnown(system, architecture) else {
            throw FlagFault("manifest entry for image has unsupported os/arch combination: \(system)/\(architecture)")
        }
        try draft.save()
        return 0
    }

    /// What Go compiles for, as far as images are made of it.
    private static func isKnown(_ system: String, _ architecture: String) -> Bool {
        let known = [
            "linux": "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x",
            "windows": "386 amd64 arm arm64",
            "darwin": "amd64 arm64", "freebsd": "386 amd64 arm arm64 riscv64", "openbsd": "386 amd64 arm arm64",
            "netbsd": "386 amd64 arm arm64",
            "solaris": "amd64", "aix": "ppc64", "android": "386 amd64 arm arm64", "dragonfly": "amd64", "illumos": "amd64",
            "plan9": "386 amd64 arm", "js": "wasm", "wasip1": "wasm", "ios": "amd64 arm64",
        ]
        return known[system]?.split(separator: " ").contains { $0 == architecture } == true
    }

    static let inspect = Command(
        "manifest inspect", "Display an image manifest, or manifest list", usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
        .between(1, 2),
        flags: [insecure, .bool("verbose", "v", "Output additional info including layers and platform")], completes: [.images]
    ) { invocation in
        if invocation.arguments.count == 1 {
            let draft = try ManifestDraft(invocation, try Reference(invocation.arguments[0]).withDefaultTag)
            if !draft.entries.isEmpty {
                try Screen.out(draft.document.indented() + "\n")
                return 0
            }
        }
        let answer = try ManifestDraft.manifest(invocation, invocation.arguments[invocation.arguments.count - 1])
        let shown = invocation.flags.bool("verbose") ? answer : answer["Manifest"] ?? answer
        try Screen.out(shown.indented() + "\n")
        return 0
    }

    static let push = Command(
        "manifest push", "Push a manifest list to a repository", usage: "[OPTIONS] MANIFEST_LIST", .exactly(1),
        flags: [
            insecure, .bool("oci", nil, "Push an OCI index instead of a docker manifest list", shows: "true"),
            .bool("purge", "p", "Remove the local manifest list after push"),
        ], completes: [.images]
    ) { invocation in
        let list = try Reference(invocation.arguments[0]).withDefaultTag
        let draft = try ManifestDraft(invocation, list)
        guard !draft.entries.isEmpty else { throw FlagFault("No such manifest: \(list.familiar)") }
        let body = draft.request(docker: !invocation.flags.bool("oci", default: true))
        let bytes = try invocation.client().call(
            "PUT", "/skiff/v1/manifests/\(Query.path(list.description))", body: .json(body),
            headers: try invocation.credentialHeaders(for: list))
        let answer = try EngineClient.decode(bytes, as: JSONValue.self)
        try Screen.out((answer["digest"]?.string ?? "") + "\n")
        if invocation.flags.bool("purge") { draft.remove() }
        return 0
    }

    static let remove = Command(
        "manifest rm", "Delete one or more manifest lists from local storage", usage: "MANIFEST_LIST [MANIFEST_LIST...]",
        .atLeast(1), completes: [.images]
    ) { invocation in
        var missing: [String] = []
        for text in invocation.arguments {
            let draft = try ManifestDraft(invocation, try Reference(text).withDefaultTag)
            if draft.entries.isEmpty { missing.append("No such manifest: \(text)") } else { draft.remove() }
        }
        guard missing.isEmpty else { throw ExitStatus(1, missing.joined(separator: "\n")) }
        return 0
    }
}

/// A list that is being put together: a file in the client's configuration folder.
struct ManifestDraft {
    struct Entry: JSONWritable {
        /// Normalised, with its digest where that is known.
        var image: String
        var digest: String
        var mediaType: String
        var size: Int
        var architecture: String
        var os: String
        var variant: String

        func write(to writer: inout JSONWriter) {
            writer.object { writer in
                writer.member("image", image)
                writer.member("digest", digest)
                writer.member("mediaType", mediaType)
                writer.member("size", size)
                writer.member("architecture", architecture)
                writer.member("os", os)
                writer.member("variant", variant)
            }
        }
    }

    private let path: String
    private let folder: String
    var entries: [Entry] = []

    init(_ invocation: Invocation, _ list: Reference) throws {
        folder = try CredentialFile(folder: invocation.configFolder).folder + "/skiff-manifests"
        path = folder + "/" + list.description.map { $0 == "/" || $0 == ":" ? "_" : String($0) }.joined() + ".json"
        guard FileCalls.exists(path) else { return }
        let value = try EngineClient.decode(try FileCalls.read(path), as: JSONValue.self)
        entries = (value["entries"]?.array ?? []).map { Self.entry($0) }
    }

    private static func entry(_ value: JSONValue) -> Entry {
        Entry(
            image: value["image"]?.string ?? "", digest: value["digest"]?.string ?? "",
            mediaType: value["mediaType"]?.string ?? "",
            size: value["size"]?.int ?? 0, architecture: value["architecture"]?.string ?? "", os: value["os"]?.string ?? "",
            variant: value["variant"]?.string ?? "")
    }

    mutating func add(_ entry: Entry) throws {
        if let index = entries.firstIndex(where: { $0.image == entry.image }) {
            entries[index] = entry
        } else {
            entries.append(entry)
        }
    }

    /// What the registry says of a name: `{"Ref","Descriptor","Manifest","Platform"}`.
    static func manifest(_ invocation: Invocation, _ text: String) throws -> JSONValue {
        let name = try Reference(text).withDefaultTag
        do {
            return try EngineClient.decode(
                try invocation.client().call(
                    "GET", "/skiff/v1/manifests/\(Query.path(name.description))",
                    headers: try invocation.credentialHeaders(for: name)))
        } catch let refusal as EngineRefusal where refusal.isNotFound {
            throw FlagFault("no such manifest: \(name.familiar)")
        }
    }

    static func fetch(_ invocation: Invocation, _ text: String) throws -> Entry {
        let answer = try manifest(invocation, text)
        guard answer["Manifest"]?["manifests"] == nil else { throw FlagFault("\(text) is a manifest list") }
        let platform = answer["Platform"]
        return Entry(
            image: try Reference(text).withDefaultTag.description, digest: answer["Descriptor"]?["digest"]?.string ?? "",
            mediaType: answer["Descriptor"]?["mediaType"]?.string ?? "", size: answer["Descriptor"]?["size"]?.int ?? 0,
            architecture: platform?["architecture"]?.string ?? "", os: platform?["os"]?.string ?? "",
            variant: platform?["variant"]?.string ?? "")
    }

    func request(docker: Bool) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("docker", docker)
            writer.member("entries", entries)
        }
        return writer.bytes
    }

    /// As it will be pushed.
    var document: JSONValue {
        func text(_ key: String, _ value: String) -> JSONValue.Member { .init(key: key, value: .string(value)) }
        let manifests = entries.map { entry -> JSONValue in
            var platform = [text("architecture", entry.architecture), text("os", entry.os)]
            if !entry.variant.isEmpty { platform.append(text("variant", entry.variant)) }
            return .object([
                text("mediaType", entry.mediaType), .init(key: "size", value: .number(String(entry.size))),
                text("digest", entry.digest), .init(key: "platform", value: .object(platform)),
            ])
        }
        return .object([
            .init(key: "schemaVersion", value: .number("2")), text("mediaType", "application/vnd.oci.image.index.v1+json"),
            .init(key: "manifests", value: .array(manifests)),
        ])
    }

    func save() throws {
        try Files.makeFolders(folder, mode: 0o700)
        let file = try FileCalls.create(path + ".new", mode: 0o600)
        try StreamCalls.writeAll(file.raw, request(docker: false))
        try FileCalls.rename(path + ".new", path)
    }

    func remove() { FileCalls.unlink(path) }
}
