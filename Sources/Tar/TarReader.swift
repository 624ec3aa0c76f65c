import Linux
import Model

/// Reads a tar archive as a stream: POSIX ustar and pax, GNU (long names, base-256, sparse), old v7.
///
/// Formats: POSIX.1-2017 pax "EXTENDED DESCRIPTION"; GNU tar manual "Tar Internals"; star's SCHILY keywords. Where readers differ
/// it follows Go's archive/tar, since that is what made and reads most images.
public final class TarReader {
    static let block = 512

    private let source: any ByteSource
    private let limits: TarLimits
    private let observer: (any TarObserver)?
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    private var start = 0
    private var end = 0
    /// Content of the present entry that was not read yet, and the padding after it.
    private var contentLeft: Int64 = 0
    private var padding = 0
    private var entries = 0
    private var bytes: Int64 = 0
    private var lastPath = ""
    private var finished = false

    public init(_ source: any ByteSource, limits: TarLimits = TarLimits(), observer: (any TarObserver)? = nil) {
        self.source = source
        self.limits = limits
        self.observer = observer
    }

    deinit { buffer.deallocate() }

    // MARK: Entries

    /// The next entry; nil after the last, when the source has been read to its end. Content that was not read is skipped.
    public func next() throws -> TarEntry? {
        if finished { return nil }
        try skipContent()
        var extended = ExtendedHeader()
        while true {
            guard let header = try nextHeader() else {
                guard extended.isEmpty else { throw truncated("after an extended header") }
                try drain()
                return nil
            }
            switch header.type {
            case UInt8(ascii: "x"), UInt8(ascii: "X"): try extended.parse(pax: try small(header, "extended header"))
            case UInt8(ascii: "g"): _ = try small(header, "global header")
            case UInt8(ascii: "L"): extended.path = try name(header)
            case UInt8(ascii: "K"): extended.linkTarget = try name(header)
            default: return try entry(header, extended)
            }
        }
    }

    private func entry(_ header: TarHeader, _ extended: ExtendedHeader) throws -> TarEntry {
        entries += 1
        guard entries <= limits.entries else {
            throw Fault(.invalid, "the archive has more than \(limits.entries) entries")
        }
        var entry = try header.entry()
        var size = header.size
        try extended.apply(to: &entry, size: &size)
        lastPath = entry.shownPath
        guard !entry.path.isEmpty else { throw refusal("an entry after \"\(lastPath)\" has no name") }
        guard entry.path.count <= limits.pathLength, entry.linkTarget.count <= limits.pathLength else {
            throw refusal("its path is longer than \(limits.pathLength) bytes")
        }
        guard !entry.path.contains(0), !entry.linkTarget.contains(0) else { throw refusal("its path has a NUL byte") }
        guard entry.kind == .file || entry.kind == .other else { return entry }
        guard size >= 0 else { throw refusal("its size is negative") }
        contentLeft = size
        padding = Int((512 - size % 512) % 512)
        entry.size = size
        if header.type == UInt8(ascii: "S") {
            try readOldSparse(header, &entry)
        } else if let sparse = extended.sparse {
            try readPaxSparse(sparse, &entry)
        }
        bytes = bytes.addingReportingOverflow(entry.size).partialValue
        guard entry.size <= limits.bytes, bytes >= 0, bytes <= limits.bytes else {
            throw refusal("with it the files are larger than \(limits.bytes) bytes")
        }
        return entry
    }

    private func refusal(_ why: String) -> Fault { Fault(.invalid, "archive entry \"\(lastPath)\": \(why)", subject: lastPath) }

    private func truncated(_ where_: String) -> Fault {
        Fault(.invalid, "the archive is truncated \(where_)" + (lastPath.isEmpty ? "" : ", at or after \"\(lastPath)\""))
    }

    // MARK: Content

