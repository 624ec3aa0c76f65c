import Client
import JSON
import Linux
import Model

/// The engine's progress messages, one JSON object after the other: shown as lines, or in place on a terminal.
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
        var places: [String] = []
        while true {
            let more: Void? = try connection.readBody { bytes in
                for byte in bytes {
                    if byte != 0x0A {
                        line.append(byte)
                        guard line.count <= 1 << 20 else { throw Fault(.system, "a progress message is too long") }
                        continue
                    }
                    try message(line, &places)
                    line.removeAll(keepingCapacity: true)
                }
            }
            if more == nil { break }
        }
        try message(line, &places)
    }

    private func message(_ line: [UInt8], _ places: inout [String]) throws {
        guard line.contains(where: { $0 != 0x0D && $0 != 0x20 }) else { return }
        let value = try EngineClient.decode(line, as: JSONValue.self)
        if let text = value["errorDetail"]?["message"]?.string ?? value["error"]?.string { throw Fault(.system, text) }
        guard !isQuiet else { return }
        if let stream = value["stream"]?.string { return try write(stream) }
        guard let status = value["status"]?.string else { return }
        let id = value["id"]?.string ?? ""
        let progress = value["progress"]?.string ?? ""
        if !progress.isEmpty, !isTerminal { return }
        let text = (id.isEmpty ? "" : id + ": ") + status + (progress.isEmpty ? "" : " " + progress)
        guard isTerminal, !id.isEmpty else { return try write(text + "\n") }
        if let place = places.firstIndex(of: id) {
            let up = places.count - place
            try write("\u{1B}[\(up)A\u{1B}[2K\r\(text)\r\u{1B}[\(up)B")
        } else {
            places.append(id)
            try write(text + "\n")
        }
    }

    private func write(_ text: String) throws { try StreamCalls.writeAll(fd, Array(text.utf8)) }
}
