import JSON

/// An instant in nanoseconds since 1970-01-01T00:00:00Z. Reads and writes RFC 3339 with up to nine digits of fraction.
public struct Timestamp: Sendable, Hashable, Comparable, CustomStringConvertible {
    public var nanoseconds: Int64

    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    public init(seconds: Int64) { self.nanoseconds = seconds * 1_000_000_000 }

    /// Go's zero time, which the Docker API shows for "never".
    public static let goZeroText = "0001-01-01T00:00:00Z"

    public var seconds: Int64 { nanoseconds >= 0 ? nanoseconds / 1_000_000_000 : (nanoseconds - 999_999_999) / 1_000_000_000 }

    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.nanoseconds < right.nanoseconds }

    /// RFC 3339 in UTC as Go's RFC3339Nano: trailing zeros of the fraction are dropped.
    public var description: String { text(fixedFraction: false) }

    /// With all nine digits of the fraction, as `logs --timestamps` shows it.
    public var fixedDescription: String { text(fixedFraction: true) }

    private func text(fixedFraction: Bool) -> String {
        var days = Int(seconds) / 86_400
        var rest = Int(seconds) % 86_400
        if rest < 0 {
            rest += 86_400
            days -= 1
        }
        let (year, month, day) = Self.civil(days: days)
        var out = Self.pad(year, 4) + "-" + Self.pad(month, 2) + "-" + Self.pad(day, 2) + "T"
        out += Self.pad(rest / 3600, 2) + ":" + Self.pad(rest / 60 % 60, 2) + ":" + Self.pad(rest % 60, 2)
        var fraction = Self.pad(Int(nanoseconds - seconds * 1_000_000_000), 9)
        if !fixedFraction { while fraction.hasSuffix("0") { fraction.removeLast() } }
        if !fraction.isEmpty { out += "." + fraction }
        return out + "Z"
    }

    /// Year, month, day of a day number (Howard Hinnant, "chrono-compatible low-level date algorithms").
    public static func civil(days: Int) -> (year: Int, month: Int, day: Int) {
        let z = days + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let doe = z - era * 146_097
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100)
        let mp = (5 * doy + 2) / 153
        let month = mp < 10 ? mp + 3 : mp - 9
        return (yoe + era * 400 + (month <= 2 ? 1 : 0), month, doy - (153 * mp + 2) / 5 + 1)
    }

    static func days(year: Int, month: Int, day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yoe = y - era * 400
        let doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy
        return era * 146_097 + doe - 719_468
    }

    private static func pad(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return digits.count >= width ? digits : String(repeating: "0", count: width - digits.count) + digits
    }

    /// Parses RFC 3339 (`2006-01-02T15:04:05.999999999Z`, offsets allowed); nil where the text is none.
    public init?(_ text: String) {
        let b = Array(text.utf8)
        func number(_ from: Int, _ count: Int) -> Int? {
            guard from + count <= b.count else { return nil }
            var value = 0
            for index in from..<(from + count) {
                guard (0x30...0x39).contains(b[index]) else { return nil }
                value = value * 10 + Int(b[index] - 0x30)
            }
            return value
        }
        guard b.count >= 20, b[4] == 0x2D, b[7] == 0x2D, b[10] | 0x20 == 0x74, b[13] == 0x3A, b[16] == 0x3A,
            let year = number(0, 4), let month = number(5, 2), let day = number(8, 2), let hour = number(11, 2),
            let minute = number(14, 2), let second = number(17, 2),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second <= 60
        else { return nil }
        var at = 19
        var fraction = 0
        if b[at] == 0x2E {
            var digits = 0
            at += 1
            while at < b.count, (0x30...0x39).contains(b[at]) {
                if digits < 9 { fraction = fraction * 10 + Int(b[at] - 0x30) }
                digits += 1
                at += 1
            }
            guard digits > 0 else { return nil }
            for _ in 0..<max(0, 9 - digits) { fraction *= 10 }
        }
        guard at < b.count else { return nil }
        var offset = 0
        if b[at] | 0x20 == 0x7A {
            at += 1
        } else {
            guard b[at] == 0x2B || b[at] == 0x2D, let hours = number(at + 1, 2), at + 3 < b.count, b[at + 3] == 0x3A,
                let minutes = number(at + 4, 2)
            else { return nil }
            offset = (hours * 3600 + minutes * 60) * (b[at] == 0x2B ? 1 : -1)
            at += 6
        }
        guard at == b.count else { return nil }
        let days = Self.days(year: year, month: month, day: day)
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset
        let (product, overflow) = Int64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return nil }
        self.init(nanoseconds: product + Int64(fraction))
    }
}

extension Timestamp: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let value = Timestamp(text) else { throw reader.fault("\"\(text)\" is no RFC 3339 time") }
        self = value
    }

    public func write(to writer: inout JSONWriter) { writer.string(description) }
}
