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
    private let record: RecordWriter
    private var run: [UInt8] = []
    private var paths: [PathBytes] = []
    private var moves: [(before: Int, from: PathBytes, to: PathBytes)] = []
    private let prefix: PathBytes

    /// - Parameter prefix: the folder with the unpacked files, relative to the layer's folder.
    public init(_ sink: any ByteSink, prefix: String = "diff") throws {
        record = try RecordWriter(sink, magic: LayerRecipe.magic, level: 1)
        self.prefix = Array(prefix.utf8) + [0x2F]
    }

    public func literal(_ bytes: UnsafeRawBufferPointer) throws {
        run.append(contentsOf: bytes)
        if run.count >= 64 << 10 {
            endRun()
            try record.flush()
        }
    }

    /// The content of a file comes next.
    func file(_ path: PathBytes, _ entry: TarEntry) throws {
        let segments = entry.segments ?? (entry.size > 0 ? [TarEntry.Segment(offset: 0, length: entry.size)] : [])
        if segments.isEmpty { return }
        endRun()
        record.byte(LayerRecipe.file)
        record.number(UInt64(paths.count))
        record.number(UInt64(segments.count))
        for segment in segments {
            record.number(UInt64(segment.offset))
            record.number(UInt64(segment.length))
        }
        paths.append(path)
        try record.flush()
    }

    /// A file or folder that came before is now elsewhere in the layer's folder.
    func moved(_ path: PathBytes, to place: PathBytes) { moves.append((paths.count, path, place)) }

    /// Writes the end.
    public func finish() throws {
        endRun()
        record.byte(LayerRecipe.table)
        record.number(UInt64(paths.count))
        for (index, path) in paths.enumerated() {
            let final = finalPath(index, path)
            record.number(UInt64(final.count))
            record.bytes(final)
        }
        try record.finish()
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
        record.byte(LayerRecipe.literal)
        record.number(UInt64(run.count))
        record.bytes(run)
        run.removeAll(keepingCapacity: true)
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
            case .literal(let count): try reader.record.copy(count, to: sink)
            case .file(let index, let segments):
                guard index < paths.count else { throw reader.record.damaged }
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
            case .literal(let count): try reader.record.skip(count)
            case .file: continue
            case .table(let count):
                return try (0..<count).map { _ in try reader.record.bytes(Int(try reader.record.number())) }
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

private struct RecipeReader {
    enum Operation {
        case literal(Int)
        case file(Int, [TarEntry.Segment])
        case table(Int)
    }

    let record: RecordReader

    init(_ path: String) throws { record = try RecordReader(path, magic: LayerRecipe.magic, kind: "layer recipe") }

    func operation() throws -> Operation {
        switch try record.byte() {
        case LayerRecipe.literal: return .literal(Int(try record.number()))
        case LayerRecipe.file:
            let index = Int(try record.number())
            let count = try record.number()
            let segments = try (0..<count).map { _ in
                TarEntry.Segment(offset: Int64(try record.number()), length: Int64(try record.number()))
            }
            return .file(index, segments)
        case LayerRecipe.table: return .table(Int(try record.number()))
        default: throw record.damaged
        }
    }
}
