import Archive
import HTTP
import Images
import Linux
import Model

/// A manifest or an index as it came, with what it claims to be checked.
public struct FetchedManifest: Sendable {
    public var digest: Digest
    public var bytes: [UInt8]
    public var document: ManifestDocument

    public var mediaType: String {
        switch document {
        case .manifest(let manifest): manifest.mediaType
        case .index(let index): index.mediaType
        }
    }
    public var descriptor: ContentDescriptor {
        ContentDescriptor(mediaType: mediaType, digest: digest, size: Int64(bytes.count))
    }
}

extension RegistrySession {
    private static let manifestLimit = ManifestDocument.limits.size
    static let accepted = [
        MediaType.ociIndex, MediaType.dockerList, MediaType.ociManifest, MediaType.dockerManifest, "*/*;q=0.1",
    ].joined(separator: ", ")

    /// The digest that a tag stands for, without its manifest; nil when the registry does not say.
    func digest(ofTag tag: String, _ cancellation: WireCancellation?) throws -> Digest? {
        let answer = try request(
            RegistryRequest("HEAD", "\(repository)/manifests/\(tag)", fields: ["Accept": Self.accepted]), cancellation)
        answer.discard()
        guard answer.status == 200 else { return nil }
        return answer["Docker-Content-Digest"].flatMap { Digest($0) }
    }

    /// - Parameters:
    ///   - reference: a tag or a digest.
    ///   - expected: what it must be, where that is known.
    func manifest(_ reference: String, expected: Digest?, _ cancellation: WireCancellation?) throws -> FetchedManifest {
        try withEndpoints { endpoint in
            try patiently(cancellation, endpoint) {
                let request = RegistryRequest(
                    "GET", "\(repository)/manifests/\(reference)", fields: ["Accept": Self.accepted])
                let answer = try send(request, endpoint, cancellation)
                guard answer.status == 200 else { throw RegistryRefusal(answer) }
                return try read(answer, reference, expected)
            }
        }
    }

    private func read(_ answer: HTTPAnswer, _ reference: String, _ expected: Digest?) throws -> FetchedManifest {
        let type = answer["Content-Type"].map { HTTPFields.trimmed($0.prefix { $0 != ";" }).lowercased() } ?? ""
        let what = "the manifest \(reference) of \(domain)/\(repository)"
        let bytes: [UInt8]
        do { bytes = try answer.readAll(limit: Self.manifestLimit) } catch let fault as WireFault where fault.kind == .tooLarge
        {
            throw Fault(.invalid, "\(what) is larger than \(Self.manifestLimit >> 20) MiB")
        }
        let said = answer["Docker-Content-Digest"].flatMap { Digest($0) }
        let algorithm = expected?.algorithm ?? said?.algorithm ?? .sha256
        let digest = try ContentHash.digest(of: bytes, algorithm)
        if let expected, expected != digest {
            throw Fault(.invalid, "manifest verification failed for digest \(expected): \(what) has \(digest)")
        }
        if let said, said != digest, said.algorithm == digest.algorithm {
            throw Fault(.invalid, "manifest verification failed for digest \(said): \(what) has \(digest)")
        }
        // Types that say nothing leave it to the document.
        let vague = ["", "application/json", "application/octet-stream", "text/plain"]
        do {
            return FetchedManifest(
                digest: digest, bytes: bytes,
                document: try ManifestDocument(bytes, mediaType: vague.contains(type) ? nil : type))
        } catch let fault as Fault { throw Fault(fault.kind, fault.message, subject: "\(domain)/\(repository):\(reference)") }
    }

    /// A small content in memory, verified.
    func smallBlob(_ descriptor: ContentDescriptor, limit: Int64, _ cancellation: WireCancellation?) throws -> [UInt8] {
        guard descriptor.size <= limit else {
            throw Fault(.invalid, "the configuration \(descriptor.digest) of \(descriptor.size) bytes is too large")
        }
        while true {
            let source = RegistryBlob(self, descriptor, offset: 0, cancellation ?? WireCancellation())
            do { return try smallBlob(source, descriptor) } catch let fault as Fault where fault.kind != .cancelled {
                guard source.distrust(because: fault.message) else { throw fault }
            }
        }
    }

