import HTTP
import Images
import Model
import Registry

extension ImageService {
    /// `docker push`. The last message but one carries the digest: `latest: digest: sha256:… size: 123`, then one with `aux`.
    public func push(_ request: PushRequest, caller: Caller) async throws -> PullStream<Docker.TransferMessage> {
        throw Fault(.unsupported, "pushing is not built yet")
    }

    /// `POST /auth`: whether the registry takes the credential. Throws `forbidden` (401 in docker) when not.
    public func authenticate(_ credential: RegistryCredential) async throws -> Docker.AuthResponse {
        throw Fault(.unsupported, "login is not built yet")
    }

    /// `GET /images/search`
    public func search(_ request: SearchRequest) async throws -> [Docker.ImageSearchResponseItem] {
        throw Fault(.unsupported, "search is not built yet")
    }

    /// `GET /distribution/{name}/json`
    public func distribution(_ name: String, credential: RegistryCredential?) async throws -> Docker.DistributionInspect {
        throw Fault(.unsupported, "distribution is not built yet")
    }

    // MARK: Indexes (our own routes: /skiff/v1/manifests…)

    /// The manifest or index that a name stands for in its registry.
    public func manifest(_ name: String, credential: RegistryCredential?) async throws -> RemoteManifest {
        throw Fault(.unsupported, "manifests are not built yet")
    }

    /// Makes an index of images that are in the registry and puts it there under a name; nothing is kept here. Images of another
    /// repository of the same registry are mounted. Answers the index's digest.
    /// - Parameter docker: docker's manifest list instead of OCI's index.
    public func pushIndex(
        _ name: String, _ entries: [IndexEntry], annotations: [String: String], docker: Bool, credential: RegistryCredential?
    ) async throws -> ContentDescriptor {
        throw Fault(.unsupported, "manifests are not built yet")
    }
}
