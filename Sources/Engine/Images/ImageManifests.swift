import HTTP
import Images
import Model
import Registry

extension ImageService {
    /// `GET /distribution/{name}/json`
    public func distribution(_ name: String, credential: RegistryCredential?) async throws -> Docker.DistributionInspect {
        let found = try await manifest(name, credential: credential)
        var inspect = Docker.DistributionInspect()
        var descriptor = Docker.OCIDescriptor()
        descriptor.mediaType = found.descriptor.mediaType
        descriptor.digest = found.descriptor.digest.description
        descriptor.size = Int(found.descriptor.size)
        inspect.descriptor = descriptor
        switch found.document {
        case .index(let index): inspect.platforms = index.manifests.compactMap(\.platform).map(Self.show)
        case .manifest: inspect.platforms = found.platform.map { [Self.show($0)] } ?? []
        }
        return inspect
    }

    static func show(_ platform: ImagePlatform) -> Docker.OCIPlatform {
        var shown = Docker.OCIPlatform()
        shown.architecture = platform.architecture
        shown.os = platform.os
        shown.osVersion = platform.osVersion.isEmpty ? nil : platform.osVersion
        shown.osFeatures = platform.osFeatures.isEmpty ? nil : platform.osFeatures
        shown.variant = platform.variant.isEmpty ? nil : platform.variant
        return shown
    }

    // MARK: Indexes (our own routes: /skiff/v1/manifests…)

    /// The manifest or index that a name stands for in its registry.
    public func manifest(_ name: String, credential: RegistryCredential?) async throws -> RemoteManifest {
        let reference = try Reference(name).withDefaultTag
        let settings = core.configuration.registries
        return try await Self.blocking { cancellation in
            let session = try RegistrySession(reference, settings: settings, credential: credential)
            let fetched = try session.fetchManifest(reference, cancellation)
            var platform: ImagePlatform?
            if case .manifest(let manifest) = fetched.document { platform = try session.platform(manifest, cancellation) }
            return RemoteManifest(
                reference: reference.digested(fetched.digest), descriptor: fetched.descriptor, bytes: fetched.bytes,
                document: fetched.document, platform: platform)
        }
    }

    /// Makes an index of images that are in the registry and puts it there under a name; nothing is kept here. Images of another
    /// repository of the same registry are mounted. Answers the index's digest.
    /// - Parameter docker: docker's manifest list instead of OCI's index.
    public func pushIndex(
        _ name: String, _ entries: [IndexEntry], annotations: [String: String], docker: Bool, credential: RegistryCredential?
    ) async throws -> ContentDescriptor {
        let target = try Reference(name).withDefaultTag
        guard let tag = target.tag else { throw Fault(.invalid, "an index gets a tag, not a digest", subject: name) }
        guard !entries.isEmpty else { throw Fault(.invalid, "an index of no images is none", subject: name) }
        let sources = try entries.map { try Reference($0.image).withDefaultTag }
        if let other = sources.first(where: { $0.domain != target.domain }) {
            throw Fault(
                .invalid, "\(other.familiar) is in another registry than \(target.familiar): push it there first",
                subject: other.familiar)
        }
        let settings = core.configuration.registries
        let mounts = Set(sources.map(\.path)).subtracting([target.path]).sorted()
        return try await Self.blocking { cancellation in
            let session = try RegistrySession(
                target, actions: "pull,push", mounts: mounts, settings: settings, credential: credential)
            var index = ImageIndex(mediaType: docker ? MediaType.dockerList : MediaType.ociIndex, manifests: [])
            index.annotations = annotations
            for (entry, source) in zip(entries, sources) {
                let own = source.path == target.path
                let other = own ? session : try RegistrySession(source, settings: settings, credential: credential)
                let fetched = try other.fetchManifest(source, cancellation)
                guard case .manifest(let manifest) = fetched.document else {
                    throw Fault(.invalid, "\(source.familiar) is an index itself: name its images", subject: source.familiar)
                }
                var descriptor = fetched.descriptor
                descriptor.platform = try entry.platform ?? other.platform(manifest, cancellation)
                descriptor.annotations = entry.annotations
                if !own { try session.adopt(fetched, from: other, cancellation) }
                index.manifests.append(descriptor)
            }
            return try session.pushIndex(index, tag: tag, cancellation)
        }
    }
}
