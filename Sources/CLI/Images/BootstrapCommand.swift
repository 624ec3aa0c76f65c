import Client
import JSON
import Linux
import Model

enum BootstrapCommand {
    static let command = Command(
        "bootstrap", aliases: ["image bootstrap"], group: .common, "Make a base image from a distribution's packages",
        usage: "[OPTIONS] DISTRIBUTION:SUITE", .exactly(1),
        flags: [
            .list("include", nil, "Packages to install besides the base system (a,b,c)"),
            .list("change", "c", "Apply Dockerfile instruction to the created image"),
            .string("components", nil, "Components of the repository", shows: "\"main\""),
            .string("keyring", nil, "Keyring that signs the repository (default: the distribution's)", values: .files),
            .string("mirror", nil, "URL of the repository (default: the one in this machine's apt configuration)"),
            .bool("quiet", "q", "Only print the image's ID"),
            .string("tag", "t", "Name of the image (default: DISTRIBUTION:SUITE)"),
            .string(
                "variant", nil, "What belongs to the base system", shows: "\"minbase\"",
                values: .words(["minbase", "apt", "essential", "standard"])),
        ],
        details:
            "The packages come from the repository directly, checked against its keyring; nothing is downloaded from an image registry.\n"
            + "Needs mmdebstrap (or debootstrap) and the distribution's keyring on this machine.\n\n"
            + "The origin of the image stays with it: /usr/share/skiff/bootstrap.json has the command, the repository and the packages that\n"
            + "were asked for, /usr/share/skiff/packages every package with its version. Labels org.skiff.bootstrap.* (image inspect) and\n"
            + "the comment in its history say the same in short.\n\nExamples:\n"
            + "  skiff bootstrap debian:bookworm\n  skiff bootstrap debian:bookworm --include nginx-light,ca-certificates -t nginx-base",
        run: run)

    @Sendable private static func run(_ invocation: Invocation) throws -> CInt {
        let flags = invocation.flags
        let (distribution, suite) = try BootstrapPlan.source(invocation.arguments[0])
        let packages = try BootstrapPlan.packages(flags.list("include"))
        let (tool, program) = try findTool()
        let keyring = try findKeyring(flags, distribution)
        let client = try invocation.client()
        // The engine first: it is no use to fetch packages for one that does not answer.
        try client.call("GET", "/_ping")
        let plan = BootstrapPlan(
            distribution: distribution, suite: suite, mirror: try findMirror(flags, distribution),
            variant: flags.string("variant") ?? "minbase",
            components: flags.string("components") ?? "main", packages: packages, keyring: keyring,
            reference: flags.string("tag") ?? "\(distribution):\(suite)")
        let build = BootstrapBuild(plan: plan, tool: tool, program: program, client: client, quiet: flags.bool("quiet"))
        return try build.run(changes: flags.list("change"))
    }

    private static func findTool() throws -> (BootstrapPlan.Tool, String) {
        if let program = LaunchCalls.find("mmdebstrap") { return (.mmdebstrap, program) }
        if let program = LaunchCalls.find("debootstrap") { return (.debootstrap, program) }
        throw FlagFault("neither mmdebstrap nor debootstrap is installed: apt-get install mmdebstrap")
    }

    private static func findKeyring(_ flags: Parsed, _ distribution: String) throws -> String {
        if let given = flags.string("keyring"), !given.isEmpty {
            guard FileCalls.exists(given) else { throw FlagFault("no such keyring: \(given)") }
            return HostPath.absolute(given)
        }
        guard let usual = BootstrapPlan.keyrings[distribution] else {
            throw FlagFault("no keyring is known for \(distribution): give --keyring")
        }
        guard FileCalls.exists(usual.file) else {
            throw FlagFault("the keyring \(usual.file) is missing: apt-get install \(usual.package), or give --keyring")
        }
        return usual.file
    }

    private static func findMirror(_ flags: Parsed, _ distribution: String) throws -> String {
        if let given = flags.string("mirror"), !given.isEmpty {
            guard ["http://", "https://", "file:", "copy:"].contains(where: { given.hasPrefix($0) }) else {
                throw FlagFault("invalid mirror \(GoText.quote(given)): use an http, https or file URL")
            }
            return given
        }
        let output = LaunchCalls.find("apt-get").flatMap {
            try? captured($0, ["indextargets", "--format", "$(SITE) $(COMPONENT)", "Created-By: Packages"])
        }
        guard let mirror = BootstrapPlan.mirror(for: distribution, in: output ?? "") else {
            throw FlagFault("this machine's apt configuration has no \(distribution) repository: give --mirror URL")
        }
        return mirror
    }

