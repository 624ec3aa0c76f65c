import Model

/// Which of a process's two outputs.
public enum LogStream: String, Sendable, CaseIterable {
    case stdout
    case stderr
}

/// One line of a container's log, or a piece of a line that was longer than a record.
public struct LogRecord: Sendable, Equatable {
    public var stream: LogStream
    /// Strictly increasing in one log, so a time is a position: reading on from `time` plus a nanosecond misses and repeats nothing.
    public var time: Timestamp
    /// With its line break, except for a piece of a long line and for what a process wrote last without one.
    public var text: [UInt8]

    public init(stream: LogStream, time: Timestamp, text: [UInt8]) {
        self.stream = stream
        self.time = time
        self.text = text
    }
}

/// The format of log files, docker's json-file: one line of JSON per record,
///
///     {"log":"text\n","stream":"stdout","time":"2006-01-02T15:04:05.999999999Z"}
///
/// Members beyond these are allowed and skipped. Bytes that are no UTF-8 become U+FFFD, as with docker.
/// The current file is `PATH`; `PATH.1` is the one before it, up to `PATH.(files - 1)`.
public enum LogFormat {
    /// Bytes of text in one record; longer lines are cut, docker's limit.
    public static let recordLimit = 16 << 10

    static func path(_ path: String, _ number: Int) -> String { number == 0 ? path : "\(path).\(number)" }
}
