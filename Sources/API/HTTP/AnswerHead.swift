import Model
import NIOCore

/// The bytes of a response's head. Written by hand: the encoder of NIOHTTP1 costs as much as all the rest of `_ping`.
struct AnswerHead {
    enum Framing {
        case length(Int)
        case chunked
        /// The end of the connection is the end of the body (HTTP/1.0, hijacked streams).
        case untilClose
        /// No body and no length: 204 and 304.
        case none
        /// 101: the connection changes its protocol.
        case upgrade(String)
    }

    private static let constant =
        "Api-Version: \(Docker.apiVersion)\r\nDocker-Experimental: false\r\nOstype: linux\r\n"
        + "Server: Skiff/\(Skiff.version) (linux)\r\n"

    static func write(
        status: Int, contentType: String?, fields: [(name: String, value: String)], framing: Framing, closes: Bool,
        to buffer: inout ByteBuffer
    ) {
        buffer.writeString("HTTP/1.1 ")
        buffer.writeString(String(status))
        buffer.writeString(" ")
        buffer.writeString(reason(status))
        buffer.writeString("\r\n")
        buffer.writeString(constant)
        if let contentType {
            buffer.writeString("Content-Type: ")
            buffer.writeString(contentType)
            buffer.writeString("\r\n")
        }
        for field in fields {
            buffer.writeString(field.name)
            buffer.writeString(": ")
            // a line break in a value would start a field of its own
            buffer.writeBytes(field.value.utf8.lazy.filter { $0 >= 0x20 && $0 != 0x7F })
            buffer.writeString("\r\n")
        }
        switch framing {
        case .length(let count):
            buffer.writeString("Content-Length: ")
            buffer.writeString(String(count))
            buffer.writeString("\r\n")
        case .chunked: buffer.writeString("Transfer-Encoding: chunked\r\n")
        case .upgrade(let name):
            buffer.writeString("Connection: Upgrade\r\nUpgrade: ")
            buffer.writeString(name)
            buffer.writeString("\r\n")
        case .untilClose, .none: break
        }
        if case .upgrade = framing {} else { if closes { buffer.writeString("Connection: close\r\n") } }
        buffer.writeString("\r\n")
    }

    static func reason(_ status: Int) -> String {
        switch status {
        case 100: "Continue"
        case 101: "UPGRADED"
        case 200: "OK"
        case 201: "Created"
        case 204: "No Content"
        case 304: "Not Modified"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 409: "Conflict"
        case 413: "Request Entity Too Large"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        default: "Status"
        }
    }
}
