import HTTP
import Linux
import Model
import State
import Synchronization

/// How a mirror treats the registry that it mirrors.
package struct MirrorSettings: Sendable {
    /// `https://registry-1.docker.io`
    package var upstream: String
    /// What nobody asked for so long goes.
    package var age = Timestamp(seconds: 7 * 86_400)
    /// How long a tag is taken for what it was, before the upstream is asked again.
    package var check = Timestamp(seconds: 60)
    package var credential: RegistryCredential?
    /// Blobs that are fetched at one time.
    package var fetches = 64

    package init(upstream: String) { self.upstream = upstream }
}

/// A pull-through mirror of another registry: manifests and blobs are fetched when somebody asks for them, kept while somebody does,
/// and served from here when the upstream is away. Nothing is stored or finished under a digest that it does not have.
package final class RegistryMirror: Sendable {
    let settings: MirrorSettings
    private let store: RegistryStore
    private let domain: String
    private let isHub: Bool
    private let client: RegistrySettings
    private let sessions = Mutex<[String: RegistrySession]>([:])
    /// Manifests that are being asked for: one request to the upstream, however many wait.
    private let asking = Monitor(Set<String>())
    private let fetches = Monitor([MirrorKey: MirrorFetch]())

    var upstream: String { settings.upstream }

    /// Throws `invalid` for an upstream that is no address.
    package init(_ settings: MirrorSettings, store: RegistryStore) throws {
        guard let url = HTTPURL(settings.upstream), url.target == "/" else {
            throw Fault(.invalid, "--mirror \(settings.upstream): an http or https URL without a path is wanted")
        }
        self.settings = settings
        self.store = store
        domain = url.authority
        isHub = RegistryHosts.hubNames.contains(url.host)
        var client = RegistrySettings()
        if url.scheme == .http { client.insecure = [url.authority] }
        client.retries = 3
        self.client = client
    }

    private func session(_ name: RepositoryName) throws -> RegistrySession {
        if let known = sessions.withLock({ $0[name.text] }) { return known }
        // the Hub's own images are written without their folder
        let repository = isHub && !name.text.contains("/") ? "library/" + name.text : name.text
        let made = try RegistrySession(
            domain: domain, repository: repository, actions: "pull", settings: client, credential: settings.credential)
        sessions.withLock { sessions in
            if sessions.count >= 256 { sessions.removeAll() }
            sessions[name.text] = made
        }
        return made
    }

    /// After a failure the next request begins with new connections and tokens.
    private func forget(_ name: RepositoryName) { sessions.withLock { _ = $0.removeValue(forKey: name.text) } }

    // MARK: Manifests

    /// The manifest, from here or from the upstream, and a warning for the client where it may be out of date.
    func manifest(_ name: RepositoryName, _ reference: ManifestReference, _ stored: StoredManifest?) throws
        -> (StoredManifest, String?)
    {
        if let stored, isFresh(stored, reference) { return (stored, nil) }
        let key = "\(name) \(reference)"
        _ = asking.wait { $0.insert(key).inserted ? true : nil }
        defer { asking.update { _ = $0.remove(key) } }
        // somebody else may have brought it meanwhile
        let stored = try store.database.read { try $0.manifest(reference, in: name) }
        if let stored, isFresh(stored, reference) { return (stored, nil) }
        do { return (try fetch(name, reference, stored), nil) } catch {
            forget(name)
            if let refusal = error as? RegistryRefusal, refusal.isMissing {
                if stored != nil, case .tag(let tag) = reference { _ = try store.deleteTag(tag, in: name) }
                throw DistributionFault.manifestUnknown(reference.description)
            }
            guard let stored, Self.isAbsence(error) else { throw Self.fault(error, upstream) }
            store.log.warning("\(upstream) does not answer: \(name):\(reference) is served as it was", [("error", "\(error)")])
            return (stored, "110 skiff \"Response is Stale\"")
        }
    }

    private func isFresh(_ stored: StoredManifest, _ reference: ManifestReference) -> Bool {
        guard case .tag = reference else { return true }
        return store.now.nanoseconds - stored.checked.nanoseconds < settings.check.nanoseconds
    }

    private func fetch(_ name: RepositoryName, _ reference: ManifestReference, _ stored: StoredManifest?) throws
        -> StoredManifest
    {
        let session = try session(name)
        var expected: Digest?
        var tag: String?
        switch reference {
        case .digest(let digest): expected = digest
        case .tag(let text):
            tag = text
            // HEAD first: it does not count against the Hub's limits
            if let stored, try session.digest(ofTag: text, nil) == stored.digest {
                try store.noteCheck(text, in: name)
                return stored
            }
        }
        let found = try session.manifest(reference.description, expected: expected, nil)
        let incoming = try IncomingManifest(found.bytes, mediaType: found.mediaType, wanted: found.digest)
        try store.putMirrored(incoming, tag: tag, in: name)
        guard let kept = try store.database.read({ try $0.manifest(.digest(found.digest), in: name) }) else {
            throw Fault(.system, "the manifest \(found.digest) of \(name) was stored and is not there")
        }
        return kept
    }

    /// The upstream cannot be asked, as against: it says no.
    private static func isAbsence(_ error: any Error) -> Bool { error is WireFault || error is RegistryBusy }

    static func fault(_ error: any Error, _ upstream: String) -> DistributionFault {
        switch error {
        case let fault as DistributionFault: return fault
        case let refusal as RegistryRefusal where refusal.isDenied:
            return DistributionFault(403, .denied, "\(upstream) refuses: \(refusal.words)")
        case let refusal as RegistryRefusal:
            return DistributionFault(502, .unavailable, "\(upstream) answers: \(refusal.words)")
        case let busy as RegistryBusy where busy.status == 429:
            let seconds = max(1, (busy.wait ?? 30_000) / 1000)
            return DistributionFault(
                429, .tooManyRequests, "\(upstream) limits how often it may be asked",
                fields: [.init("Retry-After", "\(seconds)")])
        default: return DistributionFault(502, .unavailable, "\(upstream): \(error)")
        }
    }

    // MARK: Blobs

    /// A blob that is not here yet: HEAD asks the upstream, GET streams it while it is being stored.
    func blob(_ request: ServerRequest, _ name: RepositoryName, _ digest: Digest) throws -> ServerResponse {
        do {
            if let running = fetches.update({ $0[MirrorKey(name, digest)] }), !running.hasFailed {
                return answer(request, digest, running)
            }
            guard let size = try session(name).hasBlob(digest, nil) else {
                throw DistributionFault.blobUnknown(digest.description)
            }
            // the upstream says that this repository has it too: what is here is given to it
            if try store.adopt(digest, size: size, to: name), let found = try store.openBlob(digest, in: name) {
                return RegistryService.content(request, digest, found.file, size: found.size)
            }
            if request.method == "HEAD" {
                return ServerResponse(200, RegistryService.blobFields(digest), body: .length(size))
            }
            return answer(request, digest, try begin(name, digest, size))
        } catch {
            if let refusal = error as? RegistryRefusal, refusal.isMissing {
                throw DistributionFault.blobUnknown(digest.description)
            }
            if !(error is DistributionFault) { forget(name) }
            throw Self.fault(error, upstream)
        }
    }

    private func begin(_ name: RepositoryName, _ digest: Digest, _ size: Int64) throws -> MirrorFetch {
        if let limit = store.limits.uploadSize, size > limit {
            throw DistributionFault(403, .denied, "the blob has \(size) bytes, more than are kept here (--max-blob-size)")
        }
        let key = MirrorKey(name, digest)
        let source = RegistryBlob(
            try session(name), ContentDescriptor(mediaType: "application/octet-stream", digest: digest, size: size), offset: 0,
            WireCancellation())
        let limit = settings.fetches
        let (fetch, isMine) = try fetches.update { fetches -> (MirrorFetch, Bool) in
            // Its clients know of a failure before its thread has left the table: whoever asks again starts anew.
            if let running = fetches[key], !running.hasFailed { return (running, false) }
            guard fetches.count < limit else {
                throw DistributionFault(
                    503, .unavailable, "\(limit) blobs are being fetched already", fields: [.init("Retry-After", "2")])
            }
            let fetch = try MirrorFetch(store: store, repository: name, digest: digest, size: size)
            fetches[key] = fetch
            return (fetch, true)
        }
        guard isMine else { return fetch }
        let sourceBox = MirrorSource(source)
        do {
            try startThread {
                fetch.run(sourceBox)
                self.fetches.update { if $0[key] === fetch { $0[key] = nil } }
            }
        } catch {
            fetch.fail(error)
            fetches.update { if $0[key] === fetch { $0[key] = nil } }
            throw error
        }
        return fetch
    }

    private func answer(_ request: ServerRequest, _ digest: Digest, _ fetch: MirrorFetch) -> ServerResponse {
        let size = fetch.size
        var response = ServerResponse(200, RegistryService.blobFields(digest))
        if request.method == "HEAD" {
            response.body = .length(size)
            return response
        }
        var range: Range<Int64> = 0..<size
        switch RegistryService.wantedRange(request, digest, size: size) {
        case .whole: break
        case .part(let part):
            range = part
            response.status = 206
            response.add("Content-Range", "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(size)")
        case .unsatisfiable: return RegistryService.unsatisfiable(size)
        }
        let part = range
        response.body = .stream(count: Int64(part.count)) { sink in try fetch.follow(part, sink) }
        return response
    }
}

