import JSON

/// A content digest as OCI writes it, `sha256:<64 hex>` or `sha512:<128 hex>`; nothing else is accepted, so that a digest can
/// be used as a file name (image-spec, descriptor.md, "Digests").
public struct Digest: Sendable, Hashable, Comparable, CustomStringConvertible {
    public enum Algorithm: String, Sendable, CaseIterable {
        case sha256, sha512

        /// Hexadecimal digits of a digest.
        public var length: Int { self == .sha256 ? 64 : 128 }
    }

    public let algorithm: Algorithm
    /// Lower-case hexadecimal digits.
    public let hex: String

    /// Nil unless the digits are exactly as many as the algorithm has, lower case.
    public init?(_ algorithm: Algorithm, hex: String) {
        guard hex.utf8.count == algorithm.length, Self.isLowerHex(hex.utf8) else { return nil }
        self.algorithm = algorithm
        self.hex = hex
    }

    /// Nil unless the text is `sha256:…` or `sha512:…` in full.
    public init?(_ text: some StringProtocol) {
        guard let colon = text.firstIndex(of: ":"), let algorithm = Algorithm(rawValue: String(text[..<colon])) else {
            return nil
        }
        self.init(algorithm, hex: String(text[text.index(after: colon)...]))
    }

    /// From the hash's bytes; nil where their number is not the algorithm's.
    public init?(_ algorithm: Algorithm, bytes: [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        self.init(algorithm, hex: String(decoding: text, as: UTF8.self))
    }

    /// The first twelve digits, as lists show an image's id.
    public var short: String { String(hex.prefix(12)) }
    public var description: String { algorithm.rawValue + ":" + hex }

    public static func < (left: Digest, right: Digest) -> Bool { left.description < right.description }

    static func isLowerHex(_ utf8: some Sequence<UInt8>) -> Bool {
        utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }
}

extension Digest: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let value = Digest(text) else { throw reader.fault("\"\(text.prefix(160))\" is no sha256 or sha512 digest") }
        self = value
    }
    public func write(to writer: inout JSONWriter) { writer.string(description) }
}
