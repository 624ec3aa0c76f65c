import Images
import Model
import Registry

/// What `POST /images/create?fromImage=` asks for.
public struct PullRequest: Sendable {
    /// `debian`, `ghcr.io/o/i`, `name@sha256:…`, with or without a tag.
    public var image: String
    /// The query's `tag`: a tag or a digest; nil takes what `image` has, then `latest`.
    public var tag: String?
    public var allTags = false
    /// `linux/arm64/v8`; nil is this machine's.
    public var platform: String?
    public var credential: RegistryCredential?

    public init(image: String, tag: String? = nil) {
        self.image = image
        self.tag = tag
    }
}

/// What `POST /images/{name}/push` asks for.
public struct PushRequest: Sendable {
    public var image: String
    /// Nil pushes `latest`, or what `image` names.
    public var tag: String?
    public var allTags = false
    public var platform: String?
    /// `gzip` or `zstd` for layers that have no compressed form yet; nil is the engine's setting.
    public var compression: String?
    public var credential: RegistryCredential?

    public init(image: String, tag: String? = nil) {
        self.image = image
        self.tag = tag
    }
}

/// What `GET /images/search` asks for.
public struct SearchRequest: Sendable {
    /// `nginx`, or `registry.example:5000/nginx` to ask another registry than the Hub.
    public var term: String
    public var limit: Int
    /// `is-official`, `is-automated`, `stars`.
    public var filters = Filters()
    public var credential: RegistryCredential?

    public init(term: String, limit: Int = 25) {
        self.term = term
        self.limit = limit
    }
}

/// One image of a multi-platform index that is to be made.
public struct IndexEntry: Sendable {
    /// A reference in the same registry as the index.
    public var image: String
    /// Where the image's own configuration does not say it right (`manifest annotate`).
    public var platform: ImagePlatform?
    public var annotations: [String: String] = [:]

    public init(image: String) { self.image = image }
}

/// A manifest as a registry has it.
public struct RemoteManifest: Sendable {
    /// With its digest.
    public var reference: Reference
    public var descriptor: ContentDescriptor
    /// The document as it came.
    public var bytes: [UInt8]
    public var document: ManifestDocument
    /// Of a manifest of one image: what its configuration says.
    public var platform: ImagePlatform?

    public init(
        reference: Reference, descriptor: ContentDescriptor, bytes: [UInt8], document: ManifestDocument,
        platform: ImagePlatform?
    ) {
        self.reference = reference
        self.descriptor = descriptor
        self.bytes = bytes
        self.document = document
        self.platform = platform
    }
}
