import Archive
import HTTP
import Linux
import Model

/// A blob on its way from the upstream into the store, and to everybody who waits for it.
///
/// Clients read the file as it grows. Its last byte they get only when the whole has been found to have its digest: with a wrong
/// one their connections are cut, so that nobody takes it for complete.
final class MirrorFetch: Sendable {
    private struct Progress {
        var done: Int64 = 0
        var isVerified = false
        var failure: (any Error)?
    }

    let digest: Digest
    let size: Int64
    private let store: RegistryStore
    private let session: UploadSession
    /// Stays readable when the file gets its place, or goes.
    private let file: SharedDescriptor
    private let progress = Monitor(Progress())

    init(store: RegistryStore, repository: RepositoryName, digest: Digest, size: Int64) throws {
        self.store = store
        self.digest = digest
        self.size = size
        session = try store.beginUpload(repository)
        file = SharedDescriptor(try Files.open(store.uploadPath(session.id), .readOnly))
    }

    var hasFailed: Bool { progress.update { $0.failure != nil } }

    /// Fetches the blob to its end. Runs once, on a thread of its own.
    func run(_ source: MirrorSource) {
        let body = MirrorBody(source.source, length: size) { done in self.progress.update { $0.done = done } }
        do {
            try store.finish(session, body: body, range: nil, digest: digest)
            progress.update { $0.isVerified = true }
        } catch {
            fail(error)
        }
    }

    func fail(_ error: any Error) {
        store.log.error("\(digest) cannot be fetched: \(error)")
        try? store.cancel(session)
        progress.update { $0.failure = error }
    }

    /// Sends a part of the blob as it comes.
    func follow(_ part: Range<Int64>, _ sink: any ResponseSink) throws {
        var place = part.lowerBound
        while place < part.upperBound {
            let end: Int64 = try progress.wait { progress in
                if progress.isVerified { return part.upperBound }
                if let failure = progress.failure { throw failure }
                // not in pieces of a packet each
                let there = min(progress.done, size - 1, part.upperBound)
                return there - place >= 64 << 10 || (there == part.upperBound && there > place) ? there : nil
            }
            try sink.write(file: file.raw, offset: place, count: end - place)
            place = end
        }
    }
}

/// The upstream's content as a body that the store takes like any other.
private final class MirrorBody: RequestBody {
    let length: Int64?
    private let source: any ByteSource
    private let observe: (Int64) -> Void
    private var handed: Int64 = 0

    init(_ source: any ByteSource, length: Int64, observe: @escaping (Int64) -> Void) {
        self.source = source
        self.length = length
        self.observe = observe
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        // what was handed over before this call is in the file now
        observe(handed)
        let count = try source.read(into: buffer)
        handed += Int64(count)
        return count
    }
}