    /// Gives out the present entry's content in pieces, in order; sparse runs one after the other.
    public func readContent(_ take: (UnsafeRawBufferPointer) throws -> Void) throws {
        while contentLeft > 0 {
            let count = try available(Int(min(contentLeft, Int64(buffer.count))))
            let piece = UnsafeRawBufferPointer(rebasing: buffer[start..<(start + count)])
            start += count
            contentLeft -= Int64(count)
            try take(piece)
        }
    }

    /// Writes the present entry's content to a new file; a sparse one gets its holes.
    package func writeContent(of entry: TarEntry, to file: borrowing Descriptor) throws {
        guard let segments = entry.segments else { return try readContent { try file.writeAll($0) } }
        try writeSparse(segments, to: file)
        try file.truncate(to: entry.size)
    }

    private func writeSparse(_ segments: [TarEntry.Segment], to file: borrowing Descriptor) throws {
        var index = 0
        var done: Int64 = 0
        var pieces: [(offset: Int64, range: Range<Int>)] = []
        try readContent { bytes in
            var at = 0
            pieces.removeAll(keepingCapacity: true)
            while at < bytes.count, index < segments.count {
                let count = min(bytes.count - at, Int(segments[index].length - done))
                pieces.append((segments[index].offset + done, at..<(at + count)))
                at += count
                done += Int64(count)
                if done == segments[index].length {
                    index += 1
                    done = 0
                }
            }
            for piece in pieces {
                try file.writeAll(UnsafeRawBufferPointer(rebasing: bytes[piece.range]), at: piece.offset)
            }
        }
    }

    /// The content as a source of its own, valid until the next call of `next`. Not told to the observer.
    public func content() -> some ByteSource { ContentSource(self) }

