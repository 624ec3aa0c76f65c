import Linux
import Model

/// How to make a layer's tar again, bit by bit, from its unpacked files: the bytes of headers and padding, and between them which
/// file's content comes. It stands for the tar itself, which then need not be kept beside the files.
///
/// Format, compressed with zstd: `skiff-recipe 1\n`, then operations: 1 LENGTH bytes; 2 FILE COUNT (OFFSET LENGTH)*; at the end 3 COUNT
/// (LENGTH path)*, paths relative to the layer's folder in the order of the files' numbers. Numbers are unsigned LEB128.
enum LayerRecipe {
    static let magic = Array("skiff-recipe 1\n".utf8)
    static let literal: UInt8 = 1
    static let file: UInt8 = 2
    static let table: UInt8 = 3
}

/// Writes a recipe while an archive is unpacked.
public final class LayerRecipeWriter: TarObserver {
    private let sink: ZstdSink
    private var pending: [UInt8] = LayerRecipe.magic
    private var run: [UInt8] = []
    private var paths: [PathBytes] = []
    private var moves: [(before: Int, from: PathBytes, to: PathBytes)] = []
    private let prefix: PathBytes

    /// - Parameter prefix: the folder with the unpacked files, relative to the layer's folder.
    public init(_ sink: any ByteSink, prefix: String = "diff") throws {
        self.sink = try ZstdSink(sink, level: 1)
        self.prefix = Array(prefix.utf8) + [0x2F]
    }

    public func literal(_ bytes: UnsafeRawBufferPointer) throws {
        run.append(contentsOf: bytes)
        if run.count >= 64 << 10 { try flush() }
    }

    /// The content of a file comes next.
    func file(_ path: PathBytes, _ entry: TarEntry) throws {
        let segments = entry.segments ?? (entry.size > 0 ? [TarEntry.Segment(offset: 0, length: entry.size)] : [])
        if segments.isEmpty { return }
        endRun()
        pending.append(LayerRecipe.file)
        number(UInt64(paths.count))
        number(UInt64(segments.count))
        for segment in segments {
            number(UInt64(segment.offset))
            number(UInt64(segment.length))
        }
        paths.append(path)
        if pending.count >= 64 << 10 { try flush() }
    }

    /// A file or folder that came before is now elsewhere in the layer's folder.
    func moved(_ path: PathBytes, to place: PathBytes) { moves.append((paths.count, path, place)) }

    /// Writes the end.
    public func finish() throws {
        endRun()
        pending.append(LayerRecipe.table)
        number(UInt64(paths.count))
        for (index, path) in paths.enumerated() {
            let final = finalPath(index, path)
            number(UInt64(final.count))
            pending += final
        }
        try flush()
        try sink.finish()
        paths = []
    }

    private func finalPath(_ index: Int, _ path: PathBytes) -> PathBytes {
        for move in moves where index < move.before {
            if path == move.from { return move.to }
            if path.starts(with: move.from), path[move.from.count] == 0x2F { return move.to + path[move.from.count...] }
        }
        return prefix + path
    }

    private func endRun() {
        if run.isEmpty { return }
        pending.append(LayerRecipe.literal)
        number(UInt64(run.count))
        pending += run
        run.removeAll(keepingCapacity: true)
    }

    private func flush() throws {
        endRun()
        try pending.withUnsafeBytes { try sink.write($0) }
        pending.removeAll(keepingCapacity: true)
    }

    private func number(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            pending.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        pending.append(UInt8(value))
    }
}

/// Makes a layer's tar again from its folder.
public struct LayerRebuilder {
    private let folder: String
    private let recipe: String

    /// - Parameters:
    ///   - folder: the layer's folder, which holds `diff/` and perhaps `replaced/`.
    ///   - recipe: the recipe's file.
    public init(folder: String, recipe: String) {
        self.folder = folder
        self.recipe = recipe
    }

    /// Writes the tar. The caller compares the digest.
    public func write(to sink: any ByteSink) throws {
        let paths = try table()
        let root = try Descriptor.open(folder, [.read, .directory])
        let reader = try RecipeReader(recipe)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            switch try reader.operation() {
            case .literal(let count): try reader.copy(count, to: sink)
            case .file(let index, let segments):
                guard index < paths.count else { throw RecipeReader.damaged }
                let file = try root.open(inRoot: paths[index], [.read, .noFollow], followSymlinks: false)
                for segment in segments { try Self.copy(file, segment, buffer, sink) }
            case .table: return
            }
        }
    }

    private func table() throws -> [PathBytes] {
        let reader = try RecipeReader(recipe)
        while true {
            switch try reader.operation() {
            case .literal(let count): try reader.skip(count)
            case .file: continue
            case .table(let count):
                return try (0..<count).map { _ in try reader.bytes(Int(try reader.number())) }
            }
        }
    }

    private static func copy(
        _ file: borrowing Descriptor, _ segment: TarEntry.Segment, _ buffer: UnsafeMutableRawBufferPointer, _ sink: any ByteSink
    ) throws {
        var offset = segment.offset
        let end = segment.offset + segment.length
        while offset < end {
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(Int64(buffer.count), end - offset))])
            let count = try file.read(into: part, at: offset)
            guard count > 0 else { throw Fault(.system, "a layer's file is shorter than its recipe says") }
            try sink.write(UnsafeRawBufferPointer(rebasing: part[..<count]))
            offset += Int64(count)
        }
    }
}

private final class RecipeReader {
    enum Operation {
        case literal(Int)
        case file(Int, [TarEntry.Segment])
        case table(Int)
    }

    static var damaged: Fault { Fault(.system, "a layer's recipe is damaged") }

    private let source: Decompressor
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    private var start = 0
    private var end = 0

    init(_ path: String) throws {
        source = Decompressor(DescriptorSource(try Descriptor.open(path, [.read])))
        guard try bytes(LayerRecipe.magic.count) == LayerRecipe.magic else {
            throw Fault(.unsupported, "\(path) is no layer recipe that this skiff knows")
        }
    }

    deinit { buffer.deallocate() }

    func operation() throws -> Operation {
        switch try byte() {
        case LayerRecipe.literal: return .literal(Int(try number()))
        case LayerRecipe.file:
            let index = Int(try number())
            let count = try number()
            let segments = try (0..<count).map { _ in
                TarEntry.Segment(offset: Int64(try number()), length: Int64(try number()))
            }
            return .file(index, segments)
        case LayerRecipe.table: return .table(Int(try number()))
        default: throw Self.damaged
        }
    }

    func number() throws -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let byte = try byte()
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { break }
            shift += 7
            guard shift < 63 else { throw Self.damaged }
        }
        guard value <= UInt64(Int64.max) else { throw Self.damaged }
        return value
    }

    func bytes(_ count: Int) throws -> [UInt8] {
        let sink = MemorySink(limit: 1 << 20)
        try copy(count, to: sink)
        return sink.bytes
    }

    func copy(_ count: Int, to sink: any ByteSink) throws {
        var left = count
        while left > 0 {
            try fill()
            let part = min(left, end - start)
            try sink.write(UnsafeRawBufferPointer(rebasing: buffer[start..<(start + part)]))
            start += part
            left -= part
        }
    }

    func skip(_ count: Int) throws {
        var left = count
        while left > 0 {
            try fill()
            let part = min(left, end - start)
            start += part
            left -= part
        }
    }

    private func byte() throws -> UInt8 {
        try fill()
        defer { start += 1 }
        return buffer[start]
    }

    private func fill() throws {
        if start < end { return }
        start = 0
        end = try source.read(into: buffer)
        guard end > 0 else { throw Self.damaged }
    }
}
