import CCrypto
import HTTP
import JSON
import Linux
import Model

/// A public key that may sign tokens.
///
/// Unchecked: OpenSSL's key is only read once it is made, and counts its references by itself.
package final class TokenKey: @unchecked Sendable {
    /// The one algorithm that the key is good for: it is the key that decides, never the token (RFC 8725, 3.1).
    enum Algorithm: String, Sendable {
        case rsa = "RS256"
        case ecdsa = "ES256"
        case edwards = "EdDSA"
    }

    let algorithm: Algorithm
    /// What a JWKS calls it.
    let id: String?
    private let key: OpaquePointer

    /// From a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).
    /// - Throws: `invalid` for a key that is none, or too weak, or of a kind that is not taken.
    convenience init(der: [UInt8], id: String? = nil) throws {
        let key: OpaquePointer? = der.withUnsafeBufferPointer { bytes in
            var place = bytes.baseAddress
            return d2i_PUBKEY(nil, &place, bytes.count)
        }
        guard let key else { throw Fault(.invalid, "a public key that cannot be read") }
        try self.init(owning: key, id: id)
    }

    /// From a certificate: its key. Nobody checks who signed the certificate, since its owner put it into the file.
    convenience init(certificate der: [UInt8]) throws {
        let certificate: OpaquePointer? = der.withUnsafeBufferPointer { bytes in
            var place = bytes.baseAddress
            return d2i_X509(nil, &place, bytes.count)
        }
        guard let certificate else { throw Fault(.invalid, "a certificate that cannot be read") }
        defer { X509_free(certificate) }
        guard let key = X509_get_pubkey(certificate) else { throw Fault(.invalid, "a certificate without a key") }
        try self.init(owning: key, id: nil)
    }

    private init(owning key: OpaquePointer, id: String?) throws {
        self.key = key
        self.id = id
        switch EVP_PKEY_get_id(key) {
        case EVP_PKEY_RSA:
            algorithm = .rsa
            guard EVP_PKEY_get_bits(key) >= 2048 else { throw Fault(.invalid, "an RSA key of less than 2048 bits") }
        case EVP_PKEY_EC:
            algorithm = .ecdsa
            var name = [CChar](repeating: 0, count: 64)
            guard EVP_PKEY_get_group_name(key, &name, name.count, nil) == 1,
                String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) == "prime256v1"
            else { throw Fault(.invalid, "a key on another curve than P-256") }
        case EVP_PKEY_ED25519: algorithm = .edwards
        default: throw Fault(.invalid, "a key that is neither RSA nor P-256 nor Ed25519")
        }
    }

    deinit { EVP_PKEY_free(key) }

    func verifies(_ signature: [UInt8], of bytes: [UInt8]) -> Bool {
        var signature = signature
        if algorithm == .ecdsa {
            guard let der = Self.derSignature(signature) else { return false }
            signature = der
        }
        guard let context = EVP_MD_CTX_new() else { return false }
        defer { EVP_MD_CTX_free(context) }
        let digest = algorithm == .edwards ? nil : EVP_sha256()
        guard EVP_DigestVerifyInit(context, nil, digest, nil, key) == 1 else { return false }
        return EVP_DigestVerify(context, signature, signature.count, bytes, bytes.count) == 1
    }

    /// A token has r and s with 32 bytes each (RFC 7518, 3.4); OpenSSL wants them as ASN.1 integers.
    private static func derSignature(_ raw: [UInt8]) -> [UInt8]? {
        guard raw.count == 64 else { return nil }
        return DER.sequence(DER.integer(Array(raw[..<32])) + DER.integer(Array(raw[32...])))
    }
}

/// As much of ASN.1's distinguished encoding as keys and signatures need (X.690).
enum DER {
    static func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        var head = [tag]
        if content.count < 128 {
            head.append(UInt8(content.count))
        } else {
            var length: [UInt8] = []
            var rest = content.count
            while rest > 0 {
                length.insert(UInt8(rest & 255), at: 0)
                rest >>= 8
            }
            head.append(0x80 | UInt8(length.count))
            head += length
        }
        return head + content
    }

    static func sequence(_ content: [UInt8]) -> [UInt8] { element(0x30, content) }
    static func bits(_ content: [UInt8]) -> [UInt8] { element(0x03, [0] + content) }

    /// A number without a sign.
    static func integer(_ bytes: [UInt8]) -> [UInt8] {
        var digits = Array(bytes.drop { $0 == 0 })
        if digits.isEmpty { digits = [0] }
        if digits[0] & 0x80 != 0 { digits.insert(0, at: 0) }
        return element(0x02, digits)
    }
}