/// One blob of one repository: whoever may read one repository may not therefore read another.
struct MirrorKey: Hashable, Sendable {
    let repository: RepositoryName
    let digest: Digest
    init(_ repository: RepositoryName, _ digest: Digest) {
        self.repository = repository
        self.digest = digest
    }
}

/// Hands the upstream's content to the thread that reads it.
///
/// Unchecked: made by one thread and used by the one that it is given to.
struct MirrorSource: @unchecked Sendable {
    let source: RegistryBlob
    init(_ source: RegistryBlob) { self.source = source }
}

extension RegistryStore {
    /// The upstream says that the tag still means what it meant.
    func noteCheck(_ tag: String, in repository: RepositoryName) throws {
        let now = now
        try database.write { transaction in
            guard let id = try transaction.repositoryID(repository) else { return }
            try transaction.run("UPDATE tag SET checked = ? WHERE repository = ? AND name = ?", now, id, tag)
        }
    }

    /// Links a blob that another repository has. False where it is not here whole.
    func adopt(_ digest: Digest, size: Int64, to repository: RepositoryName) throws -> Bool {
        let now = now
        return try names.withLock { _ in
            guard let blob = try database.read({ try $0.registryBlob(digest) }), blob.size == size,
                try fileSize(path(of: digest)) == size
            else { return false }
            try database.write { transaction in
                try transaction.link(blob: blob.id, to: try transaction.makeRepository(repository, now: now), now: now)
            }
            return true
        }
    }
}
