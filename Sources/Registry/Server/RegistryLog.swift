import JSON
import Linux
import Model
import Synchronization

/// One line per event on standard error, as text or JSON.
package final class RegistryLog: Sendable {
    package enum Format: String, Sendable { case text, json }

    private let format: Format
    private let isQuiet: Bool

    package init(_ format: Format, isQuiet: Bool = false) {
        self.format = format
        self.isQuiet = isQuiet
    }

    func info(_ message: String, _ members: [(String, String)] = []) { line("info", message, members) }
    func warning(_ message: String, _ members: [(String, String)] = []) { line("warning", message, members) }
    func error(_ message: String, _ members: [(String, String)] = []) { line("error", message, members) }

    private func line(_ level: String, _ message: String, _ members: [(String, String)]) {
        if isQuiet { return }
        DaemonProcess.writeError(Self.line(format, level, message, members, Timestamp(nanoseconds: KernelClock.realtime)))
    }

    /// One message is one line, whatever a client has put into it.
    static func line(
        _ format: Format, _ level: String, _ message: String, _ members: [(String, String)], _ time: Timestamp
    ) -> [UInt8] {
        if format == .json {
            var writer = JSONWriter()
            writer.object { writer in
                writer.member("time", time.description)
                writer.member("level", level)
                writer.member("msg", message)
                for (name, value) in members { writer.member(name, value) }
            }
            writer.newline()
            return writer.bytes
        }
        var bytes = Array("\(time.fixedDescription) \(level): ".utf8)
        append(message, to: &bytes)
        for (name, value) in members {
            bytes.append(0x20)
            bytes.append(contentsOf: name.utf8)
            bytes.append(UInt8(ascii: "="))
            append(value, to: &bytes)
        }
        bytes.append(0x0A)
        return bytes
    }

    private static func append(_ text: String, to bytes: inout [UInt8]) {
        for byte in text.utf8 { bytes.append(byte < 0x20 || byte == 0x7F ? UInt8(ascii: "?") : byte) }
    }
}