    private func smallBlob(_ source: RegistryBlob, _ descriptor: ContentDescriptor) throws -> [UInt8] {
        let sink = MemorySink(limit: Int(descriptor.size))
        let deadline = Clock.monotonic + 20_000_000_000
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 16)
        defer { space.deallocate() }
        while true {
            let count = try source.read(into: space)
            if count == 0 { break }
            try sink.write(UnsafeRawBufferPointer(rebasing: space[..<count]))
            guard Clock.monotonic < deadline else {
                throw Fault(
                    .system, "the configuration \(descriptor.digest) came too slowly: \(sink.bytes.count) bytes in 20 s")
            }
        }
        guard try ContentHash.digest(of: sink.bytes, descriptor.digest.algorithm) == descriptor.digest else {
            throw Fault(.invalid, "image config verification failed for digest \(descriptor.digest)")
        }
        return sink.bytes
    }

    /// Whether the registry has a content, and how long it is there.
    func hasBlob(_ digest: Digest, in name: String? = nil, _ cancellation: WireCancellation?) throws -> Int64? {
        let answer = try request(RegistryRequest("HEAD", "\(name ?? repository)/blobs/\(digest)"), cancellation)
        defer { answer.discard() }
        guard answer.status == 200 else {
            if answer.status == 404 { return nil }
            throw RegistryRefusal(answer)
        }
        return answer["Content-Length"].flatMap { Int64($0) } ?? 0
    }
}

/// A content from the registry, from an offset on. A connection that is cut or stalls is taken up again where it ended.
final class RegistryBlob: ByteSource {
    private let session: RegistrySession
    private let descriptor: ContentDescriptor
    private let cancellation: WireCancellation
    private var position: Int64
    private var answer: HTTPAnswer?
    /// Where the answer comes from, when that is a mirror.
    private var mirror: RegistryEndpoint?
    /// Mirrors that have sent a part of what was read.
    private let mirrors = Monitor([RegistryEndpoint]())
    private var patience: Patience
    private var since: Int64 = 0
    /// Bytes that came, and nanoseconds that were waited for them, since the speed was last looked at.
    private var measured: (bytes: Int64, waited: Int64) = (0, 0)
    /// Who sends less than this in the time of three stalls is as good as stalled.
    private static let least: Int64 = 16 << 10

    init(_ session: RegistrySession, _ descriptor: ContentDescriptor, offset: Int64, _ cancellation: WireCancellation) {
        self.session = session
        self.descriptor = descriptor
        self.cancellation = cancellation
        position = offset
        patience = Patience(session.settings, cancellation)
    }

    func abandon() { cancellation.cancel() }

    /// What was read is not what was asked for: the mirrors that sent some of it are not asked again. False when all of it came from
    /// the registry itself.
    func distrust(because reason: String) -> Bool { distrustful(reason) }

    /// The same, for another thread to call.
    var distrustful: @Sendable (String) -> Bool {
        { [session, mirrors] reason in
            let senders = mirrors.update { senders in
                defer { senders = [] }
                return senders
            }
            for sender in senders { session.giveUp(sender, because: reason) }
            return !senders.isEmpty
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if position == descriptor.size { return 0 }
        while true {
            do {
                let answer = try self.answer ?? open()
                self.answer = answer
                let count = try measuredRead(answer, buffer)
                guard count > 0 else { throw WireFault(.cut, "the content ended at \(position) of \(descriptor.size) bytes") }
                guard position + Int64(count) <= descriptor.size else { throw tooLong() }
                position += Int64(count)
                since += Int64(count)
                if let mirror { mirrors.update { if $0.last != mirror { $0.append(mirror) } } }
                if since >= 256 << 10 {
                    patience.reset()
                    since = 0
                }
                // The end of a body in chunks is still to be read, or the connection could not be used again.
                if position == descriptor.size { try end(answer) }
                return count
            } catch {
                answer = nil
                if let mirror, !isCancelled(error) {
                    // The next one, or the registry itself, has the rest.
                    let reason = (error as? Fault)?.message ?? (error as? WireFault)?.message
                    session.giveUp(mirror, because: reason ?? "it breaks off")
                    self.mirror = nil
                    continue
                }
                do { try patience.wait(after: error) } catch {
                    throw RegistryFaults.fault(error, "layer \(descriptor.digest) of \(session.domain)/\(session.repository)")
                }
            }
        }
    }

    /// Only the time in which we wait counts: whoever unpacks may be slow.
    private func measuredRead(_ answer: HTTPAnswer, _ buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let begun = Clock.monotonic
        let count = try answer.read(into: buffer)
        measured.waited += Clock.monotonic - begun
        measured.bytes += Int64(count)
        let patience = 3 * session.settings.stallTimeout
        if measured.bytes >= Self.least {
            measured = (0, 0)
        } else if measured.waited > Int64(patience) * 1_000_000 {
            defer { measured = (0, 0) }
            throw WireFault(.timedOut, "the registry sends too slowly: \(measured.bytes) bytes in \(patience / 1000) s")
        }
        return count
    }

    private func tooLong() -> Fault {
        Fault(
            .invalid,
            "\(descriptor.digest) of \(session.domain)/\(session.repository) is longer than the \(descriptor.size) bytes that its manifest says"
        )
    }

    private func end(_ answer: HTTPAnswer) throws {
        guard answer.length == nil else { return }
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 16)
        defer { space.deallocate() }
        if try answer.read(into: space) > 0 { throw tooLong() }
    }

