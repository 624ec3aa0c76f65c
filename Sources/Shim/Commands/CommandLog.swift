import JSON
import Linux
import Model
import Runtime

/// The log of the command line as runc's callers read it: text on standard error, or lines of text or JSON in a file.
final class CommandLog: Sendable {
    enum Format: String, Sendable { case text, json }

    private let file: SharedDescriptor?
    private let format: Format
    private let level: Reporter.Level

    init(path: String?, format: Format, isDebug: Bool) throws {
        self.format = format
        level = isDebug ? .debug : .info
        if let path, !path.isEmpty, path != "/dev/stderr" {
            do { file = SharedDescriptor(try Files.open(path, [.writeOnly, .create, .append], mode: 0o644)) } catch {
                throw Fault(.invalid, "cannot open the log \(path)", subject: path, cause: error)
            }
        } else {
            file = nil
        }
    }

    var reporter: Reporter { Reporter { [self] level, text in write(level, text) } }

    func write(_ level: Reporter.Level, _ text: String) {
        guard level >= self.level else { return }
        let time = Timestamp(seconds: KernelClock.realtime / 1_000_000_000).description
        let name =
            switch level {
            case .debug: "debug"
            case .info: "info"
            case .warning: "warning"
            case .error: "error"
            }
        var writer = JSONWriter()
        switch format {
        case .json:
            writer.object { writer in
                writer.member("level", name)
                writer.member("msg", text)
                writer.member("time", time)
            }
            writer.newline()
            try? Files.write(file?.raw ?? 2, writer.bytes)
        case .text:
            let line = "time=\(time.jsonText) level=\(name) msg=\(text.jsonText)\n"
            try? Files.write(file?.raw ?? 2, Array(line.utf8))
        }
    }

    /// The last word of a command that failed: in the log, and on standard error where the log is a file.
    func fail(_ text: String) {
        write(.error, text)
        if file != nil { try? Files.write(2, Array((text + "\n").utf8)) }
    }
}
