import Linux
import Model

/// How to make a gzip file again, bit by bit, from the plain bytes: its frame, the codes of its blocks, and where its tokens are not
/// those that `TokenPredictor` guesses.
///
/// Format, compressed with zstd: `skiff-gzip 2\n`, six numbers with the method, then segments and a 0. A segment can be made without those
/// before it, but for its first bits: 1, SINCE (plain bytes since the member began), PLAIN (its plain bytes), PHASE and END (bits of its
/// first and its last byte that belong to the segment before, and to this one: 0 to 7), LENGTH, and that many bytes of operations, for
/// which the predictor begins anew with the 32 KiB before them. Operations: 1 LENGTH bytes (as they are in the
/// file); 2 (a member's data begin); 3 LAST COUNT (a stored block); 4 LAST (a block with fixed codes); 5 LAST BITS bytes (one with
/// codes of its own); 6 (the end). After 4 and 5 come corrections: how many tokens are as guessed, then 0 (a literal), 1 LENGTH
/// DISTANCE (a match), or 2 (the block's end). Numbers are unsigned LEB128. A stream's unused bits are zero.
///
/// In the first format (`skiff-gzip 1\n`) the operations follow the method, without segments.
///
/// Guesses never depend on the libraries that skiff is built with: a record holds for as long as this format is known.
public enum GzipRecord {
    static let magics = [Array("skiff-gzip 1\n".utf8), Array("skiff-gzip 2\n".utf8)]
    /// A segment ends with the block in which it has so many plain bytes.
    static let segment = 1 << 20
    /// It has no more plain bytes than this, nor bytes of operations: it is made in memory.
    static let largest = 16 << 20

    enum Operation: UInt8 {
        case raw = 1
        case stream, stored, fixed, coded, end
    }

    enum Correction: UInt8 { case literal, match, end }

    static func write(_ method: PredictionMethod, to record: RecordWriter) {
        for value in [
            Int(method.family.rawValue), method.good, method.lazy, method.nice, method.chain,
            method.hashBits << 1 | (method.isLazy ? 1 : 0),
        ] { record.number(UInt64(value)) }
    }

    static func method(_ record: RecordReader) throws -> PredictionMethod {
        let values = try (0..<6).map { _ in try record.count(limit: 1 << 16) }
        guard let family = PredictionMethod.Family(rawValue: UInt8(truncatingIfNeeded: values[0])),
            (8...17).contains(values[5] >> 1), values[4] > 0
        else { throw record.damaged }
        return PredictionMethod(
            family: family, good: values[1], lazy: values[2], nice: values[3], chain: values[4], isLazy: values[5] & 1 == 1,
            hashBits: values[5] >> 1)
    }

    /// Writes the record of a gzip file.
    /// - Parameter open: opens the file, from its beginning.
    /// - Throws: `invalid` for what is no gzip file, or none that this can make again; `cancelled` when `isWanted` says so.
    public static func make(
        to sink: any ByteSink, isWanted: () -> Bool = { true }, open: () throws -> any ByteSource
    ) throws {
        let method = try estimate(try open(), isWanted)
        let record = try RecordWriter(sink, magic: magics[1], level: 9)
        write(method, to: record)
        let analysis = GzipAnalysis(try open(), method, record)
        while try analysis.step() {
            guard isWanted() else { throw Fault(.cancelled, "the content is not looked at any more") }
        }
        try record.finish()
    }

    /// The method with the fewest corrections for the beginning of the file.
    private static func estimate(_ source: any ByteSource, _ isWanted: () -> Bool) throws -> PredictionMethod {
        var start: [UInt8] = []
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
        defer { piece.deallocate() }
        while start.count < 256 << 10 {
            let count = try source.read(into: piece)
            if count == 0 { break }
            start += piece[..<count]
        }
        source.abandon()
        var best: (method: PredictionMethod, corrections: Int)?
        for method in PredictionMethod.candidates {
            guard isWanted() else { throw Fault(.cancelled, "the content is not looked at any more") }
            let analysis = GzipAnalysis(MemorySource(start), method, nil)
            // The beginning ends somewhere in a block.
            do { while try analysis.step() {} } catch let fault as Fault where fault.kind == .invalid {
                if analysis.guessed == 0 { throw fault }
            }
            // What comes first is faster: where none fits, a little better is not worth its time.
            if best.map({ analysis.corrections * 10 < $0.corrections * 9 }) ?? true { best = (method, analysis.corrections) }
            if analysis.corrections * 2000 < analysis.guessed { break }
        }
        return best?.method ?? PredictionMethod.candidates[0]
    }
}

