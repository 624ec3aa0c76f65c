import Glibc
import Testing

/// Reads the import lines of every room: who may import whom is decided in `allowed`, once, for the whole house.
@Suite struct ImportTests {
    static let root: String = {
        if let folder = getenv("SKIFF_SOURCE_DIR") { return String(cString: folder) }
        return #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
    }()

    /// Rooms of ours that a room may import, beside JSON and Model, which are open to every room but JSON itself.
    static let allowed: [String: Set<String>] = [
        "JSON": [], "Model": [], "Linux": ["CKernel"],
        "Logs": ["Linux"], "Names": ["Linux"], "Runtime": ["Linux"], "Shim": ["Runtime", "Logs", "Names", "Linux"],
        "Tar": ["Linux"], "Archive": ["Tar", "Linux", "CCompression", "CCrypto"], "State": ["CSQLite"],
        "Images": ["Archive", "State", "Linux"],
        "HTTP": ["CTLS", "Linux"], "Registry": ["CCrypt", "CCrypto", "HTTP", "Images", "Archive", "State", "Linux"],
        "Networks": ["State", "Names", "Linux"],
        "Engine": ["Registry", "HTTP", "Images", "Networks", "Names", "Logs", "State", "Archive", "Linux"],
        "API": ["Engine", "Linux"], "Daemon": ["API", "Engine", "Registry", "HTTP", "Images", "Networks", "State", "Linux"],
        "Client": ["Linux"], "CLI": ["Client", "Tar", "Linux"],
    ]
    /// Rooms that end up in the static, single-threaded binaries.
    static let bare: Set<String> = ["JSON", "Model", "Linux", "Logs", "Names", "Runtime", "Shim", "Tar", "Client", "CLI"]
    static let nio: Set<String> = ["API", "Daemon"]

    static func sources(_ room: String) -> [String] {
        var found: [String] = []
        var folders = [root + "/Sources/" + room]
        while let folder = folders.popLast() {
            guard let handle = opendir(folder) else { continue }
            defer { closedir(handle) }
            while let entry = readdir(handle) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name.hasPrefix(".") { continue }
                let path = folder + "/" + name
                if entry.pointee.d_type == UInt8(DT_DIR) {
                    folders.append(path)
                } else if name.hasSuffix(".swift") {
                    found.append(path)
                }
            }
        }
        return found.sorted()
    }

    static func text(_ path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func imports(_ path: String) -> [String] {
        text(path).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ").map(String.init)
            guard let at = words.firstIndex(of: "import"), at <= 2, words.count > at + 1, !line.hasPrefix("//"),
                !line.hasPrefix(" ")
            else {
                return nil
            }
            let kinds = ["struct", "class", "enum", "func", "protocol", "typealias", "var", "let"]
            let module = kinds.contains(words[at + 1]) && words.count > at + 2 ? words[at + 2] : words[at + 1]
            return String(module.split(separator: ".")[0])
        }
    }

    @Test(arguments: allowed.keys.sorted()) func aRoomImportsOnlyWhatTheHouseAllows(_ room: String) {
        let files = Self.sources(room)
        #expect(!files.isEmpty, "room \(room) has no sources: is it still called so?")
        let rooms = Set(Self.allowed.keys).union(["CKernel", "CSQLite", "CCompression", "CCrypto", "CCrypt", "CTLS"])
        for file in files {
            for module in Self.imports(file) {
                if rooms.contains(module) {
                    let open: Set<String> = room == "JSON" ? [] : room == "Model" ? ["JSON"] : ["JSON", "Model"]
                    #expect(
                        Self.allowed[room]?.union(open).contains(module) == true, "\(file): \(room) may not import \(module)")
                } else if module.hasPrefix("NIO") {
                    #expect(Self.nio.contains(room), "\(file): NIO belongs to API and Daemon")
                } else if module.hasPrefix("Foundation") {
                    Issue.record("\(file): \(module) costs start time and memory; no room imports it")
                } else if module == "Glibc" {
                    #expect(room == "Linux", "\(file): the C library belongs to Linux")
                } else {
                    #expect(!Self.bare.contains(room), "\(file): \(module) in a room of the static binaries")
                }
            }
        }
    }

    @Test(arguments: bare.sorted()) func aStaticRoomUsesNoConcurrencyRuntime(_ room: String) {
        for file in Self.sources(room) {
            for (number, line) in Self.text(file).split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                let code = String(line.drop { $0 == " " })
                if code.hasPrefix("//") { continue }
                let marks = [
                    " async throws", " async ->", " async {", "async let ", "try await ", "= await ", "return await ", "Task {",
                ]
                let starts = ["await ", "actor ", "public actor ", "final actor ", "package actor "]
                if let mark = marks.first(where: { code.contains($0) }) ?? starts.first(where: { code.hasPrefix($0) }) {
                    Issue.record("\(file):\(number + 1): \"\(mark)\" in a static room")
                }
            }
        }
    }
}