    /// At most `count` bytes of content into a buffer; 0 at its end.
    fileprivate func readContent(into output: UnsafeMutableRawBufferPointer) throws -> Int {
        guard contentLeft > 0 else { return 0 }
        let count = try available(Int(min(contentLeft, Int64(output.count))))
        output.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<(start + count)]))
        start += count
        contentLeft -= Int64(count)
        return count
    }

    fileprivate func abandonSource() { source.abandon() }

    private func skipContent() throws {
        try readContent { piece in try observer?.literal(piece) }
        if padding > 0 {
            try need(padding, "in the content")
            try literal(padding)
            padding = 0
        }
    }

    // MARK: Headers

    /// The next header block that is not empty; nil at the end of the archive.
    private func nextHeader() throws -> TarHeader? {
        guard try fill(atLeast: 1) else { return nil }
        try need(Self.block, "in a header")
        let header = TarHeader(UnsafeRawBufferPointer(rebasing: buffer[start..<(start + Self.block)]))
        if header.isZero { return nil }
        guard header.hasValidChecksum else {
            if entries == 0, lastPath.isEmpty { throw Fault(.invalid, "it is no tar archive (nor a compressed one)") }
            throw Fault(.invalid, "the archive is damaged: bad header after \"\(lastPath)\"")
        }
        try literal(Self.block)
        return header
    }

    /// The content of an extended header, which is small.
    private func small(_ header: TarHeader, _ what: String) throws -> [UInt8] {
        let size = header.size
        guard size >= 0, size <= limits.extendedHeader else {
            throw Fault(
                .invalid,
                "the archive has a \(what) of \(size) bytes after \"\(lastPath)\"; the limit is \(limits.extendedHeader)")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(size))
        contentLeft = size
        padding = Int((512 - size % 512) % 512)
        try readContent { piece in
            bytes.append(contentsOf: piece)
            try observer?.literal(piece)
        }
        try skipContent()
        return bytes
    }

    private func name(_ header: TarHeader) throws -> PathBytes { Array(try small(header, "long name").prefix { $0 != 0 }) }

    // MARK: Sparse files

    private func readOldSparse(_ header: TarHeader, _ entry: inout TarEntry) throws {
        var segments = try header.sparseSegments(from: 386, count: 4)
        var more = header.byte(482) != 0
        while more {
            try need(Self.block, "in a sparse map")
            let next = TarHeader(UnsafeRawBufferPointer(rebasing: buffer[start..<(start + Self.block)]))
            segments += try next.sparseSegments(from: 0, count: 21)
            more = next.byte(504) != 0
            guard segments.count <= limits.segments else { throw refusal("its sparse map is too long") }
            try literal(Self.block)
        }
        entry.size = try header.number(483, 12)
        try setSegments(segments, &entry)
    }

    private func readPaxSparse(_ sparse: SparseHeader, _ entry: inout TarEntry) throws {
        var segments = sparse.segments
        if sparse.mapInContent { segments = try readSparseMap() }
        if let path = sparse.path { entry.path = path }
        lastPath = entry.shownPath
        entry.size = sparse.size ?? entry.size
        try setSegments(segments, &entry)
    }

    private func setSegments(_ segments: [TarEntry.Segment], _ entry: inout TarEntry) throws {
        var position: Int64 = 0
        var total: Int64 = 0
        for segment in segments {
            let (end, overflow) = segment.offset.addingReportingOverflow(segment.length)
            guard segment.offset >= position, segment.length >= 0, !overflow, end <= entry.size else {
                throw refusal("its sparse map is damaged")
            }
            position = end
            total += segment.length
        }
        guard total == contentLeft else { throw refusal("its sparse map does not fit its content") }
        entry.segments = segments.filter { $0.length > 0 }
    }

    /// GNU format 1.0: decimal numbers, one a line, at the start of the content, padded to a block.
    private func readSparseMap() throws -> [TarEntry.Segment] {
        var numbers: [Int64] = []
        var wanted = 1
        var value: Int64?
        while numbers.count < wanted {
            guard contentLeft >= Int64(Self.block) else { throw refusal("its sparse map is damaged") }
            try need(Self.block, "in a sparse map")
            for offset in 0..<Self.block where numbers.count < wanted {
                let byte = buffer[start + offset]
                if byte == 0x0A, let number = value {
                    numbers.append(number)
                    value = nil
                    if numbers.count == 1 {
                        guard number <= limits.segments else { throw refusal("its sparse map is too long") }
                        wanted = 1 + Int(number) * 2
                    }
                } else {
                    guard (0x30...0x39).contains(byte), (value ?? 0) < Int64.max / 16 else {
                        throw refusal("its sparse map is damaged")
                    }
                    value = (value ?? 0) * 10 + Int64(byte - 0x30)
                }
            }
            try literal(Self.block)
            contentLeft -= Int64(Self.block)
        }
        return stride(from: 1, to: numbers.count - 1, by: 2).map {
            TarEntry.Segment(offset: numbers[$0], length: numbers[$0 + 1])
        }
    }

    // MARK: Bytes

    /// Passes over bytes of the buffer that are no content.
    private func literal(_ count: Int) throws {
        try observer?.literal(UnsafeRawBufferPointer(rebasing: buffer[start..<(start + count)]))
        start += count
    }

    /// What follows the end marker belongs to the stream and so to its digest.
    private func drain() throws {
        finished = true
        while try fill(atLeast: 1) { try literal(end - start) }
    }

    private func available(_ wanted: Int) throws -> Int {
        guard try fill(atLeast: 1) else { throw truncated("in the content") }
        return min(wanted, end - start)
    }

    private func need(_ count: Int, _ where_: String) throws {
        guard try fill(atLeast: count) else { throw truncated(where_) }
    }

    /// Makes sure that so many bytes are in the buffer; false at the end of the source.
    private func fill(atLeast count: Int) throws -> Bool {
        while end - start < count {
            if start > 0 {
                let left = end - start
                if left > 0 { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<end])) }
                start = 0
                end = left
            }
            let got = try source.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[end...]))
            if got == 0 { return false }
            end += got
        }
        return true
    }
}

private final class ContentSource: ByteSource {
    private let reader: TarReader

    init(_ reader: TarReader) { self.reader = reader }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int { try reader.readContent(into: buffer) }
    func abandon() { reader.abandonSource() }
}