    private static func captured(_ program: String, _ words: [String]) throws -> String {
        let (read, write) = try StreamCalls.pipe().split()
        let reading = Descriptor(owning: read)
        let pid = try start(program, words, Descriptor(owning: write))
        let content = try FileCalls.read(reading.raw, limit: 4 << 20, program)
        _ = try LaunchCalls.wait(pid)
        return String(decoding: content, as: UTF8.self)
    }

    /// Closes our copy of the writing end, so that the end of the output is seen.
    private static func start(_ program: String, _ words: [String], _ output: consuming Descriptor) throws -> CInt {
        try LaunchCalls.start(program, words, stdout: .descriptor(output.raw), stderr: .null)
    }
}

/// Runs the program and sends its archive to the engine while it comes.
struct BootstrapBuild {
    let plan: BootstrapPlan
    let tool: BootstrapPlan.Tool
    let program: String
    let client: EngineClient
    let quiet: Bool

    func run(changes: [String]) throws -> CInt {
        var query = Query([("fromSrc", "-")])
        let (repository, tag) = ImageName.split(plan.reference)
        query.add("repo", repository)
        query.add("tag", tag)
        query.add("message", "bootstrapped from \(plan.distribution) \(plan.suite): \(plan.commandLine(tool))")
        for change in plan.changes(tool) + changes { query.add("changes", change) }
        let progress = BootstrapProgress(quiet: quiet)
        progress.line("\(tool.rawValue): \(plan.distribution) \(plan.suite) from \(plan.mirror)")
        switch tool {
        case .mmdebstrap:
            try pipe(program, plan.words(tool, folder: ""), query, progress)
        case .debootstrap:
            let folder = try FileCalls.makeTemporaryFolder((FileCalls.variable("TMPDIR") ?? "/tmp") + "/skiff-bootstrap.XXXXXX")
            defer { remove(folder) }
            try pipe(program, plan.words(tool, folder: folder), nil, progress)
            guard let shell = LaunchCalls.find("sh") else { throw FlagFault("there is no sh in PATH") }
            try pipe(shell, ["-c", plan.recipeScript(tool), "sh", folder], nil, progress)
            guard let tar = LaunchCalls.find("tar") else { throw FlagFault("tar is not installed: apt-get install tar") }
            try pipe(tar, ["--one-file-system", "--numeric-owner", "--xattrs", "-C", folder, "-c", "."], query, progress)
        }
        return 0
    }

    private func remove(_ folder: String) {
        guard let program = LaunchCalls.find("rm"),
            let pid = try? LaunchCalls.start(program, ["-rf", "--one-file-system", folder], stdout: .null, stderr: .null)
        else { return }
        _ = try? LaunchCalls.wait(pid)
    }

    /// - Parameter query: of the import that takes the program's output; nil: the output is progress.
    private func pipe(_ program: String, _ words: [String], _ query: Query?, _ progress: BootstrapProgress) throws {
        let child = try BootstrapChild(program, words)
        let upload = query.map { BootstrapUpload(client, $0) }
        do {
            try child.attend(
                output: { bytes in if let upload { try upload.send(bytes) } else { progress.feed(bytes) } },
                errors: progress.feed)
        } catch {
            child.stop()
            progress.end()
            throw error
        }
        progress.end()
        switch try child.wait() {
        case .exited(0): break
        case .exited(let code):
            throw FlagFault("\(tool.rawValue) failed with status \(code): \(progress.complaint)")
        case .signalled(let number):
            throw ExitStatus(128 + number, "\(tool.rawValue) was ended by SIG\(SignalCalls.name(number) ?? String(number))")
        }
        try upload?.finish(quiet: quiet)
    }
}

/// The import request of a bootstrap; it begins with the archive's first bytes, so that a failure before them leaves nothing.
final class BootstrapUpload {
    private let client: EngineClient
    private let query: Query
    private var connection: HTTPConnection?
    private var refused = false

    init(_ client: EngineClient, _ query: Query) {
        self.client = client
        self.query = query
    }

    func send(_ bytes: UnsafeRawBufferPointer) throws {
        guard !refused else { return }
        let connection =
            try connection ?? client.begin("POST", "/images/create", query, body: .chunked(type: "application/x-tar"))
        self.connection = connection
        do { try connection.sendChunk(bytes) } catch let fault as KernelFault where SocketCalls.isBrokenPipe(fault) {
            refused = true
        }
    }

    /// Only a complete archive gets its end: the engine drops what breaks off.
    func finish(quiet: Bool) throws {
        guard let connection else { throw FlagFault("the archive is empty") }
        if !refused { try connection.endChunks() }
        try client.finishHead(connection)
        try ProgressStream().show(connection)
    }
}
