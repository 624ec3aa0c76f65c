import Model

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
