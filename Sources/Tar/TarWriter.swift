import Linux
import Model

/// Writes a tar archive in POSIX pax form: ustar headers, extended ones where a name, number, time or attribute needs it.
public final class TarWriter {
    private let sink: any ByteSink
    private var left: Int64 = 0
    private var padding = 0

    public init(_ sink: any ByteSink) { self.sink = sink }

    /// Begins an entry. For a file, exactly `size` bytes of content follow by `content`.
    public func begin(_ entry: TarEntry) throws {
        guard left == 0 else { throw Fault(.system, "a tar entry's content is shorter than its header says") }
        var records: [UInt8] = []
        var short = entry
        if entry.path.count > 100 || entry.path.contains(where: { $0 >= 0x80 }) {
            Self.record("path", entry.path, &records)
            short.path = Array(entry.path.prefix(100))
        }
        if entry.linkTarget.count > 100 || entry.linkTarget.contains(where: { $0 >= 0x80 }) {
            Self.record("linkpath", entry.linkTarget, &records)
            short.linkTarget = Array(entry.linkTarget.prefix(100))
        }
        if entry.size > 0o77_777_777_777 { Self.record("size", String(entry.size), &records) }
        if entry.uid > 0o7_777_777 { Self.record("uid", String(entry.uid), &records) }
        if entry.gid > 0o7_777_777 { Self.record("gid", String(entry.gid), &records) }
        let time = entry.modified
        if time.nanoseconds != 0 || time.seconds < 0 || time.seconds > 0o77_777_777_777 {
            Self.record("mtime", Self.decimal(time), &records)
        }
        for attribute in entry.attributes {
            Self.record(Array("SCHILY.xattr.".utf8) + attribute.name, attribute.value, &records)
        }
        if !records.isEmpty {
            var header = TarEntry(path: Array("PaxHeaders/entry".utf8), kind: .file, mode: 0o644)
            header.size = Int64(records.count)
            try write(Self.block(header, type: UInt8(ascii: "x")))
            records += [UInt8](repeating: 0, count: (512 - records.count % 512) % 512)
            try write(records)
        }
        try write(Self.block(short, type: Self.type(entry.kind)))
        left = entry.kind == .file ? entry.size : 0
        padding = Int((512 - left % 512) % 512)
    }

    /// Content of the present entry; in pieces as you like.
    public func content(_ bytes: UnsafeRawBufferPointer) throws {
        guard Int64(bytes.count) <= left else { throw Fault(.system, "a tar entry's content is longer than its header says") }
        try sink.write(bytes)
        left -= Int64(bytes.count)
        if left == 0, padding > 0 {
            try write([UInt8](repeating: 0, count: padding))
            padding = 0
        }
    }

    /// A whole small file.
    public func file(_ path: String, _ bytes: [UInt8], modified: FileTime = FileTime(seconds: 0)) throws {
        var entry = TarEntry(path: Array(path.utf8), kind: .file, mode: 0o644)
        entry.size = Int64(bytes.count)
        entry.modified = modified
        try begin(entry)
        try bytes.withUnsafeBytes { try content($0) }
    }

    /// Writes the end marker.
    public func finish() throws { try write([UInt8](repeating: 0, count: 1024)) }

    private func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try sink.write($0) } }

    // MARK: Blocks

    private static func type(_ kind: TarEntry.Kind) -> UInt8 {
        switch kind {
        case .file, .other: UInt8(ascii: "0")
        case .hardLink: UInt8(ascii: "1")
        case .symlink: UInt8(ascii: "2")
        case .character: UInt8(ascii: "3")
        case .block: UInt8(ascii: "4")
        case .directory: UInt8(ascii: "5")
        case .fifo: UInt8(ascii: "6")
        }
    }

    private static func block(_ entry: TarEntry, type: UInt8) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ bytes: some Collection<UInt8>, _ at: Int) { block.replaceSubrange(at..<(at + bytes.count), with: bytes) }
        func octal(_ value: Int64, _ at: Int, _ width: Int) {
            let limit = Int64(1) << Int64(min(62, (width - 1) * 3))
            let digits = String(value >= 0 && value < limit ? value : 0, radix: 8)
            put(Array((String(repeating: "0", count: width - 1 - digits.count) + digits).utf8), at)
        }
        put(entry.path.prefix(100), 0)
        octal(Int64(entry.mode), 100, 8)
        octal(Int64(entry.uid), 108, 8)
        octal(Int64(entry.gid), 116, 8)
        octal(entry.kind == .file ? entry.size : 0, 124, 12)
        octal(entry.modified.seconds, 136, 12)
        put(Array("        ".utf8), 148)
        block[156] = type
        put(entry.linkTarget.prefix(100), 157)
        put(Array("ustar\u{0}00".utf8), 257)
        octal(Int64(entry.deviceMajor), 329, 8)
        octal(Int64(entry.deviceMinor), 337, 8)
        let sum = block.reduce(0) { $0 + Int($1) }
        let digits = String(sum, radix: 8)
        put(Array((String(repeating: "0", count: 6 - digits.count) + digits + "\u{0} ").utf8), 148)
        return block
    }

    private static func decimal(_ time: FileTime) -> String {
        var seconds = time.seconds
        var nanoseconds = time.nanoseconds
        var sign = ""
        if seconds < 0 {
            sign = "-"
            seconds = -seconds
            if nanoseconds > 0 {
                seconds -= 1
                nanoseconds = 1_000_000_000 - nanoseconds
            }
        }
        guard nanoseconds > 0 else { return sign + String(seconds) }
        let digits = String(nanoseconds)
        var fraction = String(repeating: "0", count: 9 - digits.count) + digits
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return sign + "\(seconds).\(fraction)"
    }

    private static func record(_ key: String, _ value: String, _ records: inout [UInt8]) {
        record(Array(key.utf8), Array(value.utf8), &records)
    }

    private static func record(_ key: String, _ value: [UInt8], _ records: inout [UInt8]) {
        record(Array(key.utf8), value, &records)
    }

    /// `LENGTH KEY=VALUE\n`, the length counting its own digits.
    private static func record(_ key: [UInt8], _ value: [UInt8], _ records: inout [UInt8]) {
        let rest = key.count + value.count + 3
        var length = rest + String(rest).count
        if String(length).count > String(rest).count { length = rest + String(length).count }
        records += Array("\(length) ".utf8) + key + [0x3D] + value + [0x0A]
    }
}
