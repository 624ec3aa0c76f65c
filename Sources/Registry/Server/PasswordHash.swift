import CCrypt

/// Hashes of passwords as `htpasswd -B` writes them.
package enum PasswordHash {
    /// bcrypt: `$2y$`, `$2a$` or `$2b$`, two digits of cost, 53 of salt and hash (crypt(5)).
    package static func isBcrypt(_ hash: String) -> Bool {
        let bytes = Array(hash.utf8)
        guard bytes.count == 60, ["$2y$", "$2a$", "$2b$"].contains(String(hash.prefix(4))), bytes[6] == UInt8(ascii: "$"),
            let cost = Int(String(decoding: bytes[4..<6], as: UTF8.self)), (4...31).contains(cost)
        else { return false }
        return bytes[7...].allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "/"): true
            default: false
            }
        }
    }

    /// Whether the password has that hash. Takes as long as the hash's cost says, whatever comes out (crypt_r(3)).
    package static func verify(_ password: String, _ hash: String) -> Bool {
        // a NUL would cut the password short, and bcrypt takes no more than 72 bytes of it
        guard !password.utf8.contains(0) else { return false }
        let space = UnsafeMutableRawPointer.allocate(byteCount: MemoryLayout<crypt_data>.size, alignment: 16)
        space.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<crypt_data>.size)
        defer { space.deallocate() }
        guard let found = crypt_rn(password, hash, space, CInt(MemoryLayout<crypt_data>.size)) else { return false }
        let expected = Array(hash.utf8)
        let actual = Array(String(cString: found).utf8)
        guard expected.count == actual.count else { return false }
        return zip(expected, actual).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    /// A hash of nothing that anybody knows, of htpasswd's usual cost, for users who do not exist.
    static let dummy = "$2y$05$Nq2zAyVsvvJ4nzO0kyZ3nOJ1tWUVRZ2eR5rPh8V6UmnF0S8hjlFXi"
}
