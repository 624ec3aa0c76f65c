/// Guesses the tokens that a compressor makes of known bytes, by doing as it does. A wrong guess costs a correction in the record and
/// nothing else.
///
/// What it guesses is part of the record's format: the same bytes and corrections must lead to the same guesses for as long as
/// records of that method exist. A better guess is a new method with a number of its own.
struct PredictionMethod: Sendable, Equatable {
    enum Family: UInt8, Sendable {
        /// zlib and GNU gzip: chains of places with the same three bytes.
        case chains = 1
        /// Go's compress/flate from level 2 on: chains of places with the same four bytes.
        case fourByteChains = 2
        /// libdeflate's fastest: two places for each four bytes.
        case buckets = 3
        /// Go's compress/flate level 1: one place for each four bytes.
        case table = 4
    }

    var family: Family
    /// A match of this length is looked for in a quarter of the chain.
    var good: Int
    /// After a match shorter than this one byte later is tried; 0: never. Without trying: up to which length the places inside a match
    /// are remembered.
    var lazy: Int
    /// A match of this length is good enough to stop looking.
    var nice: Int
    /// Places that are looked at.
    var chain: Int
    var isLazy: Bool
    /// Bits of the table of zlib's hash.
    var hashBits = 15

    /// By the numbers of the levels (zlib's deflate.c and gzip's have the same table; Go's deflate.go).
    static func chains(level: Int, hashBits: Int = 15) -> PredictionMethod {
        let table = [
            (4, 4, 8, 4), (4, 5, 16, 8), (4, 6, 32, 32), (4, 4, 16, 16), (8, 16, 32, 32), (8, 16, 128, 128), (8, 32, 128, 256),
            (32, 128, 258, 1024), (32, 258, 258, 4096),
        ]
        let (good, lazy, nice, chain) = table[level - 1]
        return PredictionMethod(
            family: .chains, good: good, lazy: lazy, nice: nice, chain: chain, isLazy: level > 3, hashBits: hashBits)
    }

    static func fourByteChains(level: Int) -> PredictionMethod {
        let table = [
            (0, 5, 16, 8), (0, 6, 32, 32), (0, 4, 16, 16), (0, 16, 32, 32), (0, 16, 128, 128), (0, 32, 128, 256),
            (0, 128, 258, 1024), (0, 258, 258, 4096),
        ]
        let (good, lazy, nice, chain) = table[level - 2]
        return PredictionMethod(
            family: .fourByteChains, good: good, lazy: lazy, nice: nice, chain: chain, isLazy: level > 3, hashBits: 17)
    }

    static let buckets = PredictionMethod(
        family: .buckets, good: 0, lazy: 0, nice: 32, chain: 2, isLazy: false, hashBits: 15)

    static let table = PredictionMethod(
        family: .table, good: 0, lazy: 0, nice: 258, chain: 1, isLazy: false, hashBits: 14)

    /// What is tried, the likely ones first.
    static let candidates: [PredictionMethod] =
        [.fourByteChains(level: 6), .chains(level: 6), .chains(level: 9), .buckets, .table]
        + [1, 2, 3, 4, 5, 7, 8].map { .chains(level: $0) } + [2, 3, 4, 5, 7, 8, 9].map { .fourByteChains(level: $0) }
        + [6, 9].map { .chains(level: $0, hashBits: 16) }
}

/// A literal is 0, a match its length and distance.
typealias DeflateToken = UInt32

extension DeflateToken {
    init(length: Int, distance: Int) { self = UInt32(truncatingIfNeeded: length << 16 | distance) }
    /// Bytes that it stands for.
    var span: Int { self == 0 ? 1 : Int(self >> 16) }
    var matchLength: Int { Int(self >> 16) }
    var distance: Int { Int(self & 0xFFFF) }
}

final class TokenPredictor {
    /// A token is guessed when so many bytes behind it are known, or all are: what more is known makes no difference.
    static let ahead = 1024

    private let window: PlainWindow
    private let method: PredictionMethod
    /// Where the next token begins.
    private(set) var position = 0
    /// Where the stream began that tokens may refer to; at most `PlainWindow.reach` before what is guessed anew.
    private var origin = 0
    /// Where the stream began.
    private(set) var base = 0
    /// The next place to remember.
    private var inserted = 0
    private let head: UnsafeMutablePointer<UInt32>
    private let previous = UnsafeMutablePointer<UInt32>.allocate(capacity: PlainWindow.reach)
    private let heads: Int
    private var waiting: (position: Int, token: DeflateToken) = (-1, 0)
    /// Of `table`: the next place to look at, how many bytes were looked at in vain times 32, where a match has just ended.
    private var scan = (look: 0, skip: 32, after: -1)
    private static let mask = UInt32(PlainWindow.reach - 1)

