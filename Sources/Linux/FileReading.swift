import Glibc

extension Files {
    /// Bytes from a place in a file whose descriptor somebody else owns; 0 at the end (pread(2)).
    public static func readAt(_ file: CInt, into buffer: UnsafeMutableRawBufferPointer, offset: Int64) throws -> Int {
        try kernel("pread") { pread(file, buffer.baseAddress, buffer.count, off_t(offset)) }
    }
}
