import CCrypto
import Model

/// A running digest (libcrypto's EVP interface, EVP_DigestInit(3)).
public final class ContentHash {
    private let context: OpaquePointer?
    private let algorithm: Digest.Algorithm
    /// Bytes taken so far.
    public private(set) var count: Int64 = 0

    public init(_ algorithm: Digest.Algorithm = .sha256) {
        self.algorithm = algorithm
        context = EVP_MD_CTX_new()
        EVP_DigestInit_ex(context, algorithm == .sha256 ? EVP_sha256() : EVP_sha512(), nil)
    }

    deinit { EVP_MD_CTX_free(context) }

    public func update(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
        count += Int64(bytes.count)
    }

    /// The digest of what was taken. Ends the hash. Throws `system` only when libcrypto has no memory.
    public func finish() throws -> Digest {
        var bytes = [UInt8](repeating: 0, count: 64)
        var length: UInt32 = 0
        guard EVP_DigestFinal_ex(context, &bytes, &length) == 1,
            let digest = Digest(algorithm, bytes: Array(bytes[..<Int(length)]))
        else { throw Fault(.system, "libcrypto could not finish a digest") }
        return digest
    }

    public static func digest(of bytes: [UInt8], _ algorithm: Digest.Algorithm = .sha256) throws -> Digest {
        let hash = ContentHash(algorithm)
        bytes.withUnsafeBytes { hash.update($0) }
        return try hash.finish()
    }
}

/// Passes a source on and hashes what passes.
public final class HashingSource: ByteSource {
    private let source: any ByteSource
    public let hash: ContentHash
    private let observe: ((Int64) -> Void)?

    /// `observe` is told the number of bytes so far after each read.
    public init(_ source: any ByteSource, _ algorithm: Digest.Algorithm = .sha256, observe: ((Int64) -> Void)? = nil) {
        self.source = source
        self.hash = ContentHash(algorithm)
        self.observe = observe
    }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = try source.read(into: buffer)
        hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        observe?(hash.count)
        return count
    }

    public func abandon() { source.abandon() }
}