    private func open() throws -> HTTPAnswer {
        if descriptor.size == 0 { throw Fault(.invalid, "\(descriptor.digest) is empty") }
        if !descriptor.urls.isEmpty, MediaType.isForeign(descriptor.mediaType) { return try openForeign() }
        var request = RegistryRequest("GET", "\(session.repository)/blobs/\(descriptor.digest)")
        if position > 0 { request.fields["Range"] = "bytes=\(position)-\(descriptor.size - 1)" }
        let wanted = request
        mirror = nil
        return try session.withEndpoints { endpoint in
            let answer = try checked(try session.send(wanted, endpoint, cancellation))
            mirror = endpoint.isMirror ? endpoint : nil
            return answer
        }
    }

    private func isCancelled(_ error: any Error) -> Bool { (error as? WireFault)?.kind == .cancelled }

    /// A layer that its maker does not allow registries to keep: from where the manifest says, without any credential.
    private func openForeign() throws -> HTTPAnswer {
        var failure: any Error = Fault(
            .unsupported, "the foreign layer \(descriptor.digest) has no https address", subject: descriptor.digest.description)
        for text in descriptor.urls.prefix(4) {
            guard let url = HTTPURL(text), url.scheme == .https, !HTTPURL.isLoopback(url.host) else { continue }
            do { return try checked(try session.fetchForeign(url, from: position, cancellation)) } catch { failure = error }
        }
        throw failure
    }

    /// The answer must be what is missing, neither more nor less.
    private func checked(_ answer: HTTPAnswer) throws -> HTTPAnswer {
        switch answer.status {
        case 206 where position > 0:
            guard let range = answer["Content-Range"], range.hasPrefix("bytes \(position)-") else {
                throw WireFault(.malformed, "the registry answers with another range than was asked for")
            }
            try checkLength(answer, descriptor.size - position)
        case 200:
            try checkLength(answer, descriptor.size)
            try skip(position, answer)
        default: throw RegistryRefusal(answer)
        }
        return answer
    }

    private func checkLength(_ answer: HTTPAnswer, _ expected: Int64) throws {
        guard let length = answer.length, length != expected else { return }
        throw Fault(
            .invalid,
            "\(descriptor.digest) of \(session.domain)/\(session.repository) has \(length) bytes where its manifest says \(expected)"
        )
    }

    /// Servers without ranges begin anew.
    private func skip(_ count: Int64, _ answer: HTTPAnswer) throws {
        if count == 0 { return }
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 4096)
        defer { space.deallocate() }
        var rest = count
        while rest > 0 {
            let part = UnsafeMutableRawBufferPointer(rebasing: space[..<Int(min(rest, Int64(space.count)))])
            let got = try answer.read(into: part)
            guard got > 0 else { throw WireFault(.cut, "the content ended early") }
            rest -= Int64(got)
        }
    }
}

extension RegistrySession {
    /// From a host that has nothing to do with the registry.
    func fetchForeign(_ url: HTTPURL, from offset: Int64, _ cancellation: WireCancellation) throws -> HTTPAnswer {
        var fields = HTTPFields()
        if offset > 0 { fields["Range"] = "bytes=\(offset)-" }
        var request = RegistryRequest("GET", "", fields: fields)
        request.url = url
        // An endpoint of its own, which never sees a credential.
        let endpoint = RegistryEndpoint(url: url, isMirror: true)
        let other = try RegistrySession(domain: domain, repository: "", actions: "pull", settings: settings, credential: nil)
        return try other.send(request, endpoint, cancellation)
    }
}

/// Fetches one content of a repository.
final class RegistryFetcher: ContentFetcher {
    private struct State {
        var current = WireCancellation()
        var isCancelled = false
        var distrust: (@Sendable (String) -> Bool)?
    }

    private let session: RegistrySession
    private let state = Monitor(State())

    init(_ session: RegistrySession) { self.session = session }

    func open(_ descriptor: ContentDescriptor, from offset: Int64) throws -> any ByteSource {
        let cancellation = state.update { state in
            if !state.isCancelled { state.current = WireCancellation() }
            return state.current
        }
        let blob = RegistryBlob(session, descriptor, offset: offset, cancellation)
        let distrust = blob.distrustful
        state.update { $0.distrust = distrust }
        return blob
    }

    func distrust() -> Bool {
        let distrust = state.update { state in
            defer { state.distrust = nil }
            return state.distrust
        }
        return distrust?("it sends another content than was asked for") ?? false
    }

    func interrupt() { state.update { $0.current }.cancel() }

    func cancel() {
        state.update { state in
            state.isCancelled = true
            return state.current
        }.cancel()
    }
}
