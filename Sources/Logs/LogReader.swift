import Linux
import Model

/// Reads a container's log, also while it is written to and rotated. A pull API: `next` never waits.
///
///     let reader = LogReader(path: path, options)
///     while let record = try reader.next() { … }       // what is there
///     // following: wait until reader.waitDescriptor is readable, reader.clearWait(), read again
///
/// Records come in the order of their times. A record that is being written (no line break yet) is not seen before it is whole.
/// Lines that are no records are passed over. One reader is used by one thread at a time.
public final class LogReader {
    public struct Options: Sendable {
        /// So many of the last records, of all files; nil is all.
        public var tail: Int?
        /// Records at or after that time.
        public var since: Timestamp?
        /// Records before or at that time.
        public var until: Timestamp?
        public var stdout = true
        public var stderr = true

        public init(
            tail: Int? = nil, since: Timestamp? = nil, until: Timestamp? = nil, stdout: Bool = true, stderr: Bool = true
        ) {
            self.tail = tail
            self.since = since
            self.until = until
            self.stdout = stdout
            self.stderr = stderr
        }
    }

    private let path: String
    private let options: Options
    private var watch: FolderWatch?
    private var file: LogFile?
    private var identity: LogFile.Identity?
    private var offset = 0
    private var lastTime: Timestamp?
    private var buffer: [UInt8] = []
    private var bufferAt = 0
    private var started = false
    /// The record before which nothing more can come has been seen.
    public private(set) var isPastUntil = false

    /// Nothing is opened before the first `next`; a log that does not exist (yet) is an empty one.
    public init(path: String, options: Options = Options()) {
        self.path = path
        self.options = options
    }

    /// Time of the last record that was handed out: `since` that plus a nanosecond goes on after it.
    public var position: Timestamp? { lastTime }

    /// Becomes readable when the log has changed; watches from the first use on, so use it before reading to the end.
    /// The descriptor belongs to the reader. inotify(7)
    public func waitDescriptor() throws -> CInt {
        if let watch { return watch.descriptor.raw }
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let watch = try FolderWatch(folder)
        self.watch = watch
        return watch.descriptor.raw
    }

    /// Call when `waitDescriptor` was readable, before reading on.
    public func clearWait() { _ = watch?.clear() }

    /// The next record, or nil when there is none at present.
    public func next() throws -> LogRecord? {
        if isPastUntil { return nil }
        if !started { try start() }
        while true {
            guard let record = try nextRecord() else { return nil }
            // Files overlap never, but a file may have been skipped to or read again
            if let lastTime, record.time <= lastTime { continue }
            if let since = options.since, record.time < since { continue }
            if let until = options.until, record.time > until {
                isPastUntil = true
                return nil
            }
            lastTime = record.time
            guard record.stream == .stdout ? options.stdout : options.stderr else { continue }
            return record
        }
    }

    // MARK: Where to begin

    /// Opens the file in which the first wanted record is.
    private func start() throws {
        let files = existingFiles()
        guard !files.isEmpty else { return }
        started = true
        if let tail = options.tail {
            try start(tail: tail, files)
            if let since = options.since, let file {
                offset = max(offset, LogTail.start(since: since, in: file, size: try file.status().size))
            }
        } else {
            try start(since: options.since, files)
        }
    }

    /// Numbers of the files that exist, the newest (0) first.
    private func existingFiles() -> [Int] {
        var files: [Int] = LogFile.identity(of: path) == nil ? [] : [0]
        var number = 1
        while LogFile.identity(of: LogFormat.path(path, number)) != nil {
            files.append(number)
            number += 1
        }
        return files
    }

    private func start(tail: Int, _ files: [Int]) throws {
        var wanted = tail
        for number in files {
            guard let opened = try LogFile.read(LogFormat.path(path, number)) else { continue }
            let place = LogTail.start(ofLast: wanted, in: opened, size: try opened.status().size)
            try goOn(with: opened, at: place.offset)
            wanted -= place.lines
            if wanted <= 0 { return }
        }
    }

    private func start(since: Timestamp?, _ files: [Int]) throws {
        guard let since else {
            guard let opened = try LogFile.read(LogFormat.path(path, files[files.count - 1])) else { return }
            return try goOn(with: opened, at: 0)
        }
        for number in files {
            guard let opened = try LogFile.read(LogFormat.path(path, number)) else { continue }
            try goOn(with: opened, at: LogTail.start(since: since, in: opened, size: try opened.status().size))
            // Something before the wanted time is in this file: no need to look further back
            if offset > 0 { return }
        }
    }

    private func goOn(with opened: LogFile, at place: Int) throws {
        identity = try opened.status().identity
        file = opened
        offset = place
        buffer = []
        bufferAt = 0
    }

    // MARK: Reading on

    private func nextRecord() throws -> LogRecord? {
        while true {
            if let line = takeLine() {
                if let record = line { return record }
                continue
            }
            if try fill() { continue }
            guard try moveOn() else { return nil }
        }
    }

    /// One whole line from the buffer: nil where there is none, `.some(nil)` for a line that is no record.
    private func takeLine() -> LogRecord?? {
        let from = bufferAt
        let found: (record: LogRecord?, end: Int)? = buffer.withUnsafeBytes { bytes in
            let rest = UnsafeRawBufferPointer(rebasing: bytes[from...])
            guard let length = Linux.position(of: 0x0A, in: rest) else { return nil }
            return (LogLine.record(UnsafeRawBufferPointer(rebasing: rest[..<length])), from + length + 1)
        }
        guard let found else { return nil }
        bufferAt = found.end
        return .some(found.record)
    }

    /// Reads more of the present file; false at its end.
    private func fill() throws -> Bool {
        guard let file else { return false }
        let size = try file.status().size
        if size < offset {
            // Emptied by hand: go on from its start, times tell what is new
            offset = 0
            buffer = []
            bufferAt = 0
        }
        guard size > offset else { return false }
        buffer.removeFirst(bufferAt)
        bufferAt = 0
        // A line without an end longer than any record is no line of ours
        if buffer.count > 1 << 20 { buffer = [] }
        guard let part = LogTail.read(file, offset, min(size - offset, 256 << 10)), !part.isEmpty else { return false }
        offset += part.count
        buffer.append(contentsOf: part)
        return true
    }

    /// To the file that came after the present one, or back to reading the present one; false where nothing more is there now.
    private func moveOn() throws -> Bool {
        guard let identity else {
            guard let opened = try LogFile.read(path) else { return false }
            started = true
            try goOn(with: opened, at: 0)
            return true
        }
        // Each turn but the last means that a rotation came in between
        for _ in 0..<100 {
            if LogFile.identity(of: path) == identity { return false }
            // It was rotated, so nothing is appended to it any more: what came before that is read first
            if try fill() { return true }
            let files = existingFiles()
            guard let oldest = files.last else { return false }
            guard let number = files.first(where: { LogFile.identity(of: LogFormat.path(path, $0)) == identity }) else {
                // Ours is gone: the oldest there is comes next, times keep anything from coming twice
                guard let opened = try LogFile.read(LogFormat.path(path, oldest)) else { continue }
                try goOn(with: opened, at: 0)
                return true
            }
            // Between two renames of the writer there is no successor yet
            guard number > 0, let next = try LogFile.read(LogFormat.path(path, number - 1)) else { return false }
            // The writer renames the older file first: where ours has not moved, the one opened is its successor
            guard LogFile.identity(of: LogFormat.path(path, number)) == identity else { continue }
            try goOn(with: next, at: 0)
            return true
        }
        return false
    }
}
