import Linux
import Model

/// What pax records and GNU's long names say of the entry that follows.
struct ExtendedHeader {
    var path: PathBytes?
    var linkTarget: PathBytes?
    private var size: Int64?
    private var uid: Int64?
    private var gid: Int64?
    private var modified: FileTime?
    private var accessed: FileTime?
    private var attributes: [TarEntry.Attribute] = []
    private var accessACL: String?
    private var defaultACL: String?
    private(set) var sparse: SparseHeader?
    private var seen = false

    var isEmpty: Bool { !seen && path == nil && linkTarget == nil }

    /// Records `LENGTH KEY=VALUE\n`.
    mutating func parse(pax bytes: [UInt8]) throws {
        seen = true
        var at = 0
        while at < bytes.count {
            // Some writers pad with NUL.
            if bytes[at] == 0 { break }
            guard let space = bytes[at...].prefix(20).firstIndex(of: 0x20),
                let length = Int(String(decoding: bytes[at..<space], as: UTF8.self)), length > space - at + 1,
                length <= bytes.count - at, bytes[at + length - 1] == 0x0A,
                let equals = bytes[(space + 1)..<(at + length - 1)].firstIndex(of: UInt8(ascii: "="))
            else { throw Fault(.invalid, "the archive is damaged: malformed extended header") }
            let key = String(decoding: bytes[(space + 1)..<equals], as: UTF8.self)
            try record(key, Array(bytes[(equals + 1)..<(at + length - 1)]))
            at += length
        }
    }

    private mutating func record(_ key: String, _ value: [UInt8]) throws {
        switch key {
        case "path": path = value.isEmpty ? nil : value
        case "linkpath": linkTarget = value.isEmpty ? nil : value
        case "size": size = try number(key, value)
        case "uid": uid = try number(key, value)
        case "gid": gid = try number(key, value)
        case "mtime": modified = try time(key, value)
        case "atime": accessed = try time(key, value)
        case "SCHILY.acl.access": accessACL = String(decoding: value, as: UTF8.self)
        case "SCHILY.acl.default": defaultACL = String(decoding: value, as: UTF8.self)
        default:
            if key.hasPrefix("SCHILY.xattr.") {
                let name = Array(key.utf8.dropFirst(13))
                guard !name.isEmpty, name.count <= 255, !name.contains(0), value.count <= 1 << 16 else {
                    throw Fault(.invalid, "the archive is damaged: malformed extended attribute")
                }
                attributes.removeAll { $0.name == name }
                attributes.append(TarEntry.Attribute(name: name, value: value))
            } else if key.hasPrefix("GNU.sparse.") {
                var header = sparse ?? SparseHeader()
                try header.record(String(key.dropFirst(11)), value)
                sparse = header
            }
        }
    }

    func apply(to entry: inout TarEntry, size: inout Int64) throws {
        if let path { entry.path = path }
        if let linkTarget { entry.linkTarget = linkTarget }
        // A directory's or a link's size is not followed by content.
        if let value = self.size { size = value }
        if let uid { entry.uid = try id(uid, entry) }
        if let gid { entry.gid = try id(gid, entry) }
        if let modified { entry.modified = modified }
        entry.accessed = accessed
        entry.attributes = attributes
        entry.accessACL = accessACL
        entry.defaultACL = defaultACL
    }

    private func id(_ value: Int64, _ entry: TarEntry) throws -> UInt32 {
        guard let id = UInt32(exactly: value), id != UInt32.max else {
            throw Fault(
                .invalid, "archive entry \"\(entry.shownPath)\": its owner \(value) is out of range", subject: entry.shownPath)
        }
        return id
    }

    private func number(_ key: String, _ value: [UInt8]) throws -> Int64? {
        if value.isEmpty { return nil }
        guard let number = Int64(String(decoding: value, as: UTF8.self)) else {
            throw Fault(.invalid, "the archive is damaged: malformed \(key) in an extended header")
        }
        return number
    }

    /// Decimal seconds with a fraction, `-1.5` included.
    private func time(_ key: String, _ value: [UInt8]) throws -> FileTime? {
        if value.isEmpty { return nil }
        let text = String(decoding: value, as: UTF8.self)
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let fraction = parts.count > 1 ? parts[1].prefix(9) : ""
        guard let whole = Int64(parts[0]), fraction.utf8.allSatisfy({ (0x30...0x39).contains($0) }), whole != Int64.min else {
            throw Fault(.invalid, "the archive is damaged: malformed \(key) in an extended header")
        }
        let nanoseconds = Int64(fraction + String(repeating: "0", count: 9 - fraction.count)) ?? 0
        guard text.hasPrefix("-"), nanoseconds > 0 else { return FileTime(seconds: whole, nanoseconds: nanoseconds) }
        return FileTime(seconds: whole - 1, nanoseconds: 1_000_000_000 - nanoseconds)
    }
}

/// GNU's sparse records in a pax header: formats 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse Files").
struct SparseHeader {
    private(set) var size: Int64?
    private(set) var path: PathBytes?
    private(set) var segments: [TarEntry.Segment] = []
    /// Format 1.0: the map is at the start of the content.
    private(set) var mapInContent = false
    private var offset: Int64?

    mutating func record(_ key: String, _ value: [UInt8]) throws {
        let text = String(decoding: value, as: UTF8.self)
        switch key {
        case "major": mapInContent = text == "1"
        case "name": path = value
        case "size", "realsize": size = try number(text)
        case "offset": offset = try number(text)
        case "numbytes":
            guard let offset else { throw Self.malformed }
            segments.append(TarEntry.Segment(offset: offset, length: try number(text)))
            self.offset = nil
        case "map":
            let numbers = try text.split(separator: ",").map { try number(String($0)) }
            guard numbers.count % 2 == 0 else { throw Self.malformed }
            segments = stride(from: 0, to: numbers.count, by: 2).map {
                TarEntry.Segment(offset: numbers[$0], length: numbers[$0 + 1])
            }
        default: break
        }
    }

    private static let malformed = Fault(.invalid, "the archive is damaged: malformed sparse map")

    private func number(_ text: String) throws -> Int64 {
        guard let value = Int64(text), value >= 0 else { throw Self.malformed }
        return value
    }
}