/// Reads files with public keys: PEM (keys and certificates) or a JWKS.
package enum TokenKeys {
    /// - Throws: `invalid` that names the file.
    package static func read(_ path: String) throws -> [TokenKey] {
        do {
            let bytes = try Files.read(path, limit: 1 << 20)
            let isJSON = bytes.first { $0 > 0x20 } == UInt8(ascii: "{")
            let keys = isJSON ? try jwks(bytes) : try pem(String(decoding: bytes, as: UTF8.self))
            guard !keys.isEmpty else { throw Fault(.invalid, "no public key is in it") }
            return keys
        } catch let fault as KernelFault {
            throw Fault(.invalid, "cannot read --token-keys \(path)", subject: path, cause: fault)
        } catch { throw Fault(error).prefixed("--token-keys \(path)") }
    }

    package static func pem(_ text: String) throws -> [TokenKey] {
        var keys: [TokenKey] = []
        var kind: String?
        var body = ""
        for line in text.split(whereSeparator: \.isNewline) {
            let line = HTTPFields.trimmed(line)
            if line.hasPrefix("-----BEGIN "), line.hasSuffix("-----") {
                kind = String(line.dropFirst(11).dropLast(5))
                body = ""
            } else if line.hasPrefix("-----END "), let found = kind {
                guard let der = StrictBase64.decode(body) else { throw Fault(.invalid, "a \(found) that is no base64") }
                if let key = try key(found, der) { keys.append(key) }
                kind = nil
            } else if kind != nil {
                body += line
            }
        }
        return keys
    }

    private static func key(_ kind: String, _ der: [UInt8]) throws -> TokenKey? {
        switch kind {
        case "PUBLIC KEY": return try TokenKey(der: der)
        case "CERTIFICATE": return try TokenKey(certificate: der)
        case "RSA PUBLIC KEY": return try TokenKey(der: rsa(der))
        default:
            guard !kind.contains("PRIVATE") else {
                throw Fault(.invalid, "a private key is in it: the registry needs the public one only")
            }
            return nil
        }
    }

    /// RSAPublicKey as SubjectPublicKeyInfo (RFC 8017, A.1.1).
    private static func rsa(_ key: [UInt8]) -> [UInt8] {
        DER.sequence(
            DER.sequence(DER.element(0x06, [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01]) + [0x05, 0x00])
                + DER.bits(key))
    }

    /// A set of keys (RFC 7517, 5). Keys that are not for signatures, or of other kinds, are passed over.
    package static func jwks(_ bytes: [UInt8]) throws -> [TokenKey] {
        var keys: [TokenKey] = []
        var reader = try JSONReader(bytes)
        try reader.object { name, reader in
            guard name == "keys" else { return try reader.skip() }
            try reader.array { reader in
                var members: [String: String] = [:]
                try reader.object { name, reader in
                    if reader.next == .string { members[name] = try reader.string() } else { try reader.skip() }
                }
                if let key = try jwk(members) { keys.append(key) }
            }
        }
        try reader.end()
        return keys
    }

    private static func jwk(_ members: [String: String]) throws -> TokenKey? {
        if let use = members["use"], use != "sig" { return nil }
        func bytes(_ name: String, _ count: Int? = nil) throws -> [UInt8] {
            guard let value = members[name].flatMap({ StrictBase64.decode($0, .url) }), count == nil || value.count == count
            else {
                throw Fault(.invalid, "the key \(members["kid"] ?? "without a kid") has no \(name)")
            }
            return value
        }
        let id = members["kid"]
        switch (members["kty"], members["crv"]) {
        case ("RSA", _):
            return try TokenKey(
                der: rsa(DER.sequence(DER.integer(try bytes("n")) + DER.integer(try bytes("e")))), id: id)
        case ("EC", "P-256"):
            let algorithm =
                DER.element(0x06, [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01])
                + DER.element(0x06, [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07])
            return try TokenKey(
                der: DER.sequence(DER.sequence(algorithm) + DER.bits([4] + bytes("x", 32) + bytes("y", 32))), id: id)
        case ("OKP", "Ed25519"):
            return try TokenKey(
                der: DER.sequence(DER.sequence(DER.element(0x06, [0x2B, 0x65, 0x70])) + DER.bits(try bytes("x", 32))), id: id)
        default: return nil
        }
    }
}
