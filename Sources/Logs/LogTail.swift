import Linux
import Model

/// Finds places in a log file without reading all of it.
enum LogTail {
    private static let block = 64 << 10

    /// Time of the last record, in nanoseconds; 0 where there is none.
    static func lastTime(of file: LogFile, size: Int) -> Int64 {
        var end = size
        // A line is at most six bytes for each of a record's, and a head
        var bytes: [UInt8] = []
        while end > 0, bytes.count <= 4 * block {
            let start = max(0, end - block)
            guard let part = read(file, start, end - start), !part.isEmpty else { return 0 }
            bytes = part + bytes
            end = start
            if let time = lastTime(in: bytes, wholeFile: start == 0) { return time }
        }
        return 0
    }

    private static func lastTime(in bytes: [UInt8], wholeFile: Bool) -> Int64? {
        bytes.withUnsafeBytes { bytes in
            var end = bytes.count
            var at = bytes.count - 1
            while at >= -1 {
                guard at == -1 ? wholeFile : bytes[at] == 0x0A else {
                    at -= 1
                    continue
                }
                if end > at + 1, let time = LogLine.time(UnsafeRawBufferPointer(rebasing: bytes[(at + 1)..<end])) {
                    return time.nanoseconds
                }
                end = max(at, 0)
                at -= 1
            }
            return nil
        }
    }

    static func read(_ file: LogFile, _ offset: Int, _ count: Int) -> [UInt8]? {
        try? [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while initialized < count {
                let rest = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[initialized...])
                let part = try file.read(at: offset + initialized, into: rest)
                if part == 0 { return }
                initialized += part
            }
        }
    }

    /// Where the last `lines` whole lines begin, and how many those are. A line without its break does not count.
    static func start(ofLast lines: Int, in file: LogFile, size: Int) -> (offset: Int, lines: Int) {
        guard lines > 0 else { return (size, 0) }
        var end = size
        var found = -1
        while end > 0 {
            let start = max(0, end - block)
            guard let part = read(file, start, end - start), part.count == end - start else { return (0, 0) }
            var at = part.count - 1
            while at >= 0 {
                if part[at] == 0x0A {
                    found += 1
                    if found == lines { return (start + at + 1, lines) }
                }
                at -= 1
            }
            end = start
        }
        return (0, max(found, 0) + (found >= 0 ? 1 : 0))
    }

    /// Where the first record begins whose time is at or after `time`; `size` where all are earlier. Halves the file, as times grow.
    static func start(since time: Timestamp, in file: LogFile, size: Int) -> Int {
        var low = 0
        var high = size
        // Invariant: all lines that begin before low are earlier; the answer is in low...high
        while high - low > block {
            let middle = low + (high - low) / 2
            guard let line = firstLine(from: middle, in: file, size: high) else {
                high = middle
                continue
            }
            if line.time < time { low = line.end } else { high = middle }
        }
        return low + scan(read(file, low, size - low < 4 * block ? size - low : 4 * block) ?? [], time)
    }

    /// Offset of the first line at or after `time` in `bytes`, which begin at a line's start.
    private static func scan(_ bytes: [UInt8], _ time: Timestamp) -> Int {
        bytes.withUnsafeBytes { bytes in
            var start = 0
            while start < bytes.count,
                let length = position(of: 0x0A, in: UnsafeRawBufferPointer(rebasing: bytes[start...]))
            {
                let line = UnsafeRawBufferPointer(rebasing: bytes[start..<(start + length)])
                if let found = LogLine.time(line), found >= time { return start }
                start += length + 1
            }
            return start
        }
    }

    /// The first readable line that begins after `offset`, in at most a few blocks.
    private static func firstLine(from offset: Int, in file: LogFile, size: Int) -> (time: Timestamp, end: Int)? {
        guard let bytes = read(file, offset, min(4 * block, size - offset)) else { return nil }
        return bytes.withUnsafeBytes { bytes in
            guard var start = position(of: 0x0A, in: bytes).map({ $0 + 1 }) else { return nil }
            while start < bytes.count,
                let length = position(of: 0x0A, in: UnsafeRawBufferPointer(rebasing: bytes[start...]))
            {
                let line = UnsafeRawBufferPointer(rebasing: bytes[start..<(start + length)])
                if let time = LogLine.time(line) { return (time, offset + start + length + 1) }
                start += length + 1
            }
            return nil
        }
    }
}
