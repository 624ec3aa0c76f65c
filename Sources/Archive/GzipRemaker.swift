import Linux
import Model

/// Makes a gzip file again from its plain bytes and its record (`GzipRecord`): the plain bytes are written to it, the file comes out.
/// The caller compares the digest. Segments are made side by side on several threads; memory is bounded by some segments per thread.
public final class GzipRemaker: ByteSink {
    /// Bytes that a segment's guesses may look ahead at.
    private static let ahead = 4 * TokenPredictor.ahead

    /// What a record says of a segment.
    fileprivate struct Head {
        var since: Int
        var plain: Int
        var phase: Int
        var end: Int
        var operations: [UInt8]
    }

    private let sink: any ByteSink
    private let record: RecordReader
    private let method: PredictionMethod
    /// Of the first format.
    private let whole: GzipSegmentMaker?
    private let threads: OrderedThreads<GzipSegment>?
    /// From the history of the present segment on.
    private var plain: [UInt8] = []
    private var history = 0
    private var head: Head?
    /// The first bits of a byte that two segments share.
    private var shared: UInt8 = 0

    /// - Parameters:
    ///   - record: the record's file.
    ///   - threads: at least one.
    public init(_ sink: any ByteSink, record path: String, threads: Int = Processors.online) throws {
        self.sink = sink
        record = try RecordReader(path, magics: GzipRecord.magics, kind: "record of a gzip file")
        method = try GzipRecord.method(record)
        if record.version == 0 {
            whole = GzipSegmentMaker(sink, record, method)
            self.threads = nil
        } else {
            whole = nil
            self.threads = try OrderedThreads(threads) { $0.make() }
            head = try nextHead()
        }
    }

    private func nextHead() throws -> Head? {
        guard try record.byte() == 1 else { return nil }
        let since = Int(try record.number())
        let plain = try record.count(limit: 2 * GzipRecord.largest)
        let phases = (try record.count(limit: 7), try record.count(limit: 7))
        let operations = MemorySink(limit: 2 * GzipRecord.largest)
        try record.copy(try record.count(limit: 2 * GzipRecord.largest), to: operations)
        return Head(since: since, plain: plain, phase: phases.0, end: phases.1, operations: operations.bytes)
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        if let whole { return try whole.write(bytes) }
        plain += bytes
        while let head, plain.count >= history + head.plain + Self.ahead { try submit(head, isComplete: false) }
        // More than the record knows of
        guard head != nil || plain.count <= history else { throw record.damaged }
    }

    /// All plain bytes were written.
    /// - Throws: `system` when the record wants more of them, or less.
    public func finish() throws {
        if let whole { return try whole.finish() }
        while let head {
            guard plain.count >= history + head.plain else { throw record.damaged }
            try submit(head, isComplete: plain.count < history + head.plain + Self.ahead)
        }
        guard plain.count == history, let threads else { throw record.damaged }
        while let segment = threads.next() { try put(segment) }
        threads.close()
    }

    private func submit(_ head: Head, isComplete: Bool) throws {
        // What came before a member's beginning is not looked at, and need not be there.
        guard let threads, min(head.since, PlainWindow.reach) <= history else { throw record.damaged }
        let end = history + head.plain
        let after = min(Self.ahead, plain.count - end)
        let segment = GzipSegment(
            head, method, of: record.path, plain: Array(plain[..<(end + after)]), history: history,
            after: (count: after, isAll: isComplete))
        let first = max(0, end - PlainWindow.reach)
        plain.removeFirst(first)
        history = end - first
        self.head = try nextHead()
        while threads.isFull, let done = threads.next() { try put(done) }
        threads.submit(segment)
        // What is ready goes out at once: the sink may be a network.
        while let done = threads.ready() { try put(done) }
    }

    /// The segment's bytes, of which the first and the last may be shared with its neighbours.
    private func put(_ segment: GzipSegment) throws {
        var bytes = try segment.result()
        if segment.head.phase > 0 {
            guard !bytes.isEmpty else { throw record.damaged }
            bytes[0] |= shared
        }
        shared = 0
        if segment.head.end > 0 { shared = bytes.popLast() ?? 0 }
        if !bytes.isEmpty { try bytes.withUnsafeBytes { try sink.write($0) } }
    }
}

/// A segment on its way through a thread.
///
/// `@unchecked Sendable`: in the hands of the one who made it, then of one thread, then again of the one who made it.
private final class GzipSegment: @unchecked Sendable {
    let head: GzipRemaker.Head
    private let method: PredictionMethod
    private let path: String
    /// The history, the segment, and what its guesses look ahead at.
    private let plain: [UInt8]
    private let history: Int
    private let after: (count: Int, isAll: Bool)
    private var made: Result<[UInt8], any Error>?

    init(
        _ head: GzipRemaker.Head, _ method: PredictionMethod, of path: String, plain: [UInt8], history: Int,
        after: (count: Int, isAll: Bool)
    ) {
        self.head = head
        self.method = method
        self.path = path
        self.plain = plain
        self.history = history
        self.after = after
    }

    func make() {
        made = Result {
            let sink = MemorySink(limit: 4 * GzipRecord.largest)
            let maker = GzipSegmentMaker(sink, RecordReader(head.operations, of: path), method)
            try plain.withUnsafeBytes { bytes in
                try maker.begin(
                    after: UnsafeRawBufferPointer(rebasing: bytes[..<history]), since: head.since, phase: head.phase)
                try maker.write(UnsafeRawBufferPointer(rebasing: bytes[history...]))
            }
            try maker.finish(after: after.count, isComplete: after.isAll)
            return sink.bytes
        }
    }

    func result() throws -> [UInt8] { try made?.get() ?? [] }
}
