import HTTP
import Images
import Linux
import Model

/// What a name stands for in its registry, down to one image.
public struct ResolvedImage: Sendable {
    /// What the name itself stands for: an index or a manifest.
    public var top: FetchedManifest
    public var manifest: ImageManifest
    public var manifestDigest: Digest
    public var manifestBytes: [UInt8]
    public var config: ImageConfig
    public var configBytes: [UInt8]
}

extension RegistrySession {
    /// For a reference's own repository.
    public convenience init(
        _ reference: Reference, actions: String = "pull", mounts: [String] = [], settings: RegistrySettings,
        credential: RegistryCredential?
    ) throws {
        try self.init(
            domain: reference.domain, repository: reference.path, actions: actions, mounts: mounts, settings: settings,
            credential: credential)
    }

    /// The digest that the name stands for at present; nil when only the whole document could tell. Cheap: registries do not count it.
    public func currentDigest(_ reference: Reference, _ cancellation: WireCancellation) throws -> Digest? {
        if let digest = reference.digest { return digest }
        do { return try digest(ofTag: reference.tag ?? Reference.defaultTag, cancellation) } catch {
            throw RegistryFaults.pullFault(error, reference)
        }
    }

    /// The document that a name stands for.
    /// - Parameter known: what `currentDigest` has said.
    public func fetchManifest(_ reference: Reference, known: Digest? = nil, _ cancellation: WireCancellation) throws
        -> FetchedManifest
    {
        let digest = reference.digest ?? known
        let wanted = digest?.description ?? reference.tag ?? Reference.defaultTag
        do { return try manifest(wanted, expected: digest, cancellation) } catch {
            throw RegistryFaults.pullFault(error, reference)
        }
    }

    /// The image for a platform: through an index, and with its configuration, everything verified.
    public func resolve(
        _ reference: Reference, known: Digest?, platform: ImagePlatform?, _ cancellation: WireCancellation
    ) throws -> ResolvedImage {
        var (known, first) = (known, Fault?.none)
        while true {
            do { return try resolveOnce(reference, known, platform, cancellation) } catch let fault as Fault
                where reference.digest == nil && [.invalid, .notFound, .unsupported].contains(fault.kind)
                && giveUpMirrors(because: fault.message)
            {
                // What a tag means was a mirror's word: the next one is asked, at last the registry itself.
                first = first ?? fault
            } catch let fault as Fault where [.system, .unavailable].contains(fault.kind) { throw first ?? fault }
            do { known = try currentDigest(reference, cancellation) } catch let fault as Fault
                where [.system, .unavailable].contains(fault.kind)
            { throw first ?? fault }
        }
    }

    private func resolveOnce(
        _ reference: Reference, _ known: Digest?, _ platform: ImagePlatform?, _ cancellation: WireCancellation
    ) throws -> ResolvedImage {
        let choice = PlatformChoice(platform)
        let top = try fetchManifest(reference, known: known, cancellation)
        var current = top
        var depth = 0
        while case .index(let index) = current.document {
            depth += 1
            guard depth <= 3 else {
                throw Fault(.invalid, "\(reference.familiar) is an index in an index in an index", subject: reference.familiar)
            }
            guard let chosen = choice.best(index.manifests) else {
                throw Fault(
                    .notFound, "no matching manifest for \(choice.text) in the manifest list entries",
                    subject: reference.familiar)
            }
            guard chosen.size <= ManifestDocument.limits.size else {
                throw Fault(.invalid, "the manifest \(chosen.digest) of \(chosen.size) bytes is too large")
            }
            current = try fetchManifest(reference.digested(chosen.digest), known: nil, cancellation)
            guard Int64(current.bytes.count) == chosen.size else {
                throw Fault(
                    .invalid,
                    "the manifest \(chosen.digest) has \(current.bytes.count) bytes where the index says \(chosen.size)")
            }
        }
        guard case .manifest(let manifest) = current.document else {
            throw Fault(.invalid, "\(reference.familiar) is no image", subject: reference.familiar)
        }
        try check(manifest, reference)
        let bytes = try smallBlob(manifest.config, limit: Int64(ImageConfig.limits.size), cancellation)
        let config = try ImageConfig.read(bytes)
        guard config.os.isEmpty || config.os == "linux" else {
            throw Fault(
                .unsupported,
                "image operating system \"\(RegistryRefusal.printable(config.os))\" cannot be used on this platform",
                subject: reference.familiar)
        }
        let own = ImagePlatform(architecture: config.architecture, os: config.os, variant: config.variant)
        if platform != nil, !choice.accepts(own) {
            throw Fault(
                .notFound,
                "image with reference \(reference.familiar) was found but its platform "
                    + "(\(RegistryRefusal.printable("\(own.os)/\(own.architecture)"))) does not match the specified platform "
                    + "(\(choice.text))", subject: reference.familiar)
        }
        return ResolvedImage(
            top: top, manifest: manifest, manifestDigest: current.digest, manifestBytes: current.bytes, config: config,
            configBytes: bytes)
    }

    /// What is no image, and what cannot be one, is refused before anything of it is fetched.
    private func check(_ manifest: ImageManifest, _ reference: Reference) throws {
        let type = manifest.config.mediaType
        guard type.isEmpty || MediaType.isConfig(type) else {
            throw Fault(
                .unsupported,
                "\(reference.familiar) is no image: its configuration is of the type \(RegistryRefusal.printable(type))",
                subject: reference.familiar)
        }
        for layer in manifest.layers {
            if layer.mediaType.hasSuffix("+encrypted") {
                throw Fault(
                    .unsupported, "the layer \(layer.digest) is encrypted, and this engine has no keys",
                    subject: reference.familiar)
            }
            guard MediaType.isLayer(layer.mediaType) else {
                throw Fault(
                    .unsupported,
                    "the layer \(layer.digest) is of the type \(RegistryRefusal.printable(layer.mediaType)), which is no layer",
                    subject: reference.familiar)
            }
        }
    }

    /// Every tag of the repository, at most ten thousand.
    public func tags(_ cancellation: WireCancellation) throws -> [String] {
        var tags: [String] = []
        var next: HTTPURL?
        do {
            for _ in 0..<200 {
                let here = next
                let (page, following) = try withEndpoints { endpoint in
                    try patiently(cancellation, endpoint) {
                        var request = RegistryRequest("GET", "\(repository)/tags/list")
                        request.url = here
                        let answer = try send(request, endpoint, cancellation)
                        guard answer.status == 200 else { throw RegistryRefusal(answer) }
                        let link = answer["Link"].flatMap { Self.next($0, answer.url) }
                        return (try TagList(json: try answer.readAll(limit: 4 << 20)).tags, link)
                    }
                }
                tags += page.filter(Reference.isTag)
                guard tags.count <= 10_000 else {
                    throw Fault(.unsupported, "\(domain)/\(repository) has more than 10000 tags: name those that are wanted")
                }
                guard let following, following != here, !page.isEmpty else { return tags }
                next = following
            }
        } catch { throw RegistryFaults.fault(error, "listing the tags of \(domain)/\(repository)") }
        return tags
    }

    /// `<…>; rel="next"` (RFC 8288)
    static func next(_ link: String, _ url: HTTPURL) -> HTTPURL? {
        guard link.hasPrefix("<"), let close = link.firstIndex(of: ">"), link[close...].contains("next") else { return nil }
        return url.resolving(String(link[link.index(after: link.startIndex)..<close]))
    }

    /// Gets an image's layers.
    public var fetcher: @Sendable () -> any ContentFetcher { { RegistryFetcher(self) } }
}
