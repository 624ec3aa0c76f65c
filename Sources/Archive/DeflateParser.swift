import Model

/// Takes a gzip file apart (RFC 1952, RFC 1951): what it is made of, and the plain bytes that it stands for.
///
/// Throws `invalid` for what is no gzip file, and for the few that could not be written again from these parts.
final class DeflateParser {
    /// What comes next in the file.
    enum Part {
        /// Bytes as they are: headers, trailers, what follows the last member.
        case raw([UInt8])
        /// A member's compressed data begin: they refer to nothing before.
        case stream
        /// A block with plain bytes, of so many.
        case stored(isLast: Bool, count: Int)
        /// A block with tokens. `head`: nil for fixed codes, else the bits that say which codes there are, 3 first ones left out.
        case coded(isLast: Bool, head: DeflateHead?)
        case end
    }

    private let source: any ByteSource
    private let window: PlainWindow
    private let input = UnsafeMutablePointer<UInt8>.allocate(capacity: 128 << 10)
    private var next = 0
    private var filled = 0
    private var isDrained = false
    private var held: UInt64 = 0
    private var holding = 0
    private let literals = UnsafeMutablePointer<UInt16>.allocate(capacity: 1 << 15)
    private let distances = UnsafeMutablePointer<UInt16>.allocate(capacity: 1 << 15)
    private var isInside = false
    private var isLastBlock = false

    init(_ source: any ByteSource, _ window: PlainWindow) {
        self.source = source
        self.window = window
        literals.initialize(repeating: 0, count: 1 << 15)
        distances.initialize(repeating: 0, count: 1 << 15)
    }

    deinit {
        input.deallocate()
        literals.deallocate()
        distances.deallocate()
    }

    // MARK: Parts

    /// Bits of the present byte of the file that were taken, 0 to 7.
    var phase: Int { -holding & 7 }

    func part() throws -> Part {
        if isInside, !isLastBlock { return try block() }
        if isInside {
            isInside = false
            align()
            return .raw(try rawBytes(8))
        }
        guard let first = try rawByte() else { return .end }
        var raw = [first]
        if first == 0x1F {
            raw += try header()
            isInside = true
            isLastBlock = false
            return .raw(raw)
        }
        // Zeros after the last member
        while raw.count < 32 << 10, let byte = try rawByte() { raw.append(byte) }
        guard raw.allSatisfy({ $0 == 0 }) else { throw damaged(.gzip, "something follows the last member") }
        return .raw(raw)
    }

    /// What follows the first byte, up to the compressed data.
    private func header() throws -> [UInt8] {
        var bytes = try rawBytes(9)
        guard bytes[0] == 0x8B, bytes[1] == 8 else { throw damaged(.gzip, "no header") }
        let flags = bytes[2]
        func text() throws {
            repeat { bytes += try rawBytes(1) } while bytes.last != 0 && bytes.count < 64 << 10
        }
        if flags & 4 != 0 {
            let size = try rawBytes(2)
            bytes += size
            bytes += try rawBytes(Int(size[0]) | Int(size[1]) << 8)
        }
        if flags & 8 != 0 { try text() }
        if flags & 16 != 0 { try text() }
        if flags & 2 != 0 { bytes += try rawBytes(2) }
        return bytes
    }

    private func block() throws -> Part {
        isLastBlock = try bits(1) == 1
        switch try bits(2) {
        case 0:
            align()
            let head = try rawBytes(4)
            let count = Int(head[0]) | Int(head[1]) << 8
            guard count == 0xFFFF ^ (Int(head[2]) | Int(head[3]) << 8) else { throw damaged(.gzip, "a length is wrong") }
            return .stored(isLast: isLastBlock, count: count)
        case 1:
            try setCodes(.fixed)
            return .coded(isLast: isLastBlock, head: nil)
        case 2:
            var head = DeflateHead()
            let lengths = try DeflateLengths { count in
                let value = try self.bits(count)
                head.append(value, count)
                return value
            }
            try setCodes(lengths)
            return .coded(isLast: isLastBlock, head: head)
        default: throw damaged(.gzip, "an unknown block")
        }
    }

    private func setCodes(_ lengths: DeflateLengths) throws {
        try DeflateCodes.decodingTable(lengths.literals, into: literals)
        try DeflateCodes.decodingTable(lengths.distances, into: distances)
    }

    // MARK: What blocks hold

    /// Brings bytes of a stored block to the window; so many at most as it has room for.
    func plain(_ count: Int) throws {
        for _ in 0..<count {
            guard let byte = try rawByte() else { throw truncated }
            window.append(byte)
        }
    }