    init(_ window: PlainWindow, _ method: PredictionMethod) {
        self.window = window
        self.method = method
        heads = (1 << method.hashBits) * (method.family == .buckets ? 2 : 1)
        head = .allocate(capacity: heads)
        head.initialize(repeating: 0, count: heads)
        previous.initialize(repeating: 0, count: PlainWindow.reach)
    }

    deinit {
        head.deallocate()
        previous.deallocate()
    }

    /// A stream of its own begins here, which refers to nothing before.
    func reset() {
        base = position
        forget(from: position)
    }

    /// What was remembered is forgotten but for what the last 32 KiB tell: so the guesses from here on depend on nothing else.
    /// - Parameter since: bytes since the stream began.
    func restart(since: Int) {
        base = position - since
        forget(from: position - min(since, PlainWindow.reach))
    }

    private func forget(from first: Int) {
        head.update(repeating: 0, count: heads)
        origin = first
        inserted = first
        waiting = (-1, 0)
        scan = (look: position, skip: 32, after: -1)
    }

    /// Whether enough is known.
    var isReady: Bool { window.end - position >= Self.ahead || window.isComplete }
    var available: Int { window.end - position }

    func predict() -> DeflateToken {
        switch method.family {
        case .chains: method.isLazy ? predictLazy(3) : predictGreedy(3)
        case .fourByteChains: method.isLazy ? predictLazy(4) : predictGreedy(4)
        case .buckets: predictBuckets()
        case .table: predictTable()
        }
    }

    /// The token is so.
    func accept(_ token: DeflateToken) {
        let span = token.span
        // Places inside a long match are not remembered by those who do not look twice.
        if !method.isLazy, token != 0, span > method.lazy, method.family != .buckets, method.family != .table {
            inserted = position + span
        }
        position += span
        if method.family == .table, token != 0 { scan = (look: position, skip: 32, after: position) }
    }

    /// So many bytes are no tokens.
    func skip(_ count: Int) { position += count }

    // MARK: Chains

    private func number(_ position: Int) -> UInt32 {
        // 0 is nothing: zlib never finds its first byte, Go does.
        UInt32(truncatingIfNeeded: position - origin + (method.family == .chains ? 0 : 1))
    }

    private func hash(_ at: UnsafeMutablePointer<UInt8>) -> Int {
        if method.family == .chains {
            let shift = UInt32(method.hashBits + 2) / 3
            let value = UInt32(at[0]) << (2 * shift) ^ UInt32(at[1]) << shift ^ UInt32(at[2])
            return Int(value & (1 << UInt32(method.hashBits) - 1))
        }
        let value = UInt32(at[0]) << 24 | UInt32(at[1]) << 16 | UInt32(at[2]) << 8 | UInt32(at[3])
        return Int((value &* 0x1E35_A7BD) >> UInt32(32 - method.hashBits))
    }

    /// Remembers everything up to and with a position; answers the last place with the same beginning, 0 where there is none.
    private func insert(through position: Int, _ least: Int) -> UInt32 {
        if inserted < position - PlainWindow.reach { inserted = position - PlainWindow.reach }
        let last = min(position, window.end - least)
        var next = inserted
        while next <= last {
            let slot = hash(window.pointer(next))
            let number = number(next)
            previous[Int(number & Self.mask)] = head[slot]
            head[slot] = number
            next += 1
        }
        inserted = max(inserted, next)
        return position <= last ? previous[Int(number(position) & Self.mask)] : 0
    }

    private func search(_ position: Int, _ first: UInt32, best atLeast: Int, quarter: Bool) -> DeflateToken {
        let isGo = method.family == .fourByteChains
        let farthest = isGo ? PlainWindow.reach : PlainWindow.reach - 262
        let available = window.end - position
        let most = min(258, available)
        let own = number(position)
        var distance = Int(own &- first)
        guard first != 0, distance > 0, distance <= farthest, atLeast < most else { return 0 }
        var chain = quarter ? method.chain >> 2 : method.chain
        let nice = min(method.nice, available)
        let scan = window.pointer(position)
        var best = atLeast
        var found = 0
        var candidate = first
        while true {
            let match = scan - distance
            if match[best] == scan[best], match[best - 1] == scan[best - 1], match[0] == scan[0], match[1] == scan[1] {
                let length = Self.common(scan, match, most)
                if length > best, !isGo || length > 4 || distance <= 4096 {
                    best = length
                    found = distance
                    if length >= nice || length >= most { break }
                }
            }
            if distance == PlainWindow.reach { break }
            candidate = previous[Int(candidate & Self.mask)]
            let next = Int(own &- candidate)
            chain -= 1
            guard candidate != 0, next > distance, isGo ? next <= farthest : next < farthest, chain > 0 else { break }
            distance = next
        }
        return found == 0 ? 0 : DeflateToken(length: best, distance: found)
    }

