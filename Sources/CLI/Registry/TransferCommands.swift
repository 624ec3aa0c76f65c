import Client
import JSON
import Linux
import Model

enum TransferCommands {
    static let pull = Command(
        "pull", aliases: ["image pull"], group: .common, "Download an image from a registry",
        usage: "[OPTIONS] NAME[:TAG|@DIGEST]", .exactly(1),
        flags: [
            .bool("all-tags", "a", "Download all tagged images in the repository"),
            .string("platform", nil, "Set platform if server is multi-platform capable"),
            .bool("quiet", "q", "Suppress verbose output"),
        ], completes: [.images]
    ) { invocation in
        let flags = invocation.flags
        let isQuiet = flags.bool("quiet")
        let name = try tagged(invocation.arguments[0], all: flags.bool("all-tags"), quiet: isQuiet)
        try ImagePull(invocation, platform: flags.string("platform") ?? "")
            .run(name, all: flags.bool("all-tags"), ProgressStream(quiet: isQuiet))
        try Screen.out(name.description + "\n")
        return 0
    }

    static let push = Command(
        "push", aliases: ["image push"], group: .common, "Upload an image to a registry", usage: "[OPTIONS] NAME[:TAG]",
        .exactly(1),
        flags: [
            .bool("all-tags", "a", "Push all tags of an image to the repository"),
            .string("platform", nil, "Push a platform-specific manifest as a single-platform image to the registry."),
            .bool("quiet", "q", "Suppress verbose output"),
        ], completes: [.images]
    ) { invocation in
        let flags = invocation.flags
        let isQuiet = flags.bool("quiet")
        let name = try tagged(invocation.arguments[0], all: flags.bool("all-tags"), quiet: isQuiet)
        var query = Query([("tag", name.tag ?? "")])
        try query.platform(flags.string("platform") ?? "")
        let stream = try invocation.client().stream(
            "POST", "/images/\(Query.path(name.familiarName))/push", query,
            headers: try pushHeaders(invocation, name))
        try ProgressStream(quiet: isQuiet).show(stream)
        if isQuiet { try Screen.out(name.description + "\n") }
        return 0
    }

    /// A push always has the header: engines tell by it that there is nobody to ask.
    private static func pushHeaders(_ invocation: Invocation, _ name: Reference) throws -> [(String, String)] {
        let headers = try invocation.credentialHeaders(for: name)
        return headers.isEmpty ? [("X-Registry-Auth", RegistryCredential().header)] : headers
    }

    private static func tagged(_ text: String, all: Bool, quiet: Bool) throws -> Reference {
        let name = try Reference(text)
        guard name.tag == nil, name.digest == nil else {
            if all { throw FlagFault("tag can't be used with --all-tags/-a") }
            return name
        }
        if all { return name }
        if !quiet { try Screen.out("Using default tag: latest\n") }
        return try name.tagged(Reference.defaultTag)
    }

    static let search = Command(
        "search", "Search Docker Hub for images", usage: "[OPTIONS] TERM", .exactly(1),
        flags: [
            ListFlags.filter, .string("format", nil, "Pretty-print search using a Go template"),
            Flag("limit", nil, .int, "Max number of search results"), .bool("no-trunc", nil, "Don't truncate output"),
        ]
    ) { invocation in
        let flags = invocation.flags
        let term = invocation.arguments[0]
        let full = flags.bool("no-trunc")
        let listing = searchListing(full: full)
        let shape = try listing.shape(flags.string("format"))
        var query = Query([("term", term)])
        if let limit = flags.int("limit") { query.add("limit", String(limit)) }
        query.filters(try ListFlags.filters(flags))
        let bytes = try invocation.client().call(
            "GET", "/images/search", query, headers: try invocation.headers(for: registry(of: term)))
        try Screen.out(try listing.text(try EngineClient.decode(bytes), shape))
        return 0
    }

    /// `registry.example:5000/term` asks that registry, anything else the Hub.
    private static func registry(of term: String) -> String {
        guard let (host, _) = GoText.cut(term, "/"), host.contains(".") || host.contains(":") || host == "localhost" else {
            return CredentialFile.hub
        }
        return CredentialFile.key(of: host)
    }

    private static func searchListing(full: Bool) -> Listing<Docker.ImageSearchResponseItem> {
        Listing(
            type: "*search.searchContext",
            columns: [
                .init("Name", "NAME") { $0.name ?? "" },
                .init("Description", "DESCRIPTION") { item in
                    let text = (item.description ?? "").map { $0 == "\n" || $0 == "\r" ? " " : String($0) }.joined()
                    return full ? text : Shortened.text(text, 45)
                },
                .init("StarCount", "STARS") { String($0.starCount ?? 0) },
                .init("IsOfficial", "OFFICIAL") { $0.isOfficial == true ? "[OK]" : "" },
                .init("IsAutomated", "AUTOMATED") { $0.isAutomated == true ? "[OK]" : "" },
            ], standard: ["Name", "Description", "StarCount", "IsOfficial"])
    }
}

/// Fetches an image by way of the engine, for `pull`, `run` and `create`.
struct ImagePull {
    private let invocation: Invocation
    private let platform: String

    init(_ invocation: Invocation, platform: String) {
        self.invocation = invocation
        self.platform = platform
    }

    func run(_ name: Reference, all: Bool = false, _ progress: ProgressStream) throws {
        var query = Query([("fromImage", name.familiarName)])
        if !all { query.add("tag", name.digest?.description ?? name.tag ?? Reference.defaultTag) }
        try query.platform(platform)
        let stream = try invocation.client().stream(
            "POST", "/images/create", query, headers: try invocation.credentialHeaders(for: name))
        try progress.show(stream)
    }
}

extension Query {
    /// `linux/arm64/v8` of a --platform flag.
    mutating func platform(_ text: String) throws { add(ifSet: "platform", text.lowercased()) }
}
