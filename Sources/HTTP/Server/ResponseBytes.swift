import Linux
import Model
import Synchronization

/// The head of an answer as bytes.
enum ResponseBytes {
    static func head(_ response: ServerResponse, keeps: Bool, minor: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(512)
        append("HTTP/1.1 \(response.status) \(reason(response.status))\r\nDate: ", to: &bytes)
        append(ResponseDate.now, to: &bytes)
        append("\r\n", to: &bytes)
        for field in response.fields {
            // nothing that came from outside ends a line
            append(field.name, to: &bytes)
            append(": ", to: &bytes)
            for byte in field.value.utf8 { bytes.append(HeadParser.isFieldByte(byte) ? byte : UInt8(ascii: "?")) }
            append("\r\n", to: &bytes)
        }
        if response.status != 204, response.status != 304, response.status >= 200 {
            append("Content-Length: \(response.count)\r\n", to: &bytes)
        }
        if !keeps {
            append("Connection: close\r\n", to: &bytes)
        } else if minor == 0 {
            append("Connection: keep-alive\r\n", to: &bytes)
        }
        append("\r\n", to: &bytes)
        return bytes
    }

    private static func append(_ text: String, to bytes: inout [UInt8]) { bytes.append(contentsOf: text.utf8) }

    static func reason(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 204: "No Content"
        case 206: "Partial Content"
        case 304: "Not Modified"
        case 307: "Temporary Redirect"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 413: "Content Too Large"
        case 416: "Range Not Satisfiable"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 507: "Insufficient Storage"
        default: "Status"
        }
    }
}

/// Times as HTTP writes them (RFC 9110, 5.6.7).
enum ResponseDate {
    private static let last = Mutex<(second: Int64, text: String)>((-1, ""))

    static var now: String {
        let second = Clock.realtime / 1_000_000_000
        return last.withLock { last in
            if last.second != second { last = (second, text(second)) }
            return last.text
        }
    }

    /// - Parameter seconds: since 1970.
    static func text(_ seconds: Int64) -> String {
        let days = Int(seconds / 86_400)
        let rest = Int(seconds % 86_400)
        let (year, month, day) = Timestamp.civil(days: days)
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let time = "\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))"
        return "\(weekdays[days % 7]), \(two(day)) \(months[month - 1]) \(year) \(time) GMT"
    }
}