    /// The next tokens of the block and their bytes, some thousand at most; true: the block ended.
    func tokens(_ take: (DeflateToken) -> Void, room: Int) throws -> Bool {
        var left = min(room - 512, 32 << 10)
        while left > 0 {
            refill()
            let entry = literals[Int(held & 0x7FFF)]
            let symbol = Int(entry >> 4)
            try drop(Int(entry & 15))
            if symbol < 256 {
                window.append(UInt8(symbol))
                take(0)
                left -= 1
                continue
            }
            if symbol == 256 { return true }
            guard symbol < 286 else { throw damaged(.gzip, "an unknown code") }
            let length = DeflateCodes.lengthBase[symbol - 257] + (try bits(DeflateCodes.lengthBits[symbol - 257]))
            // The longest match has a code of its own; whoever spells it out cannot be repeated.
            if length == 258, symbol != 285 { throw damaged(.gzip, "an unusual code") }
            refill()
            let far = distances[Int(held & 0x7FFF)]
            try drop(Int(far & 15))
            let distanceSymbol = Int(far >> 4)
            guard distanceSymbol < 30 else { throw damaged(.gzip, "an unknown code") }
            let distance = DeflateCodes.distanceBase[distanceSymbol] + (try bits(DeflateCodes.distanceBits[distanceSymbol]))
            guard distance <= window.end - window.start else { throw damaged(.gzip, "a match before the beginning") }
            window.repeatBytes(length, distance: distance)
            take(DeflateToken(length: length, distance: distance))
            left -= length
        }
        return false
    }

    // MARK: Bits

    private var truncated: Fault { damaged(.gzip, "it is truncated") }

    private func fill() {
        guard !isDrained, next == filled else { return }
        next = 0
        filled = 0
        let space = UnsafeMutableRawBufferPointer(start: input, count: 128 << 10)
        do { filled = try source.read(into: space) } catch { failure = error }
        if filled == 0 { isDrained = true }
    }

    /// What the source said when it had no more.
    private var failure: (any Error)?

    @inline(__always)
    private func refill() {
        if filled - next >= 8, holding <= 48 {
            held |= UInt64(littleEndian: UnsafeRawPointer(input + next).loadUnaligned(as: UInt64.self)) << UInt64(holding)
            let taken = (63 - holding) >> 3
            next += taken
            holding += taken * 8
            return
        }
        slowRefill()
    }

    private func slowRefill() {
        while holding <= 48 {
            if next == filled { fill() }
            guard next < filled else { return }
            held |= UInt64(input[next]) << UInt64(holding)
            next += 1
            holding += 8
        }
    }

    @inline(__always)
    private func drop(_ count: Int) throws {
        guard count > 0, count <= holding else { throw failure ?? (count == 0 ? damaged(.gzip, "an unknown code") : truncated) }
        held >>= UInt64(count)
        holding -= count
    }

    private func bits(_ count: Int) throws -> Int {
        if count == 0 { return 0 }
        if holding < count { refill() }
        guard count <= holding else { throw failure ?? truncated }
        let value = Int(held & ((1 << UInt64(count)) - 1))
        try drop(count)
        return value
    }

    private func align() {
        let rest = holding & 7
        held >>= UInt64(rest)
        holding -= rest
    }

    private func rawByte() throws -> UInt8? {
        if holding >= 8 { return UInt8(try bits(8)) }
        // A refill may have left bits of the next byte.
        held = 0
        if next == filled { fill() }
        guard next < filled else {
            if let failure { throw failure }
            return nil
        }
        defer { next += 1 }
        return input[next]
    }

    private func rawBytes(_ count: Int) throws -> [UInt8] {
        try (0..<count).map { _ in
            guard let byte = try rawByte() else { throw truncated }
            return byte
        }
    }
}

/// The bits at the beginning of a dynamic block.
struct DeflateHead {
    private(set) var bytes: [UInt8] = []
    private(set) var count = 0

    mutating func append(_ value: Int, _ bits: Int) {
        for bit in 0..<bits {
            if count & 7 == 0 { bytes.append(0) }
            if value & 1 << bit != 0 { bytes[count >> 3] |= 1 << UInt8(count & 7) }
            count += 1
        }
    }

    init() {}
    init(bytes: [UInt8], count: Int) {
        self.bytes = bytes
        self.count = count
    }

    /// The code lengths that it says.
    func lengths() throws -> DeflateLengths {
        var position = 0
        return try DeflateLengths { wanted in
            guard position + wanted <= count else { throw damaged(.gzip, "a block's head is too short") }
            var value = 0
            for bit in 0..<wanted where bytes[(position + bit) >> 3] & 1 << UInt8((position + bit) & 7) != 0 {
                value |= 1 << bit
            }
            position += wanted
            return value
        }
    }
}
