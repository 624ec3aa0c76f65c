import Client
import JSON
import Linux
import Model

/// The engine's progress messages, one JSON object after the other: shown as lines, or in place with bars on a terminal, as docker's
/// clients do (moby's jsonmessage).
struct ProgressStream {
    private let fd: CInt
    private let isQuiet: Bool
    private let isTerminal: Bool

    init(toError: Bool = false, quiet: Bool = false) {
        fd = toError ? 2 : 1
        isQuiet = quiet
        isTerminal = StreamCalls.isTerminal(fd)
    }

    /// Shows messages until the end; an error in the stream is thrown.
    func show(_ connection: HTTPConnection) throws {
        var line: [UInt8] = []
        var display = ProgressDisplay(isTerminal: isTerminal, width: TerminalCalls.size(fd)?.columns ?? 200)
        while true {
            let more: Void? = try connection.readBody { bytes in
                for byte in bytes {
                    if byte != 0x0A {
                        line.append(byte)
                        guard line.count <= 1 << 20 else { throw Fault(.system, "a progress message is too long") }
                        continue
                    }
                    try message(line, &display)
                    line.removeAll(keepingCapacity: true)
                }
            }
            if more == nil { break }
        }
        try message(line, &display)
    }

    private func message(_ line: [UInt8], _ display: inout ProgressDisplay) throws {
        guard line.contains(where: { $0 != 0x0D && $0 != 0x20 }) else { return }
        let value = try EngineClient.decode(line, as: JSONValue.self)
        if let text = value["errorDetail"]?["message"]?.string ?? value["error"]?.string { throw Fault(.system, text) }
        guard !isQuiet else { return }
        let text = display.show(value)
        if !text.isEmpty { try StreamCalls.writeAll(fd, Array(text.utf8)) }
    }
}

/// What is to be written for each message.
package struct ProgressDisplay {
    private let isTerminal: Bool
    private let width: Int
    /// The ids on the lines above the cursor.
    private var places: [String] = []

    package init(isTerminal: Bool, width: Int) {
        self.isTerminal = isTerminal
        self.width = width
    }

    package mutating func show(_ message: JSONValue) -> String {
        if message["aux"] != nil { return "" }
        let id = message["id"]?.string ?? ""
        let detail = message["progressDetail"].flatMap { $0.members == nil ? nil : $0 }
        let bar = detail.map(self.bar) ?? message["progress"]?.string ?? ""
        let isProgress = detail != nil || !(message["progress"]?.string ?? "").isEmpty
        let words = message["stream"]?.string ?? message["status"]?.string ?? ""
        let head = id.isEmpty ? "" : id + ": "
        guard isTerminal else {
            if !bar.isEmpty { return "" }
            return message["stream"] != nil ? head + words : head + words + "\n"
        }
        guard isProgress, message["stream"] == nil else {
            // What has no place of its own ends the lines that are written in place.
            places = []
            return message["stream"] != nil ? head + words : head + words + "\n"
        }
        let line = "\u{1B}[2K\r\(head)\(words)\(bar.isEmpty ? "" : " " + bar)\r"
        guard !id.isEmpty else { return line }
        var text = ""
        if !places.contains(id) {
            places.append(id)
            text = "\n"
        }
        let up = places.count - (places.firstIndex(of: id) ?? 0)
        return text + "\u{1B}[\(up)A" + line + "\u{1B}[\(up)B"
    }

    /// `[====>     ]  12.3MB/45MB`
    private func bar(_ detail: JSONValue) -> String {
        let current = detail["current"]?.int ?? 0
        let total = detail["total"]?.int ?? 0
        if current <= 0, total <= 0 { return "" }
        let size = ByteSize.human(Double(current), digits: 4)
        let padded = String(repeating: " ", count: max(0, 8 - size.count)) + size
        guard total > 0 else { return padded }
        let done = min(50, Int(Double(current) / Double(total) * 100) / 2)
        let box =
            width > 110 ? "[" + String(repeating: "=", count: done) + ">" + String(repeating: " ", count: 50 - done) + "] " : ""
        return box + (current > total ? padded : padded + "/" + ByteSize.human(Double(total), digits: 4))
    }
}