    private static func common(
        _ one: UnsafeMutablePointer<UInt8>, _ other: UnsafeMutablePointer<UInt8>, _ most: Int
    ) -> Int {
        var length = 0
        while length + 8 <= most {
            let first = UnsafeRawPointer(one + length).loadUnaligned(as: UInt64.self)
            let second = UnsafeRawPointer(other + length).loadUnaligned(as: UInt64.self)
            let differing = first ^ second
            if differing != 0 { return length + differing.trailingZeroBitCount >> 3 }
            length += 8
        }
        while length < most, one[length] == other[length] { length += 1 }
        return length
    }

    private func match(_ position: Int, _ least: Int, after previous: Int) -> DeflateToken {
        let first = insert(through: position, least)
        if least == 4 { return search(position, first, best: 3, quarter: false) }
        let best = max(previous, 2)
        let token = search(position, first, best: best, quarter: best >= method.good)
        // Three bytes from afar cost more than they save.
        return token.matchLength == 3 && token.distance > 4096 && method.isLazy ? 0 : token
    }

    private func predictLazy(_ least: Int) -> DeflateToken {
        let token = waiting.position == position ? waiting.token : match(position, least, after: 0)
        let length = token.matchLength
        guard length >= least else { return 0 }
        guard length < method.lazy, window.end - position - 1 > length else { return token }
        let next = match(position + 1, least, after: length)
        guard next.matchLength > length else { return token }
        waiting = (position + 1, next)
        return 0
    }

    private func predictGreedy(_ least: Int) -> DeflateToken {
        let token = match(position, least, after: 0)
        return token.matchLength >= least ? token : 0
    }

    // MARK: Tables

    private func sameFour(_ one: UnsafeMutablePointer<UInt8>, _ other: UnsafeMutablePointer<UInt8>) -> Bool {
        UnsafeRawPointer(one).loadUnaligned(as: UInt32.self) == UnsafeRawPointer(other).loadUnaligned(as: UInt32.self)
    }

    private func littleHash(_ at: UnsafeMutablePointer<UInt8>) -> Int {
        let value = UInt32(littleEndian: UnsafeRawPointer(at).loadUnaligned(as: UInt32.self))
        return Int((value &* 0x1E35_A7BD) >> UInt32(32 - method.hashBits))
    }

    /// Two places for each beginning, the last and the one before.
    private func predictBuckets() -> DeflateToken {
        let available = window.end - position
        guard available >= 5 else { return 0 }
        if inserted < position - PlainWindow.reach { inserted = position - PlainWindow.reach }
        while inserted < position {
            let slot = littleHash(window.pointer(inserted)) * 2
            head[slot + 1] = head[slot]
            head[slot] = number(inserted)
            inserted += 1
        }
        let scan = window.pointer(position)
        let slot = littleHash(scan) * 2
        let (first, second) = (head[slot], head[slot + 1])
        let own = number(position)
        head[slot] = own
        inserted = position + 1
        let near = Int(own &- first)
        guard first != 0, near < PlainWindow.reach else { return 0 }
        head[slot + 1] = first
        let most = min(258, available)
        var best = 0
        var found = 0
        if sameFour(scan, scan - near) {
            best = Self.common(scan, scan - near, most)
            found = near
        }
        let far = Int(own &- second)
        if second != 0, far < PlainWindow.reach, best < method.nice, sameFour(scan, scan - far) {
            let length = Self.common(scan, scan - far, most)
            if length > best {
                best = length
                found = far
            }
        }
        return best < 4 ? 0 : DeflateToken(length: best, distance: found)
    }

    // MARK: One place for each beginning

    /// Looks at fewer and fewer places while nothing is found, in blocks of 65,535 bytes (as snappy's compressor does).
    private func predictTable() -> DeflateToken {
        let block = 65535
        let start = position - (position - base) % block
        if position == start { scan = (look: position, skip: 32, after: -1) }
        let limit = min(start + block, window.end) - 15
        let isAfter = position == scan.after
        if isAfter {
            if position >= limit {
                scan.look = start + block
                return 0
            }
            insert(position - 1)
        } else {
            if position > scan.look { scan.look = position }
            guard position == scan.look else { return 0 }
            let step = scan.skip >> 5
            scan.skip += step
            guard position + step <= limit else {
                scan.look = start + block
                return 0
            }
            scan.look = position + step
        }
        let at = window.pointer(position)
        let first = insert(position)
        let distance = Int(number(position) &- first)
        if first != 0, distance <= PlainWindow.reach, sameFour(at, at - distance) {
            let most = min(258, start + block - position, window.end - position)
            return DeflateToken(length: Self.common(at, at - distance, most), distance: distance)
        }
        if isAfter { scan = (look: position + 1, skip: 32, after: -1) }
        return 0
    }

    @discardableResult
    private func insert(_ position: Int) -> UInt32 {
        let slot = littleHash(window.pointer(position))
        defer { head[slot] = number(position) }
        return head[slot]
    }
}
