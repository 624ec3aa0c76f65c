import HTTP

/// What a registry asks for before it answers (RFC 9110, 11.6.1).
package struct AuthChallenge: Equatable {
    /// Lower case: `bearer`, `basic`.
    package var scheme: String
    /// By lower-case names.
    package var parameters: [String: String] = [:]

    package init(scheme: String, parameters: [String: String] = [:]) {
        self.scheme = scheme
        self.parameters = parameters
    }

    /// Reads `WWW-Authenticate` fields: challenges follow one another, each with its parameters, all separated by commas. What cannot
    /// be read ends the list.
    package static func parse(_ fields: [String]) -> [AuthChallenge] {
        var challenges: [AuthChallenge] = []
        for field in fields.prefix(8) where field.utf8.count <= 8 << 10 {
            var reader = ChallengeReader(Array(field.utf8))
            reader.read(&challenges)
        }
        return challenges
    }
}

private struct ChallengeReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func read(_ challenges: inout [AuthChallenge]) {
        while challenges.count < 16 {
            skip { $0 == 0x20 || $0 == 0x09 || $0 == UInt8(ascii: ",") }
            guard let word = word() else { return }
            skip { $0 == 0x20 || $0 == 0x09 }
            guard position < bytes.count, bytes[position] == UInt8(ascii: "=") else {
                challenges.append(AuthChallenge(scheme: word.lowercased()))
                continue
            }
            position += 1
            skip { $0 == 0x20 || $0 == 0x09 }
            guard let value = value(), let last = challenges.indices.last else { return }
            // The first of two counts: whoever adds to a field cannot replace what was there.
            if challenges[last].parameters[word.lowercased()] == nil { challenges[last].parameters[word.lowercased()] = value }
        }
    }

    private mutating func skip(_ isSkipped: (UInt8) -> Bool) {
        while position < bytes.count, isSkipped(bytes[position]) { position += 1 }
    }

    private mutating func word() -> String? {
        let start = position
        skip { ![0x20, 0x09, 0x2C, 0x3D, 0x22].contains($0) }
        return position > start ? String(decoding: bytes[start..<position], as: UTF8.self) : nil
    }

    private mutating func value() -> String? {
        guard position < bytes.count, bytes[position] == 0x22 else { return word() }
        position += 1
        var text: [UInt8] = []
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case 0x22: return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\") where position < bytes.count:
                text.append(bytes[position])
                position += 1
            default: text.append(byte)
            }
        }
        return nil
    }
}
