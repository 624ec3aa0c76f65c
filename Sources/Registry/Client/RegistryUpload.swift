import Archive
import HTTP
import Images
import Linux
import Model

/// A content that can be written more than once: an upload may have to begin again.
struct UploadSource: Sendable {
    /// Nil: it is only known when it has been written.
    var digest: Digest?
    var size: Int64?
    /// Writes all of it.
    var write: @Sendable (any ByteSink) throws -> Void
}

/// Contents into one repository.
struct RegistryUploader: Sendable {
    let session: RegistrySession
    let cancellation: WireCancellation

    /// What became of a content.
    enum Outcome: Sendable, Equatable {
        case existed
        case mounted(from: String)
        case uploaded
    }

    /// Puts a content whose digest is known into the repository, in the cheapest way.
    /// - Parameters:
    ///   - candidates: repositories of the same registry that may have it.
    ///   - progress: bytes sent so far.
    func put(
        _ source: UploadSource, digest: Digest, size: Int64, candidates: [String],
        progress: @escaping @Sendable (Int64) -> Void
    ) throws -> Outcome {
        if try session.hasBlob(digest, cancellation) != nil { return .existed }
        for candidate in candidates where candidate != session.repository {
            if try mount(digest, from: candidate) { return .mounted(from: candidate) }
        }
        try withPatience { try uploadWhole(source, digest, size, progress) }
        return .uploaded
    }

    /// Puts a content whose digest is known only when it has been written. Answers what it is.
    func putStream(_ source: UploadSource, progress: @escaping @Sendable (Int64) -> Void) throws -> (
        digest: Digest, size: Int64
    ) {
        try withPatience { try uploadStream(source, progress) }
    }

    private func withPatience<T>(_ body: () throws -> T) throws -> T {
        var patience = Patience(session.settings, cancellation)
        while true {
            do { return try body() } catch { try patience.wait(after: error) }
        }
    }

    /// POST …/uploads/?mount=&from=: true when the registry has it now. It may as well begin an upload, which is given up.
    private func mount(_ digest: Digest, from repository: String) throws -> Bool {
        let query = "?mount=\(HTTPURL.encoded(digest.description))&from=\(HTTPURL.encoded(repository))"
        do {
            let answer = try session.request(
                RegistryRequest("POST", "\(session.repository)/blobs/uploads/\(query)"), cancellation)
            defer { answer.discard() }
            if answer.status == 202, let place = answer["Location"].flatMap({ answer.url.resolving($0) }) { giveUp(place) }
            return answer.status == 201
        } catch is RegistryRefusal { return false }
    }

    private func giveUp(_ place: HTTPURL) {
        var request = RegistryRequest("DELETE", "")
        request.url = place
        let wish = request
        try? session.withEndpoints { try session.send(wish, $0, cancellation).discard() }
    }

    private func begin() throws -> HTTPURL {
        let answer = try session.request(RegistryRequest("POST", "\(session.repository)/blobs/uploads/"), cancellation)
        guard answer.status == 202 else { throw RegistryRefusal(answer) }
        guard let place = answer["Location"].flatMap({ answer.url.resolving($0) }) else {
            throw Fault(.system, "the registry accepts an upload and does not say where it goes (no usable Location)")
        }
        answer.discard()
        return place
    }

    private func send(_ method: String, _ place: HTTPURL, _ fields: HTTPFields = [:], _ body: HTTPRequest.Body = .none) throws
        -> HTTPAnswer
    {
        var request = RegistryRequest(method, "", fields: fields, body: body)
        request.url = place
        let wish = request
        return try session.withEndpoints { try session.send(wish, $0, cancellation) }
    }

    // MARK: In one piece

    private func uploadWhole(
        _ source: UploadSource, _ digest: Digest, _ size: Int64, _ progress: @escaping @Sendable (Int64) -> Void
    ) throws {
        let place = try begin()
        let target = place.adding("digest", digest.description)
        let answer: HTTPAnswer
        do {
            answer = try send(
                "PUT", target, ["Content-Type": "application/octet-stream"], body(source, size, from: 0, progress))
        } catch let fault as WireFault where fault.kind == .cut || fault.kind == .timedOut {
            // What has arrived need not be sent again, where the registry kept it.
            guard let offset = received(place, of: size) else { throw fault }
            try resume(source, place, digest, size, from: offset, progress)
            return
        }
        if answer.status == 201 { return answer.discard() }
        // A proxy that takes no large bodies, or a registry that wants pieces.
        guard [405, 413, 501].contains(answer.status) else { throw RegistryRefusal(answer) }
        answer.discard()
        try uploadPieces(source, digest, size, progress)
    }

