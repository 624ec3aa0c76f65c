/// A part of a content that a request wants (RFC 9110, 14.2).
package enum WantedRange: Equatable {
    case whole
    case part(Range<Int64>)
    /// Answered with 416.
    case unsatisfiable

    /// One range is honoured; several, or a unit other than bytes, or a malformed field are as if there was none.
    package init(_ field: String?, size: Int64) {
        self = .whole
        guard let field, field.utf8.count <= 128, field.lowercased().hasPrefix("bytes=") else { return }
        let spec = field.dropFirst(6).filter { $0 != " " && $0 != "\t" }
        guard !spec.contains(","), let dash = spec.firstIndex(of: "-") else { return }
        let first = spec[..<dash]
        let last = spec[spec.index(after: dash)...]
        if first.isEmpty {
            guard let count = DecimalNumber.read(last) else { return }
            self = count == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - count)..<size)
            return
        }
        guard let start = DecimalNumber.read(first) else { return }
        if last.isEmpty {
            self = start < size ? .part(start..<size) : .unsatisfiable
            return
        }
        guard let end = DecimalNumber.read(last), end >= start else { return }
        self = start < size ? .part(start..<(min(end, size - 1) + 1)) : .unsatisfiable
    }
}

/// Where a chunk of an upload belongs: `first-last`, both inclusive (distribution-spec, "Pushing a blob in chunks"); clients that
/// write it as HTTP does, `bytes first-last/total`, are understood.
package struct ChunkRange: Equatable {
    package let first: Int64
    package let last: Int64
    var count: Int64 { last - first + 1 }

    package init?(_ field: String) {
        guard field.utf8.count <= 128 else { return nil }
        var text = Substring(field)
        if text.lowercased().hasPrefix("bytes") {
            text = text.dropFirst(5)
            guard let separator = text.first, separator == " " || separator == "=" else { return nil }
            text = text.dropFirst()
        }
        if let slash = text.firstIndex(of: "/") { text = text[..<slash] }
        guard let dash = text.firstIndex(of: "-"), let first = DecimalNumber.read(text[..<dash]),
            let last = DecimalNumber.read(text[text.index(after: dash)...]), last >= first
        else { return nil }
        self.first = first
        self.last = last
    }
}

/// Digits and nothing else: `Int64("+5")` would be a number.
enum DecimalNumber {
    static func read(_ text: some StringProtocol) -> Int64? {
        guard (1...18).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int64(text)
    }
}
