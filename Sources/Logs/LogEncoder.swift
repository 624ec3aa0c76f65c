import Model

/// Makes lines of a log file out of bytes.
struct LogEncoder {
    /// Finished lines that wait to be written.
    private(set) var bytes: [UInt8] = []
    /// The digits of the second that was written last.
    private var second: Int64 = .min
    private var secondText: [UInt8] = []

    init() { bytes.reserveCapacity(8 << 10) }

    var count: Int { bytes.count }

    mutating func removeAll() {
        if bytes.capacity > 64 << 10 { bytes = [] } else { bytes.removeAll(keepingCapacity: true) }
    }

    mutating func append(_ text: UnsafeRawBufferPointer, stream: LogStream, time: Int64) {
        put("{\"log\":\"")
        escape(text)
        put(stream == .stdout ? "\",\"stream\":\"stdout\",\"time\":\"" : "\",\"stream\":\"stderr\",\"time\":\"")
        put(time: time)
        put("\"}\n")
    }

    private mutating func put(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Always nine digits of fraction: valid RFC 3339, and of one length.
    private mutating func put(time: Int64) {
        let stamp = Timestamp(nanoseconds: time)
        let seconds = stamp.seconds
        if seconds != second {
            second = seconds
            secondText = Array(Timestamp(seconds: seconds).description.utf8.dropLast())
        }
        bytes.append(contentsOf: secondText)
        bytes.append(UInt8(ascii: "."))
        var rest = time - seconds * 1_000_000_000
        var divisor: Int64 = 100_000_000
        while divisor > 0 {
            bytes.append(UInt8(0x30 + rest / divisor))
            rest %= divisor
            divisor /= 10
        }
        bytes.append(UInt8(ascii: "Z"))
    }

    /// A JSON string's content: quotes, backslashes, control characters, U+2028 and U+2029 are escaped; bad UTF-8 is replaced.
    private mutating func escape(_ text: UnsafeRawBufferPointer) {
        var run = 0
        var index = 0
        let count = text.count
        while index < count {
            let byte = text[index]
            if byte >= 0x80 {
                let length = utf8Length(text, index)
                let separator = length == 3 && byte == 0xE2 && text[index + 1] == 0x80 && text[index + 2] & 0xFE == 0xA8
                if length > 0, !separator {
                    index += length
                    continue
                }
                flush(text, run, index)
                if separator {
                    put(text[index + 2] == 0xA8 ? "\\u2028" : "\\u2029")
                    index += 3
                } else {
                    put("\\ufffd")
                    index += 1
                }
                run = index
            } else if byte < 0x20 || byte == 0x22 || byte == 0x5C {
                flush(text, run, index)
                escape(byte)
                index += 1
                run = index
            } else {
                index += 1
            }
        }
        flush(text, run, count)
    }

    private mutating func flush(_ text: UnsafeRawBufferPointer, _ from: Int, _ to: Int) {
        if from < to { bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: text[from..<to])) }
    }

    private mutating func escape(_ byte: UInt8) {
        switch byte {
        case 0x0A: put("\\n")
        case 0x0D: put("\\r")
        case 0x09: put("\\t")
        case 0x22: put("\\\"")
        case 0x5C: put("\\\\")
        default:
            put("\\u00")
            let digits: StaticString = "0123456789abcdef"
            bytes.append(digits.utf8Start[Int(byte >> 4)])
            bytes.append(digits.utf8Start[Int(byte & 15)])
        }
    }
}

/// Length of the well-formed UTF-8 sequence at `index`, 0 where there is none (Unicode, table 3-7).
func utf8Length(_ text: UnsafeRawBufferPointer, _ index: Int) -> Int {
    let first = text[index]
    func continues(_ offset: Int, _ low: UInt8 = 0x80, _ high: UInt8 = 0xBF) -> Bool {
        index + offset < text.count && text[index + offset] >= low && text[index + offset] <= high
    }
    switch first {
    case 0x00...0x7F: return 1
    case 0xC2...0xDF: return continues(1) ? 2 : 0
    case 0xE0: return continues(1, 0xA0) && continues(2) ? 3 : 0
    case 0xED: return continues(1, 0x80, 0x9F) && continues(2) ? 3 : 0
    case 0xE1...0xEF: return continues(1) && continues(2) ? 3 : 0
    case 0xF0: return continues(1, 0x90) && continues(2) && continues(3) ? 4 : 0
    case 0xF1...0xF3: return continues(1) && continues(2) && continues(3) ? 4 : 0
    case 0xF4: return continues(1, 0x80, 0x8F) && continues(2) && continues(3) ? 4 : 0
    default: return 0
    }
}

/// Where to cut bytes at `limit` so that no well-formed sequence is cut in two.
func cut(_ text: UnsafeRawBufferPointer, at limit: Int) -> Int {
    var at = limit
    while at > limit - 4, at > 0 {
        at -= 1
        if text[at] < 0x80 { return limit }
        if text[at] >= 0xC0 {
            let wanted = text[at] >= 0xF0 ? 4 : text[at] >= 0xE0 ? 3 : 2
            return at + wanted > limit && at > 0 ? at : limit
        }
    }
    return limit
}
