/// Whether bytes are a tar's header.
public enum TarProbe {
    public static func isHeader(_ block: [UInt8]) -> Bool {
        guard block.count >= 512 else { return false }
        return block.withUnsafeBytes { bytes in
            let header = TarHeader(UnsafeRawBufferPointer(rebasing: bytes[..<512]))
            return !header.isZero && header.hasValidChecksum
        }
    }
}
