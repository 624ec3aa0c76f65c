import HTTP
import Images
import JSON
import Linux
import Model

/// What a registry is asked beside images.
public enum RegistryQueries {
    // MARK: Login

    /// Whether a registry takes the credential. Answers an identity token where the registry gives one for it, else "".
    /// - Throws: `forbidden` in docker's words when it does not.
    public static func login(_ credential: RegistryCredential, settings: RegistrySettings, _ cancellation: WireCancellation)
        throws
        -> String
    {
        let domain = host(credential.serverAddress)
        let session = try RegistrySession(
            domain: domain, repository: "", actions: "pull,push", settings: settings, credential: credential)
        var place = "https://\(domain)/v2/"
        do {
            return try session.withEndpoints { endpoint in
                place = endpoint.url("").description
                let answer = try session.send(RegistryRequest("GET", ""), endpoint, cancellation)
                answer.discard()
                guard answer.status == 200 else { throw RegistryRefusal(answer) }
                return try session.identityToken(endpoint, cancellation)
            }
        } catch let refusal as RegistryRefusal where refusal.status == 401 {
            throw Fault(.forbidden, "login attempt to \(place) failed with status: 401 Unauthorized", subject: domain)
        } catch { throw RegistryFaults.fault(error, "login attempt to \(place) failed") }
    }

    /// The registry that a server address of docker's configuration means: `https://index.docker.io/v1/` is `docker.io`.
    public static func host(_ address: String) -> String {
        var text = address[...]
        for scheme in ["https://", "http://"] where text.hasPrefix(scheme) { text = text.dropFirst(scheme.count) }
        let host = String(text.prefix { $0 != "/" }).lowercased()
        return host.isEmpty || RegistryHosts.hubNames.contains(host) ? Reference.defaultDomain : host
    }

    // MARK: Search

    public struct Hit: Sendable {
        public var name = ""
        public var description = ""
        public var stars = 0
        public var isOfficial = false
        public var isAutomated = false
    }

    /// Repositories that a term fits: by the registry's own search (`/v1/search`), or by its catalog.
    /// - Parameter term: `nginx`, `host/nginx`.
    public static func search(
        _ term: String, limit: Int, settings: RegistrySettings, credential: RegistryCredential?,
        _ cancellation: WireCancellation
    ) throws -> [Hit] {
        var words = term
        var domain = Reference.defaultDomain
        if let slash = term.firstIndex(of: "/") {
            let first = String(term[..<slash])
            if first == "localhost" || first.contains(".") || first.contains(":") {
                domain = host(first)
                words = String(term[term.index(after: slash)...])
            }
        }
        let session = try RegistrySession(
            domain: domain, repository: "", actions: "*", settings: settings, credential: credential)
        let wanted = words
        do {
            return try session.withEndpoints { endpoint in
                try session.patiently(cancellation, endpoint) {
                    try hits(wanted, limit, session, endpoint, cancellation)
                }
            }
        } catch { throw RegistryFaults.fault(error, "searching \(domain)") }
    }

    private static func hits(
        _ term: String, _ limit: Int, _ session: RegistrySession, _ endpoint: RegistryEndpoint, _ cancellation: WireCancellation
    ) throws -> [Hit] {
        var url = endpoint.url
        // The Hub's search is on another host than its images.
        if url.host == RegistryHosts.hub { url.host = "index.docker.io" }
        url.target = "/v1/search"
        var request = RegistryRequest("GET", "")
        request.url = url.adding("q", term).adding("n", String(limit))
        let answer = try session.send(request, endpoint, cancellation)
        if answer.status == 200 {
            guard let found = try? SearchResults(json: try answer.readAll(limit: 4 << 20)) else {
                throw Fault(.system, "the registry's search answers no JSON that can be read")
            }
            return Array(found.hits.prefix(limit))
        }
        guard [404, 405, 501].contains(answer.status) else { throw RegistryRefusal(answer) }
        answer.discard()
        return try catalog(term, limit, session, endpoint, cancellation)
    }

