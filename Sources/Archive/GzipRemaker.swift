import Model

/// Makes a gzip file again from its plain bytes and its record (`GzipRecord`): the plain bytes are written to it, the file comes out.
/// The caller compares the digest.
public final class GzipRemaker: ByteSink {
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

    /// - Parameter record: the record's file.
    public init(_ sink: any ByteSink, record path: String) throws {
        output = DeflateOutput(sink)
        record = try RecordReader(path, magic: GzipRecord.magic, kind: "record of a gzip file")
        predictor = TokenPredictor(window, try GzipRecord.method(record))
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws {
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
    /// - Throws: `system` when the record wants more of them, or less.
    public func finish() throws {
        window.isComplete = true
        try run()
        guard case .ended = state, predictor.available == 0 else { throw record.damaged }
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

/// Writes the bits of a deflate stream (RFC 1951, 3.1.1).
final class DeflateOutput {
    private let sink: any ByteSink
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    private var filled = 0
    private var held: UInt64 = 0
    private var holding = 0
    private var literalLengths: [UInt8] = []
    private var literalCodes: [UInt16] = []
    private var distanceLengths: [UInt8] = []
    private var distanceCodes: [UInt16] = []
    /// The symbol of each length, and of each distance.
    private let lengthSymbols: [UInt8]
    private let distanceSymbols: [UInt8]

    init(_ sink: any ByteSink) {
        self.sink = sink
        var lengths = [UInt8](repeating: 0, count: 259)
        for (symbol, base) in DeflateCodes.lengthBase.enumerated() {
            for length in base..<min(259, base + 1 << DeflateCodes.lengthBits[symbol]) { lengths[length] = UInt8(symbol) }
        }
        lengthSymbols = lengths
        var distances = [UInt8](repeating: 0, count: PlainWindow.reach + 1)
        for (symbol, base) in DeflateCodes.distanceBase.enumerated() {
            for distance in base..<(base + 1 << DeflateCodes.distanceBits[symbol]) { distances[distance] = UInt8(symbol) }
        }
        distanceSymbols = distances
    }

    deinit { buffer.deallocate() }

    func setCodes(_ lengths: DeflateLengths) throws {
        guard let literals = DeflateCodes.assign(lengths.literals), let distances = DeflateCodes.assign(lengths.distances)
        else {
            throw damaged(.gzip, "invalid code lengths")
        }
        (literalLengths, literalCodes) = (lengths.literals, literals)
        (distanceLengths, distanceCodes) = (lengths.distances, distances)
    }

    /// At most 32 bits.
    func bits(_ value: Int, _ count: Int) throws {
        held |= UInt64(value) << UInt64(holding)
        holding += count
        guard holding >= 32 else { return }
        if filled + 8 > buffer.count { try flush() }
        buffer.storeBytes(of: UInt32(truncatingIfNeeded: held).littleEndian, toByteOffset: filled, as: UInt32.self)
        filled += 4
        held >>= 32
        holding -= 32
    }

    func align() throws {
        while holding > 0 {
            if filled == buffer.count { try flush() }
            buffer[filled] = UInt8(truncatingIfNeeded: held)
            filled += 1
            held >>= 8
            holding = max(0, holding - 8)
        }
        held = 0
    }

    func raw(_ bytes: [UInt8]) throws {
        for byte in bytes {
            if filled == buffer.count { try flush() }
            buffer[filled] = byte
            filled += 1
        }
    }

    func plain(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) throws {
        try flush()
        try sink.write(UnsafeRawBufferPointer(start: bytes, count: count))
    }

    func head(_ head: DeflateHead) throws {
        for (index, byte) in head.bytes.enumerated() { try bits(Int(byte), min(8, head.count - index * 8)) }
    }

    func storedHead(isLast: Bool, _ count: Int) throws {
        try bits(isLast ? 1 : 0, 3)
        try align()
        try raw([UInt8(count & 0xFF), UInt8(count >> 8), UInt8(~count & 0xFF), UInt8(~count >> 8 & 0xFF)])
    }

    func literal(_ byte: UInt8) throws { try symbol(Int(byte)) }
    func endOfBlock() throws { try symbol(256) }

    private func symbol(_ symbol: Int) throws {
        guard symbol < literalLengths.count, literalLengths[symbol] > 0 else { throw noCode }
        try bits(Int(literalCodes[symbol]), Int(literalLengths[symbol]))
    }

    func match(_ length: Int, _ distance: Int) throws {
        let lengthSymbol = Int(lengthSymbols[length])
        try symbol(257 + lengthSymbol)
        try bits(length - DeflateCodes.lengthBase[lengthSymbol], DeflateCodes.lengthBits[lengthSymbol])
        let symbol = Int(distanceSymbols[distance])
        guard symbol < distanceLengths.count, distanceLengths[symbol] > 0 else { throw noCode }
        try bits(Int(distanceCodes[symbol]), Int(distanceLengths[symbol]))
        try bits(distance - DeflateCodes.distanceBase[symbol], DeflateCodes.distanceBits[symbol])
    }

    private var noCode: Fault { damaged(.gzip, "a token without a code") }

    private func flush() throws {
        if filled == 0 { return }
        let count = filled
        filled = 0
        try sink.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }

    func finish() throws {
        try align()
        try flush()
    }
}