    private func body(
        _ source: UploadSource, _ size: Int64, from offset: Int64, _ progress: @escaping @Sendable (Int64) -> Void
    ) -> HTTPRequest.Body {
        .stream(length: size - offset) { sink in
            try source.write(UploadSink(skip: offset, progress) { try sink.write($0) })
        }
    }

    /// How many bytes of an upload the registry has, more than none and fewer than all; nil where it does not say.
    private func received(_ place: HTTPURL, of size: Int64) -> Int64? {
        guard let answer = try? send("GET", place) else { return nil }
        defer { answer.discard() }
        guard answer.status == 204, let range = answer["Range"],
            let end = range.split(separator: "-").last.flatMap({ Int64($0) }),
            end >= 0, end < size - 1
        else { return nil }
        return end + 1
    }

    private func resume(
        _ source: UploadSource, _ place: HTTPURL, _ digest: Digest, _ size: Int64, from offset: Int64,
        _ progress: @escaping @Sendable (Int64) -> Void
    ) throws {
        let fields: HTTPFields = ["Content-Type": "application/octet-stream", "Content-Range": "\(offset)-\(size - 1)"]
        let answer = try send("PATCH", place, fields, body(source, size, from: offset, progress))
        guard answer.status == 202 else { throw WireFault(.cut, "the upload could not be taken up again") }
        let next = answer["Location"].flatMap { answer.url.resolving($0) } ?? place
        answer.discard()
        try close(next, digest)
    }

    // MARK: In pieces

    /// As many are in memory as there are uploads at a time.
    private static let piece = 4 << 20

    private func uploadPieces(
        _ source: UploadSource, _ digest: Digest, _ size: Int64, _ progress: @escaping @Sendable (Int64) -> Void
    ) throws {
        var place = try begin()
        var offset: Int64 = 0
        let pieces = PieceSink(Self.piece) { bytes in
            let fields: HTTPFields = [
                "Content-Type": "application/octet-stream", "Content-Range": "\(offset)-\(offset + Int64(bytes.count) - 1)",
            ]
            let answer = try send("PATCH", place, fields, .bytes(bytes))
            guard answer.status == 202 else { throw RegistryRefusal(answer) }
            place = answer["Location"].flatMap { answer.url.resolving($0) } ?? place
            answer.discard()
            offset += Int64(bytes.count)
            progress(offset)
        }
        try source.write(pieces)
        try pieces.finish()
        try close(place, digest)
    }

    private func close(_ place: HTTPURL, _ digest: Digest) throws {
        let answer = try send("PUT", place.adding("digest", digest.description))
        guard answer.status == 201 else { throw RegistryRefusal(answer) }
        answer.discard()
    }

    // MARK: While it is made

    private func uploadStream(_ source: UploadSource, _ progress: @escaping @Sendable (Int64) -> Void) throws -> (Digest, Int64)
    {
        let place = try begin()
        let hash = ContentHash()
        let answer = try send(
            "PATCH", place, ["Content-Type": "application/octet-stream"],
            .stream(length: nil) { sink in
                try source.write(
                    UploadSink(skip: 0, progress) { bytes in
                        hash.update(bytes)
                        try sink.write(bytes)
                    })
            })
        guard answer.status == 202 else { throw RegistryRefusal(answer) }
        let next = answer["Location"].flatMap { answer.url.resolving($0) } ?? place
        answer.discard()
        let size = hash.count
        let digest = try hash.finish()
        try close(next, digest)
        return (digest, size)
    }
}

/// Passes bytes on from an offset, and tells how many have passed.
private final class UploadSink: ByteSink {
    private var skip: Int64
    private var count: Int64 = 0
    private let progress: (Int64) -> Void
    private let sink: (UnsafeRawBufferPointer) throws -> Void

    init(skip: Int64, _ progress: @escaping (Int64) -> Void, _ sink: @escaping (UnsafeRawBufferPointer) throws -> Void) {
        self.skip = skip
        self.progress = progress
        self.sink = sink
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        if skip > 0 {
            let passed = Int(min(skip, Int64(rest.count)))
            skip -= Int64(passed)
            rest = UnsafeRawBufferPointer(rebasing: rest[passed...])
        }
        count += Int64(bytes.count)
        if rest.isEmpty { return }
        try sink(rest)
        progress(count)
    }
}

/// Collects bytes to pieces of one size.
private final class PieceSink: ByteSink {
    private let size: Int
    private let send: ([UInt8]) throws -> Void
    private var piece: [UInt8] = []

    init(_ size: Int, _ send: @escaping ([UInt8]) throws -> Void) {
        self.size = size
        self.send = send
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            let count = min(size - piece.count, rest.count)
            piece.append(contentsOf: rest[..<count])
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            if piece.count == size { try flush() }
        }
    }

    func finish() throws { if !piece.isEmpty { try flush() } }

    private func flush() throws {
        defer { piece.removeAll(keepingCapacity: true) }
        try send(piece)
    }
}