    private static func catalog(
        _ term: String, _ limit: Int, _ session: RegistrySession, _ endpoint: RegistryEndpoint, _ cancellation: WireCancellation
    ) throws -> [Hit] {
        var hits: [Hit] = []
        var next: HTTPURL?
        for page in 0..<20 {
            var request = RegistryRequest("GET", "_catalog?n=1000")
            if page > 0 { request.url = next }
            let answer = try session.send(request, endpoint, cancellation)
            guard answer.status == 200 else { throw RegistryRefusal(answer) }
            next = answer["Link"].flatMap { RegistrySession.next($0, answer.url) }
            guard let names = try? Catalog(json: try answer.readAll(limit: 4 << 20)).repositories else {
                throw Fault(.system, "the registry's catalog is no JSON that can be read")
            }
            for name in names where name.contains(term.lowercased()) && hits.count < limit {
                hits.append(Hit(name: "\(session.domain)/\(RegistryRefusal.printable(name))"))
            }
            if next == nil || hits.count >= limit || names.isEmpty { break }
        }
        return hits
    }

    private struct Catalog: JSONReadable {
        var repositories: [String] = []

        init(from reader: inout JSONReader) throws {
            try reader.object { key, reader in
                if key == "repositories" { repositories = try reader.value() } else { try reader.skip() }
            }
        }
    }

    private struct SearchResults: JSONReadable {
        var hits: [Hit] = []

        init(from reader: inout JSONReader) throws {
            try reader.object { key, reader in
                guard key == "results" else { return try reader.skip() }
                if reader.null() { return }
                try reader.array { reader in hits.append(try Self.hit(&reader)) }
            }
        }

        private static func hit(_ reader: inout JSONReader) throws -> Hit {
            var hit = Hit()
            try reader.object { key, reader in
                switch key {
                case "name": hit.name = RegistryRefusal.printable(try reader.value() ?? "")
                case "description": hit.description = RegistryRefusal.printable(try reader.value() ?? "")
                case "star_count": hit.stars = try reader.value() ?? 0
                case "is_official": hit.isOfficial = try reader.value() ?? false
                case "is_automated": hit.isAutomated = try reader.value() ?? false
                default: try reader.skip()
                }
            }
            return hit
        }
    }
}

extension RegistrySession {
    /// What the registry gives for a name and a password, to be kept instead of the password; "" where it gives nothing.
    func identityToken(_ endpoint: RegistryEndpoint, _ cancellation: WireCancellation) throws -> String {
        guard let challenge = memoryOfChallenges.update({ $0 }), challenge.scheme == "bearer" else { return "" }
        return (try? tokens.identityToken(challenge, endpoint, cancellation)) ?? ""
    }

    /// The configuration's platform of an image that a manifest describes.
    public func platform(_ manifest: ImageManifest, _ cancellation: WireCancellation) throws -> ImagePlatform? {
        guard MediaType.isConfig(manifest.config.mediaType) || manifest.config.mediaType.isEmpty else { return nil }
        do {
            return try ImageConfig.read(
                try smallBlob(manifest.config, limit: Int64(ImageConfig.limits.size), cancellation)
            ).platform
        } catch { throw RegistryFaults.fault(error, "the configuration \(manifest.config.digest)") }
    }

    /// Puts an index there.
    public func pushIndex(_ index: ImageIndex, tag: String, _ cancellation: WireCancellation) throws -> ContentDescriptor {
        do { return try putManifest(index.json, index.mediaType, as: tag, cancellation) } catch {
            throw RegistryFaults.fault(error, "pushing \(domain)/\(repository):\(tag)")
        }
    }

    /// Makes an image of another repository of the same registry one of this repository: its contents are mounted, or copied where
    /// the registry does not mount.
    public func adopt(_ fetched: FetchedManifest, from other: RegistrySession, _ cancellation: WireCancellation) throws {
        do {
            if case .manifest(let manifest) = fetched.document {
                let uploader = RegistryUploader(session: self, cancellation: cancellation)
                for content in [manifest.config] + manifest.layers {
                    let source = UploadSource(digest: content.digest, size: content.size) { sink in
                        try RegistryBlob(other, content, offset: 0, cancellation).copy(to: sink)
                    }
                    _ = try uploader.put(
                        source, digest: content.digest, size: content.size, candidates: [other.repository]
                    ) { _ in }
                }
            }
            _ = try putManifest(fetched.bytes, fetched.mediaType, as: fetched.digest.description, cancellation)
        } catch { throw RegistryFaults.fault(error, "copying \(fetched.digest) to \(domain)/\(repository)") }
    }
}
