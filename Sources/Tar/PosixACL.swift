import Linux
import Model

/// POSIX.1e access lists: text in archives, `system.posix_acl_*` attributes in the kernel (linux/posix_acl_xattr.h).
package enum PosixACL {
    package struct Malformed: Error {}

    package static func attribute(access text: String) throws -> TarEntry.Attribute {
        TarEntry.Attribute(name: Array("system.posix_acl_access".utf8), value: try value(text))
    }

    package static func attribute(default text: String) throws -> TarEntry.Attribute {
        TarEntry.Attribute(name: Array("system.posix_acl_default".utf8), value: try value(text))
    }

    /// `user::rwx,user:name:r-x:1000,group::r-x,mask::r-x,other::---`. Names are not looked up: an id must be there.
    package static func value(_ text: String) throws -> [UInt8] {
        var entries: [(tag: UInt16, permissions: UInt16, id: UInt32)] = []
        for line in text.split(whereSeparator: { $0 == "," || $0 == "\n" }) where !line.hasPrefix("#") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false).map {
                String($0.filter { $0 != " " && $0 != "\t" })
            }
            guard fields.count >= 3 else { throw Malformed() }
            let named = !fields[1].isEmpty
            let tag: UInt16
            switch fields[0] {
            case "user", "u": tag = named ? 0x02 : 0x01
            case "group", "g": tag = named ? 0x08 : 0x04
            case "mask", "m": tag = 0x10
            case "other", "o": tag = 0x20
            default: throw Malformed()
            }
            var id = UInt32.max
            if named {
                guard let number = UInt32(fields.count > 3 ? fields[3] : fields[1]) else { throw Malformed() }
                id = number
            }
            entries.append((tag, try permissions(fields[2]), id))
        }
        guard !entries.isEmpty, entries.count < 1000 else { throw Malformed() }
        entries.sort { ($0.tag, $0.id) < ($1.tag, $1.id) }
        // version 2, little-endian
        var bytes: [UInt8] = [2, 0, 0, 0]
        for entry in entries {
            withUnsafeBytes(of: entry.tag.littleEndian) { bytes += $0 }
            withUnsafeBytes(of: entry.permissions.littleEndian) { bytes += $0 }
            withUnsafeBytes(of: entry.id.littleEndian) { bytes += $0 }
        }
        return bytes
    }

    private static func permissions(_ text: String) throws -> UInt16 {
        var value: UInt16 = 0
        for letter in text {
            switch letter {
            case "r": value |= 4
            case "w": value |= 2
            case "x": value |= 1
            case "-": break
            default: throw Malformed()
            }
        }
        return value
    }
}
