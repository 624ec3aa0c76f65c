import JSON

/// What `HEAD /containers/{id}/archive` says of a path, in the header `X-Docker-Container-Path-Stat`.
public struct PathStat: Sendable, Equatable {
    public static let header = "X-Docker-Container-Path-Stat"

    /// The last component as it was asked for.
    public var name = ""
    public var size: Int64 = 0
    /// Go's os.FileMode.
    public var mode: UInt32 = 0
    public var modified = Timestamp(nanoseconds: 0)
    /// Of a symbolic link: where it leads in the end, as a path from the container's root.
    public var linkTarget = ""

    public init() {}

    /// Bits of Go's os.FileMode beside the permissions.
    public enum Mode {
        public static let folder: UInt32 = 1 << 31
        public static let link: UInt32 = 1 << 27
        public static let device: UInt32 = 1 << 26
        public static let pipe: UInt32 = 1 << 25
        public static let socket: UInt32 = 1 << 24
        public static let setUser: UInt32 = 1 << 23
        public static let setGroup: UInt32 = 1 << 22
        public static let character: UInt32 = 1 << 21
        public static let sticky: UInt32 = 1 << 20
        public static let irregular: UInt32 = 1 << 19
    }

    public var isFolder: Bool { mode & Mode.folder != 0 }
    public var isLink: Bool { mode & Mode.link != 0 }

    /// Go's permission bits from the kernel's twelve.
    public static func permissions(_ bits: UInt32) -> UInt32 {
        var mode = bits & 0o777
        if bits & 0o4000 != 0 { mode |= Mode.setUser }
        if bits & 0o2000 != 0 { mode |= Mode.setGroup }
        if bits & 0o1000 != 0 { mode |= Mode.sticky }
        return mode
    }

    /// The header's value.
    public var encoded: String { Base64Text.encode(json) }

    /// Nil where the text is none.
    public init?(encoded text: String) {
        guard let bytes = Base64Text.decode(text), let stat = try? PathStat(json: bytes) else { return nil }
        self = stat
    }
}

extension PathStat: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init()
        try reader.object { key, reader in
            switch key {
            case "name": name = try reader.value()
            case "size": size = try reader.value()
            case "mode": mode = try reader.value()
            case "mtime": modified = try reader.value()
            case "linkTarget": linkTarget = try reader.value()
            default: try reader.skip()
            }
        }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("name", name)
            writer.member("size", size)
            writer.member("mode", mode)
            writer.member("mtime", modified)
            writer.member("linkTarget", linkTarget)
        }
    }
}

/// Go's path/filepath and docker's rules for the ends of paths, as texts.
public enum CopyPath {
    /// filepath.Clean
    public static func clean(_ path: String) -> String {
        let isAbsolute = path.hasPrefix("/")
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part == "..", let last = parts.last, last != ".." {
                parts.removeLast()
            } else if part != ".." || !isAbsolute {
                parts.append(part)
            }
        }
        let text = (isAbsolute ? "/" : "") + parts.joined(separator: "/")
        return text.isEmpty ? "." : text
    }

    /// filepath.Join
    public static func join(_ folder: String, _ path: String) -> String {
        clean(folder.isEmpty ? path : folder + "/" + path)
    }

    /// filepath.Base
    public static func base(_ path: String) -> String {
        if path.isEmpty { return "." }
        guard let last = path.split(separator: "/").last else { return "/" }
        return String(last)
    }

    /// filepath.Dir
    public static func folder(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return clean(String(path[...slash]))
    }

    public static func endsInSlash(_ path: String) -> Bool { path.hasSuffix("/") }
    public static func endsInDot(_ path: String) -> Bool { base(path) == "." }
    /// The name says that it is a folder.
    public static func assertsFolder(_ path: String) -> Bool { endsInSlash(path) || endsInDot(path) }

    /// A cleaned path with the `/.` or `/` that the original one ended in.
    public static func keepingEnd(_ cleaned: String, of original: String) -> String {
        var path = cleaned
        if !endsInDot(path), endsInDot(original) {
            if !endsInSlash(path) { path += "/" }
            path += "."
        }
        if !endsInSlash(path), endsInSlash(original) { path += "/" }
        return path
    }

    /// Folder and entry, the entry being `.` where the path ended in it.
    public static func split(_ path: String) -> (folder: String, base: String) {
        var cleaned = clean(path)
        if endsInDot(path) { cleaned += "/." }
        return (folder(cleaned), base(cleaned))
    }
}
