import Engine
import JSON
import Model

extension Request {
    /// What the client shows the registry; nothing where the header is missing or malformed, as in docker.
    var credential: RegistryCredential? {
        guard let text = fields["x-registry-auth"], let bytes = Base64Text.decode(text),
            let credential = try? RegistryCredential(json: bytes), !credential.isEmpty
        else { return nil }
        return credential
    }
}

extension Router<Route> {
    /// What asks a registry or sends to it.
    mutating func addRegistries(_ ready: @escaping Ready) {
        on("POST", "/images/{name...}/push", disconnect: .cancels) { request in
            var wish = PushRequest(image: request["name"], tag: request.query.text("tag"))
            wish.allTags = try wish.tag == nil && Self.isBare(wish.image)
            wish.platform = try Self.platform(request.query.text("platform"))
            wish.credential = request.credential
            let progress = try await ready().images.push(wish, caller: request.caller)
            return .stream("application/json") { try await $0.writeMessages(progress) }
        }
        post("/auth") { request in
            let credential: RegistryCredential = try request.json()
            do { return .json(try await ready().images.authenticate(credential)) } catch let fault as Fault
                where fault.kind == .forbidden
            {
                return Answer(message: fault.description, status: 401)
            }
        }
        get("/images/search") { request in
            let limit = try request.query.integer("limit") ?? 0
            guard (0...100).contains(limit) else {
                throw Fault(.invalid, "limit \(limit) is outside the range of [1, 100]")
            }
            var wish = SearchRequest(term: try request.query.required("term"), limit: limit == 0 ? 25 : limit)
            wish.filters = try request.query.filters()
            wish.credential = request.credential
            return .json(try await ready().images.search(wish))
        }
        get("/distribution/{name...}/json") { request in
            .json(try await ready().images.distribution(request["name"], credential: request.credential))
        }
        addManifests(ready)
    }

    /// Our own: manifests and indexes in registries.
    private mutating func addManifests(_ ready: @escaping Ready) {
        get("/skiff/v1/manifests/{name...}") { request in
            .json(ManifestAnswer(try await ready().images.manifest(request["name"], credential: request.credential)))
        }
        on("PUT", "/skiff/v1/manifests/{name...}") { request in
            let wish: ManifestWish = try request.json()
            let descriptor = try await ready().images.pushIndex(
                request["name"], wish.entries, annotations: wish.annotations, docker: wish.isDocker,
                credential: request.credential)
            return .json(descriptor, status: 201)
        }
    }

    /// `POST /images/create?fromImage=…`
    static func pull(_ request: Request, _ image: String) throws -> PullRequest {
        var wish = PullRequest(image: image, tag: request.query.text("tag"))
        wish.allTags = try wish.tag == nil && isBare(image)
        wish.platform = try platform(request.query.text("platform"))
        wish.credential = request.credential
        return wish
    }

    /// Without tag and digest.
    private static func isBare(_ image: String) throws -> Bool {
        let name = try Reference(image)
        return name.tag == nil && name.digest == nil
    }

    /// `linux/arm64`, or docker's JSON form `{"os":"linux","architecture":"arm64"}`.
    static func platform(_ text: String?) throws -> String? {
        guard let text, text.hasPrefix("{") else { return text }
        let value = try JSONValue(json: Array(text.utf8))
        let parts = ["os", "architecture", "variant"].compactMap { value[$0]?.string }.filter { !$0.isEmpty }
        return parts.joined(separator: "/")
    }
}

/// A manifest with what its registry says of it.
private struct ManifestAnswer: JSONWritable {
    private let manifest: RemoteManifest
    init(_ manifest: RemoteManifest) { self.manifest = manifest }

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("Ref", manifest.reference.description)
            writer.member("Descriptor", manifest.descriptor)
            writer.key("Manifest")
            writer.raw(manifest.bytes)
            if let platform = manifest.platform {
                writer.key("Platform")
                writer.object { writer in
                    writer.member("architecture", platform.architecture)
                    writer.member("os", platform.os)
                    if !platform.variant.isEmpty { writer.member("variant", platform.variant) }
                }
            }
        }
    }
}

/// `{"docker":false,"entries":[{"image","architecture","os","variant","annotations"}],"annotations":{}}`
private struct ManifestWish: JSONReadable {
    var isDocker = false
    var entries: [IndexEntry] = []
    var annotations: [String: String] = [:]

    init(from reader: inout JSONReader) throws {
        var found: [Entry] = []
        try reader.object { key, reader in
            switch key {
            case "docker": isDocker = try reader.value()
            case "entries": found = try reader.value()
            case "annotations": annotations = try reader.value()
            default: try reader.skip()
            }
        }
        entries = found.map(\.entry)
    }

    private struct Entry: JSONReadable {
        var entry = IndexEntry(image: "")

        init(from reader: inout JSONReader) throws {
            var (architecture, os, variant) = ("", "", "")
            try reader.object { key, reader in
                switch key {
                case "image": entry.image = try reader.value()
                case "architecture": architecture = try reader.value()
                case "os": os = try reader.value()
                case "variant": variant = try reader.value()
                case "annotations": entry.annotations = try reader.value()
                default: try reader.skip()
                }
            }
            if !architecture.isEmpty { entry.platform = ImagePlatform(architecture: architecture, os: os, variant: variant) }
        }
    }
}
