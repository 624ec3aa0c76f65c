import Archive
import Linux
import Model
import TestSupport

/// A tar made block by block, so that it can say anything.
struct RawTar {
    private(set) var bytes: [UInt8] = []

    mutating func add(
        _ name: String, type: Character = "0", content: [UInt8] = [], link: String = "", mode: Int = 0o644, size: Int? = nil,
        magic: String = "ustar\u{0}00", change: (inout [UInt8]) -> Void = { _ in }
    ) {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, _ at: Int) { block.replaceSubrange(at..<(at + text.utf8.count), with: text.utf8) }
        func octal(_ value: Int, _ width: Int) -> String {
            let digits = String(value, radix: 8)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        put(String(name.prefix(100)), 0)
        put(octal(mode, 7), 100)
        put(octal(0, 7), 108)
        put(octal(0, 7), 116)
        put(octal(size ?? content.count, 11), 124)
        put(octal(1_700_000_000, 11), 136)
        block[156] = type.asciiValue ?? 0x30
        put(String(link.prefix(100)), 157)
        put(magic, 257)
        change(&block)
        seal(&block)
        bytes += block + content + [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    func seal(_ block: inout [UInt8]) {
        block.replaceSubrange(148..<156, with: [UInt8](repeating: 0x20, count: 8))
        let digits = String(block.reduce(0) { $0 + Int($1) }, radix: 8)
        block.replaceSubrange(
            148..<156, with: Array((String(repeating: "0", count: 6 - digits.count) + digits + "\u{0} ").utf8))
    }

    /// A pax header for the entry that follows.
    mutating func pax(_ records: [(String, String)]) {
        var content: [UInt8] = []
        for (key, value) in records {
            let rest = key.utf8.count + value.utf8.count + 3
            var length = rest + String(rest).count
            if String(length).count > String(rest).count { length = rest + String(length).count }
            content += Array("\(length) \(key)=\(value)\n".utf8)
        }
        add("PaxHeaders/x", type: "x", content: content)
    }

    mutating func raw(_ more: [UInt8]) { bytes += more }

    /// With the end marker.
    var whole: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// All entries with their content.
func entries(_ bytes: [UInt8], limits: TarLimits = TarLimits()) throws -> [(entry: TarEntry, content: [UInt8])] {
    let reader = TarReader(MemorySource(bytes), limits: limits)
    var result: [(TarEntry, [UInt8])] = []
    while let entry = try reader.next() {
        var content: [UInt8] = []
        try reader.readContent { content += $0 }
        result.append((entry, content))
    }
    return result
}

/// Unpacks into `<scratch>/<name>/diff`, as a user who is not root would.
@discardableResult
func unpack(_ bytes: [UInt8], in scratch: Scratch, _ name: String = "layer") throws -> UnpackedLayer {
    let folder = scratch.folder(name + "/diff")
    let attic = Attic(try Descriptor.open(scratch.path + "/" + name, [.read, .directory]))
    let sink = DescriptorSink(try Descriptor.open(scratch.path + "/" + name + "/recipe", [.write, .create, .truncate]))
    let recipe = try LayerRecipeWriter(sink)
    let reader = TarReader(MemorySource(bytes), observer: recipe)
    let unpacker = try LayerUnpacker(
        root: try Descriptor.open(folder, [.read, .directory]), privilege: .user, recipe: recipe, attic: attic)
    let result = try unpacker.unpack(reader)
    try recipe.finish()
    return result
}

/// The tar that the layer's recipe makes.
func rebuild(in scratch: Scratch, _ name: String = "layer") throws -> [UInt8] {
    let sink = MemorySink(limit: 1 << 28)
    try LayerRebuilder(folder: scratch.path + "/" + name, recipe: scratch.path + "/" + name + "/recipe").write(to: sink)
    return sink.bytes
}

/// A command's output as bytes, by way of a file.
func shell(_ script: String, in scratch: Scratch) throws -> [UInt8] {
    let result = run(["/bin/sh", "-c", "cd '\(scratch.path)' && (\(script)) >shell.out"])
    guard result.status == 0 else { throw SetupFailure("\(script): \(result.error)") }
    return try read(scratch.path + "/shell.out")
}

func read(_ path: String) throws -> [UInt8] {
    let sink = MemorySink(limit: 1 << 28)
    try DescriptorSource(try Descriptor.open(path, [.read])).copy(to: sink)
    return sink.bytes
}