/// One way through a gzip file: its parts as they come, its tokens compared with the guesses a little later.
final class GzipAnalysis {
    private let window = PlainWindow()
    private let parser: DeflateParser
    private let predictor: TokenPredictor
    private let record: RecordWriter?
    /// Tokens that wait for their guesses, and above `isMark` parts between them.
    private var waiting: [UInt32] = []
    private var marks: [(part: DeflateParser.Part, phase: Int)] = []
    private static let isMark: UInt32 = 0xF000_0000
    private static let endsBlock: UInt32 = 0xFFFF_FFFF
    private var inBlock = false
    private var storedLeft = 0
    private var run: UInt64 = 0
    /// The segment under way: its operations, where it began, and how.
    private var operations: [UInt8] = []
    private var begin = (position: 0, since: 0, phase: 0)

    private(set) var guessed = 0
    private(set) var corrections = 0

    init(_ source: any ByteSource, _ method: PredictionMethod, _ record: RecordWriter?) {
        parser = DeflateParser(source, window)
        predictor = TokenPredictor(window, method)
        self.record = record
    }

    /// Does some work; false when there is no more.
    func step() throws -> Bool {
        let room = window.room(keeping: predictor.position)
        let limit = min(room - 1024, 96 << 10)
        if storedLeft > 0 {
            let count = min(storedLeft, limit)
            try parser.plain(count)
            storedLeft -= count
        } else if inBlock {
            if try parser.tokens({ waiting.append($0) }, room: limit) {
                waiting.append(Self.endsBlock)
                inBlock = false
            }
        } else {
            let phase = parser.phase
            let part = try parser.part()
            switch part {
            case .stored(_, let count): storedLeft = count
            case .coded: inBlock = true
            case .end: window.isComplete = true
            case .raw, .stream: break
            }
            waiting.append(Self.isMark + UInt32(marks.count))
            marks.append((part, phase))
        }
        let isEnd = window.isComplete
        let isLarge = predictor.position - begin.position > GzipRecord.largest || operations.count > GzipRecord.largest
        if record != nil, isLarge { throw damaged(.gzip, "a block is too large to be made again") }
        if waiting.count >= 16 << 10 || predictor.available > 64 << 10 || isEnd { try guess() }
        return !isEnd
    }

    private func guess() throws {
        var done = 0
        while done < waiting.count {
            let token = waiting[done]
            if token < Self.isMark {
                guard predictor.isReady else { break }
                compare(token)
            } else if token == Self.endsBlock {
                write(.end)
            } else {
                guard try take(marks[Int(token - Self.isMark)]) else { break }
            }
            done += 1
        }
        try record?.flush()
        waiting.removeFirst(done)
        if waiting.isEmpty { marks.removeAll(keepingCapacity: true) }
    }

    private func compare(_ token: DeflateToken) {
        guessed += 1
        if predictor.predict() == token {
            run += 1
        } else {
            corrections += 1
            if token == 0 {
                write(.literal)
            } else {
                write(.match)
                if record != nil {
                    operations.appendNumber(UInt64(token.matchLength - 3))
                    operations.appendNumber(UInt64(token.distance - 1))
                }
            }
        }
        predictor.accept(token)
    }

    private func write(_ correction: GzipRecord.Correction) {
        guard record != nil else { return }
        operations.appendNumber(run)
        operations.append(correction.rawValue)
        run = 0
    }

    /// The segment is over.
    private func write(to record: RecordWriter, phase: Int) {
        put(.end)
        record.byte(1)
        let plain = predictor.position - begin.position
        for value in [begin.since, plain, begin.phase, phase, operations.count] { record.number(UInt64(value)) }
        record.bytes(operations)
        operations.removeAll(keepingCapacity: true)
    }

    private func put(_ operation: GzipRecord.Operation) { operations.append(operation.rawValue) }

    /// False when its bytes are not here yet.
    private func take(_ mark: (part: DeflateParser.Part, phase: Int)) throws -> Bool {
        guard let record else {
            if case .stored(_, let count) = mark.part {
                guard predictor.available >= count else { return false }
                predictor.skip(count)
            }
            if case .raw = mark.part { predictor.reset() }
            return true
        }
        if case .end = mark.part {
            write(to: record, phase: 0)
            record.byte(0)
            return true
        }
        if predictor.position - begin.position >= GzipRecord.segment {
            write(to: record, phase: mark.phase)
            begin = (predictor.position, predictor.position - predictor.base, mark.phase)
            predictor.restart(since: begin.since)
        }
        switch mark.part {
        case .raw(let bytes):
            put(.raw)
            operations.appendNumber(UInt64(bytes.count))
            operations += bytes
            predictor.reset()
        case .stream: put(.stream)
        case .stored(let isLast, let count):
            guard predictor.available >= count else { return false }
            put(.stored)
            operations.append(isLast ? 1 : 0)
            operations.appendNumber(UInt64(count))
            predictor.skip(count)
        case .coded(let isLast, let head):
            put(head == nil ? .fixed : .coded)
            operations.append(isLast ? 1 : 0)
            if let head {
                operations.appendNumber(UInt64(head.count))
                operations += head.bytes
            }
        case .end: break
        }
        return true
    }
}
