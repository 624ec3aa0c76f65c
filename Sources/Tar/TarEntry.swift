import Linux
import Model

/// One member of a tar archive.
public struct TarEntry: Sendable {
    public enum Kind: Sendable, Equatable {
        case file, hardLink, symlink, character, block, directory, fifo
        /// A volume label or the like: nothing to unpack.
        case other
    }

    /// A run of data in a sparse file.
    public struct Segment: Sendable, Equatable {
        public var offset: Int64
        public var length: Int64
        public init(offset: Int64, length: Int64) {
            self.offset = offset
            self.length = length
        }
    }

    /// As it stands in the archive: bytes without NUL, neither cleaned nor checked.
    public var path: PathBytes
    public var kind: Kind
    /// Permission bits.
    public var mode: UInt32
    public var uid: UInt32 = 0
    public var gid: UInt32 = 0
    /// Size of the file when unpacked.
    public var size: Int64 = 0
    public var modified = FileTime(seconds: 0)
    public var accessed: FileTime?
    /// Target of a symbolic or hard link.
    public var linkTarget: PathBytes = []
    public var deviceMajor: UInt32 = 0
    public var deviceMinor: UInt32 = 0
    /// Extended attributes by name, in the archive's order.
    public var attributes: [Attribute] = []
    /// POSIX ACLs in the text form of star and GNU tar.
    public var accessACL: String?
    public var defaultACL: String?
    /// For a sparse file, its runs of data in order; nil for any other.
    public var segments: [Segment]?

    public struct Attribute: Sendable, Equatable {
        public var name: PathBytes
        public var value: [UInt8]
        public init(name: PathBytes, value: [UInt8]) {
            self.name = name
            self.value = value
        }
    }

    public init(path: PathBytes, kind: Kind, mode: UInt32) {
        self.path = path
        self.kind = kind
        self.mode = mode
    }

    /// The path for a message: control characters are replaced, long ones cut.
    public var shownPath: String { TarEntry.shown(path) }

    package static func shown(_ path: PathBytes) -> String {
        let text = String(decoding: path.prefix(200).map { $0 < 0x20 || $0 == 0x7F ? 0x3F : $0 }, as: UTF8.self)
        return path.count > 200 ? text + "…" : text
    }
}

/// What an archive may ask of us.
public struct TarLimits: Sendable {
    public var entries = 4_000_000
    /// Bytes of a path or link target (PATH_MAX is 4,096).
    public var pathLength = 4096
    /// Bytes of one extended header.
    public var extendedHeader = 1 << 20
    /// Runs of data in a sparse file.
    public var segments = 100_000
    /// Bytes of all files together, as they appear (holes included).
    public var bytes: Int64 = 1 << 43

    public init() {}
}

/// Is told every byte of an archive that is not a file's content.
public protocol TarObserver: AnyObject {
    /// Bytes of headers, padding and skipped content, in order.
    func literal(_ bytes: UnsafeRawBufferPointer) throws
}
