import Client
import JSON
import Linux
import Model

/// Makes a container for `run` and `create`, with the image fetched where it is missing.
struct ContainerCreation {
    private let invocation: Invocation
    private let request: CreateRequest
    private var flags: Parsed { invocation.flags }

    init(_ invocation: Invocation, _ request: inout CreateRequest) {
        self.invocation = invocation
        self.request = request
    }

    /// The new container's id; warnings go to stderr.
    func create() throws -> String {
        let cidFile = try openCIDFile()
        let client = try invocation.client()
        if flags.string("pull") == "always" { try pull() }
        let answer: JSONValue
        do { answer = try post(client) } catch let refusal as EngineRefusal where refusal.isNotFound && isMissingImage(refusal)
        {
            guard flags.string("pull") != "never" else {
                removeCIDFile()
                throw refusal
            }
            Screen.error("Unable to find image '\(ImageName.familiar(request.image))' locally\n")
            do {
                try pull()
                answer = try post(client)
            } catch {
                removeCIDFile()
                throw error
            }
        } catch {
            removeCIDFile()
            throw error
        }
        for warning in answer["Warnings"]?.array ?? [] { Screen.error("WARNING: \(warning.string ?? "")\n") }
        guard let id = answer["Id"]?.string else { throw Fault(.system, "the engine's answer has no Id") }
        if let cidFile { try StreamCalls.writeAll(cidFile.raw, Array(id.utf8)) }
        return id
    }

    private func post(_ client: EngineClient) throws -> JSONValue {
        var query = Query()
        query.add(ifSet: "name", request.name)
        query.add(ifSet: "platform", request.platform)
        return try client.post("/containers/create", query, json: request.body.json)
    }

    private func isMissingImage(_ refusal: EngineRefusal) -> Bool { refusal.message.lowercased().hasPrefix("no such image") }

    private func pull() throws {
        try ImagePull(invocation, platform: request.platform)
            .run(try Reference(request.image).withDefaultTag, ProgressStream(toError: true, quiet: flags.bool("quiet")))
    }

    private func openCIDFile() throws -> Descriptor? {
        guard let path = flags.string("cidfile"), !path.isEmpty else { return nil }
        do { return try FileCalls.create(path, exclusive: true) } catch let fault as KernelFault {
            if FileCalls.alreadyExists(fault) {
                throw FlagFault("container ID file found, make sure the other container isn't running or delete \(path)")
            }
            throw FlagFault("failed to create the container ID file: open \(path): \(fault.reason.lowercasedFirst)")
        }
    }

    private func removeCIDFile() {
        if let path = flags.string("cidfile"), !path.isEmpty { FileCalls.unlink(path) }
    }
}

/// Image names as people write them.
package enum ImageName {
    /// With its tag: `debian` is `debian:latest`. Ids and digests stay as they are.
    package static func familiar(_ name: String) -> String {
        if name.contains("@") || isID(name) { return name }
        let (_, tag) = split(name)
        return tag.isEmpty ? name + ":latest" : name
    }

    /// Name and tag or digest; the tag is empty where none is given.
    package static func split(_ name: String) -> (repository: String, tag: String) {
        if let (repository, digest) = GoText.cut(name, "@") { return (repository, digest) }
        let slash = name.lastIndex(of: "/") ?? name.startIndex
        guard let colon = name[slash...].lastIndex(of: ":") else { return (name, "") }
        return (String(name[..<colon]), String(name[name.index(after: colon)...]))
    }

    private static func isID(_ name: String) -> Bool {
        let digits = name.hasPrefix("sha256:") ? name.dropFirst(7) : name[...]
        return digits.utf8.count == 64 && digits.allSatisfy { $0.isHexDigit }
    }
}
