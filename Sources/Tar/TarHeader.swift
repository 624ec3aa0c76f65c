import Linux
import Model

/// One header block of 512 bytes.
struct TarHeader {
    private let bytes: [UInt8]

    init(_ block: UnsafeRawBufferPointer) { bytes = Array(block) }

    var isZero: Bool { bytes.allSatisfy { $0 == 0 } }
    var type: UInt8 { bytes[156] }
    func byte(_ at: Int) -> UInt8 { bytes[at] }

    /// Sum of all bytes with the field itself as spaces; some old tars summed signed bytes.
    var hasValidChecksum: Bool {
        guard let stored = try? number(148, 8) else { return false }
        var unsigned: Int64 = 0
        var signed: Int64 = 0
        for (index, byte) in bytes.enumerated() {
            let value = (148..<156).contains(index) ? 0x20 : byte
            unsigned += Int64(value)
            signed += Int64(Int8(bitPattern: value))
        }
        return stored == unsigned || stored == signed
    }

    /// Bytes of content as the block itself says; -1 when the field is malformed.
    var size: Int64 { (try? number(124, 12)) ?? -1 }

    /// A number in octal digits or, with the high bit set, in base 256 (GNU).
    func number(_ at: Int, _ length: Int) throws -> Int64 {
        let field = bytes[at..<(at + length)]
        if bytes[at] & 0x80 != 0 {
            let negative = bytes[at] & 0x40 != 0
            var value: Int64 = negative ? -1 : 0
            for (index, byte) in field.enumerated() {
                let digit = index == 0 ? (negative ? byte : byte & 0x7F) : byte
                if index == 0 {
                    value = negative ? Int64(Int8(bitPattern: digit)) : Int64(digit)
                    continue
                }
                let (product, overflow) = value.multipliedReportingOverflow(by: 256)
                guard !overflow else { throw Self.malformed }
                value = product | Int64(byte)
            }
            return value
        }
        let digits = field.drop { $0 == 0x20 || $0 == 0 }.prefix { $0 != 0 && $0 != 0x20 }
        var value: Int64 = 0
        for digit in digits {
            guard (0x30...0x37).contains(digit), value <= Int64.max >> 3 else { throw Self.malformed }
            value = value << 3 | Int64(digit - 0x30)
        }
        return value
    }

    private static let malformed = Fault(.invalid, "malformed number in a tar header")

    private func text(_ at: Int, _ length: Int) -> PathBytes { Array(bytes[at..<(at + length)].prefix { $0 != 0 }) }

    private var path: PathBytes {
        let name = text(0, 100)
        // "ustar\0" has a prefix field; GNU's "ustar " uses its place for other things, star's ends after 131 bytes.
        guard Array(bytes[257..<263]) == Array("ustar\0".utf8) else { return name }
        let star = Array(bytes[508..<512]) == Array("tar\0".utf8)
        let prefix = text(345, star ? 131 : 155)
        return prefix.isEmpty ? name : prefix + [0x2F] + name
    }

    func sparseSegments(from: Int, count: Int) throws -> [TarEntry.Segment] {
        var segments: [TarEntry.Segment] = []
        for index in 0..<count {
            let at = from + index * 24
            if bytes[at] == 0 { break }
            segments.append(TarEntry.Segment(offset: try number(at, 12), length: try number(at + 12, 12)))
        }
        return segments
    }

    /// The entry as this block describes it.
    func entry() throws -> TarEntry {
        let path = path
        let shown = TarEntry.shown(path)
        func field(_ at: Int, _ length: Int, _ name: String) throws -> Int64 {
            do { return try number(at, length) } catch {
                throw Fault(.invalid, "archive entry \"\(shown)\": its \(name) is malformed", subject: shown)
            }
        }
        var entry = TarEntry(path: path, kind: try kind(shown, path), mode: 0)
        entry.mode = UInt32(truncatingIfNeeded: try field(100, 8, "mode")) & 0o7777
        entry.uid = try id(field(108, 8, "uid"), shown)
        entry.gid = try id(field(116, 8, "gid"), shown)
        _ = try field(124, 12, "size")
        entry.modified = FileTime(seconds: try field(136, 12, "time"))
        entry.linkTarget = text(157, 100)
        if entry.kind == .character || entry.kind == .block {
            entry.deviceMajor = UInt32(truncatingIfNeeded: try field(329, 8, "device number"))
            entry.deviceMinor = UInt32(truncatingIfNeeded: try field(337, 8, "device number"))
        }
        return entry
    }

    private func id(_ value: Int64, _ shown: String) throws -> UInt32 {
        // -1 means "leave it" to chown(2)
        guard let id = UInt32(exactly: value), id != UInt32.max else {
            throw Fault(.invalid, "archive entry \"\(shown)\": its owner \(value) is out of range", subject: shown)
        }
        return id
    }

    private func kind(_ shown: String, _ path: PathBytes) throws -> TarEntry.Kind {
        switch type {
        case 0: return path.last == 0x2F ? .directory : .file
        case UInt8(ascii: "0"), UInt8(ascii: "7"), UInt8(ascii: "S"): return .file
        case UInt8(ascii: "1"): return .hardLink
        case UInt8(ascii: "2"): return .symlink
        case UInt8(ascii: "3"): return .character
        case UInt8(ascii: "4"): return .block
        case UInt8(ascii: "5"): return .directory
        case UInt8(ascii: "6"): return .fifo
        case UInt8(ascii: "V"): return .other
        default:
            let letter = type > 0x20 && type < 0x7F ? "'\(Character(UnicodeScalar(type)))'" : "\(type)"
            throw Fault(.invalid, "archive entry \"\(shown)\": unknown type \(letter)", subject: shown)
        }
    }
}
