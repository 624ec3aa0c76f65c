import JSON
import Linux
import Logging
import Model
import Synchronization

/// One line per message on standard error: for people, for journald, or as JSON.
struct DaemonLog: LogHandler {
    /// The level of all loggers: SIGHUP changes it.
    private static let shared = Mutex(Logger.Level.info)
    static var level: Logger.Level {
        get { shared.withLock { $0 } }
        set { shared.withLock { $0 = newValue } }
    }

    let label: String
    let format: DaemonOptions.LogFormat
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    var logLevel: Logger.Level {
        get { Self.level }
        set { Self.level = newValue }
    }

    init(label: String, format: DaemonOptions.LogFormat) {
        self.label = label
        self.format = format == .automatic ? (DaemonProcess.isJournal ? .journal : .text) : format
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let extra = event.metadata.map { metadata.merging($0) { $1 } } ?? metadata
        let line = render(event.level, event.message, extra, Timestamp(nanoseconds: KernelClock.realtime))
        DaemonProcess.writeError(line)
    }

    func render(_ level: Logger.Level, _ message: Logger.Message, _ extra: Logger.Metadata, _ time: Timestamp) -> [UInt8] {
        let members = extra.sorted { $0.key < $1.key }
        guard format != .json else {
            var writer = JSONWriter()
            writer.object { writer in
                writer.member("time", time.description)
                writer.member("level", level.rawValue)
                writer.member("msg", message.description)
                for (key, value) in members { writer.member(key, value.description) }
            }
            writer.newline()
            return writer.bytes
        }
        var text = format == .journal ? "<\(Self.priority(level))>" : "\(time.fixedDescription) \(level.rawValue): "
        // one message is one line, whatever a client has put into it
        text += message.description.replacing("\n", with: "\\n")
        for (key, value) in members { text += " \(key)=" + value.description.replacing("\n", with: "\\n") }
        return Array((text + "\n").utf8)
    }

    /// syslog(3) priorities, which journald takes from the beginning of a line (sd-daemon(3)).
    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
