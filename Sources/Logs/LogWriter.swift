import Linux
import Model

/// The one writer of a container's log. It lives in the shim, which calls `write` with what it has read from the container
/// and `flush` once per wake-up: one write(2) for many lines.
///
/// A line is written when its end has come, or after 16 KiB without one; `finish` writes what is left at the end of a stream.
/// Times are strictly increasing, also beyond the lines of an earlier writer and when the clock is set back.
///
/// What cannot be written (disk full) is lost, never waited for: the next line that can be written says how many were lost.
public final class LogWriter {
    private let path: String
    private let maximumSize: Int?
    private let maximumFiles: Int
    private var file: LogFile
    private var size: Int
    private var lastTime: Int64
    private var encoder = LogEncoder()
    private var partial: [LogStream: [UInt8]] = [:]
    private var waiting = 0
    private var lost = 0
    private var noteTime: Int64 = 0

    /// Lines that did not reach the file.
    public var lostRecords: Int { lost }

    /// Opens or makes the log. A line that an earlier writer left unfinished is ended, so that it stays one bad line.
    public init(_ log: ShimLog) throws {
        path = log.path
        maximumSize = log.maximumSize.map { max($0, 4096) }
        maximumFiles = max(log.maximumFiles, 1)
        file = try LogFile.append(log.path)
        size = try file.status().size
        lastTime = LogTail.lastTime(of: file, size: size)
        if lastTime == 0, let previous = try LogFile.read(LogFormat.path(log.path, 1)) {
            lastTime = LogTail.lastTime(of: previous, size: try previous.status().size)
        }
        if size > 0 { try endUnfinishedLine() }
    }

    private func endUnfinishedLine() throws {
        var last: UInt8 = 0
        let count = try withUnsafeMutableBytes(of: &last) { try file.read(at: size - 1, into: $0) }
        guard count == 1, last != 0x0A else { return }
        var newline: UInt8 = 0x0A
        size += try withUnsafeBytes(of: &newline) { try file.append($0) }
    }

    /// Takes bytes of one stream as they came, in pieces of any size.
    public func write(_ bytes: UnsafeRawBufferPointer, stream: LogStream, now: Int64 = Clock.realtime) {
        var rest = bytes
        lastTime = max(lastTime, now - 1)
        if let held = partial[stream], !held.isEmpty {
            let end = position(of: 0x0A, in: rest)
            let wanted = min(end.map { $0 + 1 } ?? rest.count, LogFormat.recordLimit - held.count)
            let line = held + Array(rest.prefix(wanted))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(wanted))
            guard end.map({ $0 < wanted }) ?? false || line.count >= LogFormat.recordLimit else {
                partial[stream] = line
                return
            }
            partial[stream] = []
            line.withUnsafeBytes { line in
                let used = line[line.count - 1] == 0x0A ? line.count : cut(line, at: line.count)
                record(UnsafeRawBufferPointer(rebasing: line[..<used]), stream)
                if used < line.count { partial[stream] = Array(line[used...]) }
            }
            if let left = partial[stream], !left.isEmpty, !rest.isEmpty {
                write(rest, stream: stream, now: now)
                return
            }
        }
        lines(of: rest, stream)
    }

    /// Whole lines and full records go out; the rest is held.
    private func lines(of bytes: UnsafeRawBufferPointer, _ stream: LogStream) {
        var rest = bytes
        while !rest.isEmpty {
            let window = UnsafeRawBufferPointer(rebasing: rest.prefix(LogFormat.recordLimit))
            let used: Int
            if let end = position(of: 0x0A, in: window) {
                used = end + 1
            } else if rest.count >= LogFormat.recordLimit {
                used = cut(window, at: window.count)
            } else {
                partial[stream] = Array(rest)
                return
            }
            record(UnsafeRawBufferPointer(rebasing: rest[..<used]), stream)
            rest = UnsafeRawBufferPointer(rebasing: rest[used...])
        }
    }

    private func record(_ text: UnsafeRawBufferPointer, _ stream: LogStream) {
        if waiting == 0, lost > 0 {
            // The note about what is missing stands, and is dated, before what comes now
            lastTime += 1
            noteTime = lastTime
        }
        lastTime += 1
        encoder.append(text, stream: stream, time: lastTime)
        waiting += 1
        if encoder.count >= 256 << 10 { flush() }
    }

    /// Writes what a stream left without a line break: at its end.
    public func finish(_ stream: LogStream, now: Int64 = Clock.realtime) {
        guard let held = partial[stream], !held.isEmpty else { return }
        partial[stream] = []
        lastTime = max(lastTime, now - 1)
        held.withUnsafeBytes { record($0, stream) }
    }

    /// Hands the finished lines to the kernel, into a new file when this one is full.
    public func flush() {
        guard encoder.count > 0 else { return }
        let records = waiting
        waiting = 0
        defer { encoder.removeAll() }
        do {
            if let maximumSize, size > 0, size + encoder.count > maximumSize { try rotate() }
            if lost > 0, try !writeNote() {
                lost += records
                return
            }
            lost += try append(encoder.bytes)
        } catch {
            lost += records
        }
    }

    /// Says in the log itself that lines are missing.
    private func writeNote() throws -> Bool {
        var note = LogEncoder()
        let text = "skiff: \(lost) records of this log were lost: the log file could not be written\n"
        Array(text.utf8).withUnsafeBytes { note.append($0, stream: .stderr, time: noteTime) }
        guard try append(note.bytes) == 0 else { return false }
        lost = 0
        return true
    }

    /// Whole lines only: what a full disk took of the next line is taken back. Answers how many lines were not written.
    private func append(_ bytes: [UInt8]) throws -> Int {
        let count = try bytes.withUnsafeBytes { try file.append($0) }
        size += count
        if count == bytes.count { return 0 }
        let whole = (bytes[..<count].lastIndex(of: 0x0A) ?? -1) + 1
        try file.truncate(to: max(0, try file.status().size - (count - whole)))
        size -= count - whole
        return bytes[whole...].count { $0 == 0x0A }
    }

    /// The current file becomes number 1 and the last one goes. Readers tell a file by its inode.
    private func rotate() throws {
        // Somebody may have emptied the file by hand: then it is not full
        size = try file.status().size
        guard let maximumSize, size + encoder.count > maximumSize, size > 0 else { return }
        if maximumFiles == 1 {
            SmallFile.remove(path)
        } else {
            for number in stride(from: maximumFiles - 2, through: 0, by: -1) {
                let from = LogFormat.path(path, number)
                if LogFile.identity(of: from) != nil { try LogFile.rename(from, to: LogFormat.path(path, number + 1)) }
            }
        }
        file = try LogFile.append(path)
        size = try file.status().size
    }
}
