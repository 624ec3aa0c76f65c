import Model

/// Makes one segment of a gzip file again, or a file of the first format, from its plain bytes and its operations (`GzipRecord`).
final class GzipSegmentMaker: ByteSink {
    private enum State {
        case between
        /// Plain bytes of a stored block that are still to come.
        case stored(Int)
        /// Tokens that are as guessed, then a correction.
        case tokens(UInt64)
        case ended
    }

    private let output: DeflateOutput
    private let record: RecordReader
    private let window = PlainWindow()
    private let predictor: TokenPredictor
    private var state = State.between

    /// - Parameter record: where its operations follow.
    init(_ sink: any ByteSink, _ record: RecordReader, _ method: PredictionMethod) {
        output = DeflateOutput(sink)
        self.record = record
        predictor = TokenPredictor(window, method)
    }

    /// What comes next was written after these bytes of the plain ones, and after so many bits of its first byte.
    func begin(after history: UnsafeRawBufferPointer, since: Int, phase: Int) throws {
        window.append(history)
        predictor.skip(history.count)
        predictor.restart(since: since)
        try output.bits(0, phase)
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            let room = window.room(keeping: predictor.position)
            guard room > 0 else { throw record.damaged }
            let count = min(room, rest.count)
            window.append(UnsafeRawBufferPointer(rebasing: rest[..<count]))
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            try run()
        }
    }

    /// All plain bytes were written.
    /// - Parameters:
    ///   - after: bytes of those that come after this segment: what is looked ahead at.
    ///   - isComplete: nothing comes after those.
    /// - Throws: `system` when the record wants more of them, or less.
    func finish(after: Int = 0, isComplete: Bool = true) throws {
        window.isComplete = isComplete
        try run()
        guard case .ended = state, predictor.available == after else { throw record.damaged }
        try output.finish()
    }

    /// Goes on until it needs more plain bytes.
    private func run() throws {
        while true {
            switch state {
            case .between: try operation()
            case .stored(let left):
                let count = min(left, predictor.available)
                if count > 0 {
                    try output.plain(window.pointer(predictor.position), count)
                    predictor.skip(count)
                }
                if left > count {
                    if window.isComplete { throw record.damaged }
                    state = .stored(left - count)
                    return
                }
                state = .between
            case .tokens(let run): if try !tokens(run) { return }
            case .ended: return
            }
        }
    }

    private func operation() throws {
        guard let operation = GzipRecord.Operation(rawValue: try record.byte()) else { throw record.damaged }
        switch operation {
        case .raw:
            try output.align()
            try output.raw(try record.bytes(try record.count(limit: 1 << 20)))
            predictor.reset()
        case .stream: break
        case .stored:
            let isLast = try record.byte()
            let count = try record.count(limit: 0xFFFF)
            try output.storedHead(isLast: isLast == 1, count)
            state = .stored(count)
        case .fixed, .coded:
            let isLast = try record.byte() == 1
            if operation == .fixed {
                try output.bits(isLast ? 3 : 2, 3)
                try output.setCodes(.fixed)
            } else {
                let count = try record.count(limit: 1 << 14)
                let head = DeflateHead(bytes: try record.bytes((count + 7) / 8), count: count)
                try output.bits(isLast ? 5 : 4, 3)
                try output.head(head)
                try output.setCodes(try head.lengths())
            }
            state = .tokens(try record.number())
        case .end: state = .ended
        }
    }

    /// True when another correction or operation is due.
    private func tokens(_ run: UInt64) throws -> Bool {
        var left = run
        while left > 0 {
            guard predictor.isReady else {
                state = .tokens(left)
                return false
            }
            guard predictor.available > 0 else { throw record.damaged }
            try put(predictor.predict())
            left -= 1
        }
        // A correction stands for bytes as well; its guess is made where the record's was.
        guard predictor.isReady else {
            state = .tokens(0)
            return false
        }
        guard let correction = GzipRecord.Correction(rawValue: try record.byte()) else { throw record.damaged }
        switch correction {
        case .end:
            try output.endOfBlock()
            state = .between
            return true
        case .literal:
            _ = predictor.predict()
            try put(0)
        case .match:
            _ = predictor.predict()
            let length = try record.count(limit: 255) + 3
            let distance = try record.count(limit: PlainWindow.reach - 1) + 1
            try put(DeflateToken(length: length, distance: distance))
        }
        state = .tokens(try record.number())
        return true
    }

    private func put(_ token: DeflateToken) throws {
        guard predictor.available >= token.span else { throw record.damaged }
        if token == 0 {
            try output.literal(window.pointer(predictor.position).pointee)
        } else {
            try output.match(token.matchLength, token.distance)
        }
        predictor.accept(token)
    }
}
