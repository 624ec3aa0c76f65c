import Model

/// Docker's multiplexed stream: frames of `[kind, 0, 0, 0, length as four bytes, big end first]` and their payload.
public struct StreamFrames {
    public enum Kind: UInt8, Sendable {
        case stdin = 0
        case stdout = 1
        case stderr = 2
        /// The engine's own words about a failure of the stream.
        case fault = 3
    }

    /// A stretch of one frame's payload.
    public struct Piece {
        public let kind: Kind
        public let bytes: UnsafeRawBufferPointer
        public let isFirst: Bool
        public let isLast: Bool
    }

    private var header: [UInt8] = []
    private var kind = Kind.stdout
    private var left = 0
    private var first = true

    public init() { header.reserveCapacity(8) }

    /// True between frames: a stream that ends elsewhere was cut off.
    public var isBetweenFrames: Bool { header.isEmpty && left == 0 }

    public mutating func reset() {
        header.removeAll(keepingCapacity: true)
        left = 0
    }

    /// Gives out the pieces in these bytes. A kind that does not exist is a fault: the stream is no multiplexed one.
    public mutating func feed(_ input: UnsafeRawBufferPointer, _ use: (Piece) throws -> Void) throws {
        var at = 0
        while at < input.count {
            if left == 0 {
                let wanted = min(8 - header.count, input.count - at)
                header.append(contentsOf: input[at..<(at + wanted)])
                at += wanted
                guard header.count == 8 else { return }
                guard let kind = Kind(rawValue: header[0]) else {
                    throw Fault(.system, "unrecognized stream: \(header[0])")
                }
                self.kind = kind
                left = header[4..<8].reduce(0) { $0 << 8 | Int($1) }
                header.removeAll(keepingCapacity: true)
                first = true
                if left == 0 {
                    try use(
                        Piece(kind: kind, bytes: UnsafeRawBufferPointer(rebasing: input[at..<at]), isFirst: true, isLast: true))
                }
                continue
            }
            let count = min(left, input.count - at)
            left -= count
            let bytes = UnsafeRawBufferPointer(rebasing: input[at..<(at + count)])
            at += count
            try use(Piece(kind: kind, bytes: bytes, isFirst: first, isLast: left == 0))
            first = false
        }
    }
}

/// Finds the key sequence that leaves a container running (default ctrl-p, ctrl-q) in what is typed.
public struct DetachKeys: Sendable {
    public let keys: [UInt8]
    private var matched = 0

    public static let standard: [UInt8] = [16, 17]

    public init(_ keys: [UInt8] = DetachKeys.standard) { self.keys = keys }

    /// `ctrl-p,ctrl-q`, `a`, `ctrl-\\` …: nil where a part is none of docker's.
    public static func parse(_ text: String) -> [UInt8]? {
        var keys: [UInt8] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let lower = part.lowercased()
            if part.utf8.count == 1, let byte = part.utf8.first {
                keys.append(byte)
            } else if lower.hasPrefix("ctrl-"), lower.utf8.count == 6, let byte = lower.utf8.last {
                switch byte {
                case 0x61...0x7A: keys.append(byte - 0x60)
                case UInt8(ascii: "@"): keys.append(0)
                case UInt8(ascii: "["): keys.append(27)
                case UInt8(ascii: "\\"): keys.append(28)
                case UInt8(ascii: "]"): keys.append(29)
                case UInt8(ascii: "^"): keys.append(30)
                case UInt8(ascii: "_"): keys.append(31)
                default: return nil
                }
            } else if lower == "del" {
                keys.append(127)
            } else {
                return nil
            }
        }
        return keys
    }

    /// Passes typed bytes on; keys that may be the beginning of the sequence are held back until it is clear.
    /// Nil when the sequence is complete.
    public mutating func filter(_ typed: [UInt8]) -> [UInt8]? {
        guard !keys.isEmpty else { return typed }
        var result: [UInt8] = []
        for byte in typed {
            if byte == keys[matched] {
                matched += 1
                if matched == keys.count { return nil }
                continue
            }
            if matched > 0 {
                result += keys[..<matched]
                matched = 0
                if byte == keys[0] {
                    matched = 1
                    continue
                }
            }
            result.append(byte)
        }
        return result
    }
}
