import Model

/// Codes of a deflate block (RFC 1951, 3.2.5 to 3.2.7).
enum DeflateCodes {
    static let lengthBase: [Int] = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
    ]
    static let lengthBits: [Int] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0]
    static let distanceBase: [Int] = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193,
        12289, 16385, 24577,
    ]
    static let distanceBits: [Int] = [
        0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
    ]
    /// In which order the lengths of the code for code lengths come.
    static let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

    static let fixedLiterals: [UInt8] = (0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 }
    static let fixedDistances = [UInt8](repeating: 5, count: 30)

    /// The code of each symbol, its bits in the order in which they are written; nil for lengths that are no code.
    static func assign(_ lengths: [UInt8]) -> [UInt16]? {
        var counts = [Int](repeating: 0, count: 16)
        for length in lengths where length > 0 { counts[Int(length)] += 1 }
        var next = [Int](repeating: 0, count: 16)
        var code = 0
        for bits in 1...15 {
            code = (code + counts[bits - 1]) << 1
            next[bits] = code
            if code + counts[bits] > 1 << bits { return nil }
        }
        return lengths.map { length in
            guard length > 0 else { return 0 }
            let code = next[Int(length)]
            next[Int(length)] += 1
            var turned = 0
            for bit in 0..<Int(length) where code & 1 << bit != 0 { turned |= 1 << (Int(length) - 1 - bit) }
            return UInt16(turned)
        }
    }

    /// For each 15 bits that may come: symbol << 4 | length; 0 where there is no such code.
    static func decodingTable(_ lengths: [UInt8], into table: UnsafeMutablePointer<UInt16>) throws {
        guard let codes = assign(lengths) else { throw damaged(.gzip, "invalid code lengths") }
        table.update(repeating: 0, count: 1 << 15)
        for (symbol, length) in lengths.enumerated() where length > 0 {
            let entry = UInt16(symbol << 4 | Int(length))
            var index = Int(codes[symbol])
            while index < 1 << 15 {
                table[index] = entry
                index += 1 << Int(length)
            }
        }
    }
}

/// Code lengths of a dynamic block.
struct DeflateLengths {
    var literals: [UInt8]
    var distances: [UInt8]

    static let fixed = DeflateLengths(literals: DeflateCodes.fixedLiterals, distances: DeflateCodes.fixedDistances)

    /// Reads the head of a dynamic block behind its three first bits. `bits` answers so many bits, the first as the lowest.
    init(_ bits: (Int) throws -> Int) throws {
        let literalCount = try bits(5) + 257
        let distanceCount = try bits(5) + 1
        let codeCount = try bits(4) + 4
        guard literalCount <= 286, distanceCount <= 30 else { throw damaged(.gzip, "too many codes") }
        var codeLengths = [UInt8](repeating: 0, count: 19)
        for index in 0..<codeCount { codeLengths[DeflateCodes.order[index]] = UInt8(try bits(3)) }
        guard let codes = DeflateCodes.assign(codeLengths) else { throw damaged(.gzip, "invalid code lengths") }
        var lengths: [UInt8] = []
        while lengths.count < literalCount + distanceCount {
            let symbol = try Self.symbol(codeLengths, codes, bits)
            var (value, times) = (UInt8(truncatingIfNeeded: symbol), 1)
            switch symbol {
            case 16:
                guard let last = lengths.last else { throw damaged(.gzip, "nothing to repeat") }
                (value, times) = (last, try bits(2) + 3)
            case 17: (value, times) = (0, try bits(3) + 3)
            case 18: (value, times) = (0, try bits(7) + 11)
            default: break
            }
            lengths += [UInt8](repeating: value, count: times)
        }
        guard lengths.count == literalCount + distanceCount else { throw damaged(.gzip, "too many code lengths") }
        literals = Array(lengths[..<literalCount])
        distances = Array(lengths[literalCount...])
        guard literals[256] > 0 else { throw damaged(.gzip, "a block without an end") }
    }

    private init(literals: [UInt8], distances: [UInt8]) {
        self.literals = literals
        self.distances = distances
    }

    private static func symbol(_ lengths: [UInt8], _ codes: [UInt16], _ bits: (Int) throws -> Int) throws -> Int {
        var read = 0
        for length in 1...7 {
            read |= try bits(1) << (length - 1)
            for symbol in 0..<19 where Int(lengths[symbol]) == length && Int(codes[symbol]) == read { return symbol }
        }
        throw damaged(.gzip, "an unknown code")
    }
}
