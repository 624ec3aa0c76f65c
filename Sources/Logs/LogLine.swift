import JSON
import Model

/// Reads lines of a log file.
enum LogLine {
    /// The record of one line (without its line break); nil for a line that is none.
    static func record(_ line: UnsafeRawBufferPointer) -> LogRecord? { fast(line) ?? slow(line) }

    /// The time alone, without decoding the text.
    static func time(_ line: UnsafeRawBufferPointer) -> Timestamp? {
        if let time = ownTime(line) { return time }
        return slow(line)?.time
    }

    private static let head: StaticString = "{\"log\":\""
    private static let stdoutMiddle: StaticString = "\",\"stream\":\"stdout\",\"time\":\""
    private static let stderrMiddle: StaticString = "\",\"stream\":\"stderr\",\"time\":\""
    private static let tail: StaticString = "\"}"
    private static let timeLength = 30

    private static func has(_ line: UnsafeRawBufferPointer, _ text: StaticString, at offset: Int) -> Bool {
        let count = text.utf8CodeUnitCount
        guard offset >= 0, offset + count <= line.count else { return false }
        for index in 0..<count where line[offset + index] != text.utf8Start[index] { return false }
        return true
    }

    /// Lines as our writer makes them have a tail of fixed length.
    private static func ownTime(_ line: UnsafeRawBufferPointer) -> Timestamp? {
        let start = line.count - timeLength - tail.utf8CodeUnitCount
        guard has(line, tail, at: line.count - tail.utf8CodeUnitCount),
            has(line, stdoutMiddle, at: start - stdoutMiddle.utf8CodeUnitCount)
                || has(line, stderrMiddle, at: start - stderrMiddle.utf8CodeUnitCount)
        else { return nil }
        return digits(UnsafeRawBufferPointer(rebasing: line[start..<(start + timeLength)]))
    }

    /// `2006-01-02T15:04:05.999999999Z`
    private static func digits(_ text: UnsafeRawBufferPointer) -> Timestamp? {
        guard text[19] == 0x2E, text[29] == 0x5A, text[4] == 0x2D, text[7] == 0x2D, text[10] == 0x54 else { return nil }
        func number(_ from: Int, _ count: Int) -> Int? {
            var value = 0
            for index in from..<(from + count) {
                guard text[index] >= 0x30, text[index] <= 0x39 else { return nil }
                value = value * 10 + Int(text[index] - 0x30)
            }
            return value
        }
        guard let year = number(0, 4), let month = number(5, 2), let day = number(8, 2), let hour = number(11, 2),
            let minute = number(14, 2), let second = number(17, 2), let fraction = number(20, 9),
            (1...12).contains(month), (1...31).contains(day), (1970...2261).contains(year)
        else { return nil }
        // Days from the civil date (Howard Hinnant)
        let y = month <= 2 ? year - 1 : year
        let era = y / 400
        let yoe = y - era * 400
        let doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second
        return Timestamp(nanoseconds: Int64(seconds) * 1_000_000_000 + Int64(fraction))
    }

    private static func fast(_ line: UnsafeRawBufferPointer) -> LogRecord? {
        guard has(line, head, at: 0), let time = ownTime(line) else { return nil }
        let middle = line.count - timeLength - tail.utf8CodeUnitCount - stdoutMiddle.utf8CodeUnitCount
        let stream: LogStream = has(line, stdoutMiddle, at: middle) ? .stdout : .stderr
        let from = head.utf8CodeUnitCount
        guard middle >= from, let text = unescape(UnsafeRawBufferPointer(rebasing: line[from..<middle])) else { return nil }
        return LogRecord(stream: stream, time: time, text: text)
    }

    /// Nil where something needs the full reader: an unescaped quote, a surrogate, a bad escape.
    private static func unescape(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            let byte = text[index]
            guard byte != 0x22, byte >= 0x20 else { return nil }
            guard byte == 0x5C else {
                let run = index
                while index < text.count, text[index] != 0x5C, text[index] != 0x22, text[index] >= 0x20 { index += 1 }
                out.append(contentsOf: UnsafeRawBufferPointer(rebasing: text[run..<index]))
                continue
            }
            guard index + 1 < text.count else { return nil }
            switch text[index + 1] {
            case UInt8(ascii: "n"): out.append(0x0A)
            case UInt8(ascii: "r"): out.append(0x0D)
            case UInt8(ascii: "t"): out.append(0x09)
            case 0x22, 0x5C, 0x2F: out.append(text[index + 1])
            case UInt8(ascii: "u"):
                guard let scalar = scalar(text, index + 2) else { return nil }
                out.append(contentsOf: Array(String(Character(scalar)).utf8))
                index += 4
            default: return nil
            }
            index += 2
        }
        return out
    }

    private static func scalar(_ text: UnsafeRawBufferPointer, _ from: Int) -> UnicodeScalar? {
        guard from + 4 <= text.count else { return nil }
        var value: UInt32 = 0
        for index in from..<(from + 4) {
            guard let digit = Character(UnicodeScalar(text[index])).hexDigitValue else { return nil }
            value = value << 4 | UInt32(digit)
        }
        return UnicodeScalar(value)
    }

    /// Any json-file line: docker's own, with `attrs`, with members in another order.
    private static func slow(_ line: UnsafeRawBufferPointer) -> LogRecord? {
        guard let first = line.first, first == UInt8(ascii: "{") else { return nil }
        var text = ""
        var stream = LogStream.stdout
        var time: Timestamp?
        do {
            var reader = try JSONReader(Array(line))
            try reader.object { key, reader in
                switch key {
                case "log": text = try reader.string()
                case "stream": stream = LogStream(rawValue: try reader.string()) ?? .stdout
                case "time": time = try reader.value()
                default: try reader.skip()
                }
            }
            try reader.end()
        } catch { return nil }
        guard let time else { return nil }
        return LogRecord(stream: stream, time: time, text: Array(text.utf8))
    }
}
