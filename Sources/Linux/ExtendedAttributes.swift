import CKernel
import Glibc

extension Descriptor {
    /// fsetxattr(2)
    public borrowing func setAttribute(_ name: PathBytes, _ value: [UInt8]) throws {
        let raw = raw
        try kernel("fsetxattr", pathText(name)) {
            value.withUnsafeBytes { value in withPathBytes(name) { skiff_fsetxattr(raw, $0, value.baseAddress, value.count) } }
        }
    }

    /// lsetxattr(2) of a name in this folder, not following a link.
    public borrowing func setAttribute(of file: PathBytes, _ name: PathBytes, _ value: [UInt8]) throws {
        let path = childPath(file)
        try kernel("lsetxattr", pathText(name)) {
            value.withUnsafeBytes { value in
                withPathBytes(path) { path in withPathBytes(name) { skiff_lsetxattr(path, $0, value.baseAddress, value.count) }
                }
            }
        }
    }

    /// lgetxattr(2) of a name in this folder; nil when it is not set or the file system has none.
    public borrowing func attribute(of file: PathBytes, _ name: PathBytes) throws -> [UInt8]? {
        let path = childPath(file)
        return try Self.value(name) { buffer in
            withPathBytes(path) { path in withPathBytes(name) { skiff_lgetxattr(path, $0, buffer.baseAddress, buffer.count) } }
        }
    }

    /// fgetxattr(2); nil when it is not set or the file system has none.
    public borrowing func attribute(_ name: PathBytes) throws -> [UInt8]? {
        let raw = raw
        return try Self.value(name) { buffer in
            withPathBytes(name) { skiff_fgetxattr(raw, $0, buffer.baseAddress, buffer.count) }
        }
    }

    /// Names of the attributes of a name in this folder (llistxattr(2)), sorted.
    public borrowing func attributeNames(of file: PathBytes) throws -> [PathBytes] {
        let path = childPath(file)
        let list = try Self.value(Array("list".utf8)) { buffer in
            withPathBytes(path) { path in
                skiff_llistxattr(path, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count)
            }
        }
        return (list ?? []).split(separator: 0).map(Array.init).sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// Attributes have no *at calls before 6.13: by way of /proc, whose last component is not followed.
    private borrowing func childPath(_ name: PathBytes) -> PathBytes { Array("/proc/self/fd/\(raw)/".utf8) + name }

    private static func value(
        _ name: PathBytes, _ call: (UnsafeMutableRawBufferPointer) -> Int
    ) throws -> [UInt8]? {
        var size = 256
        while true {
            var count = 0
            do {
                let bytes = try [UInt8](unsafeUninitializedCapacity: size) { buffer, used in
                    count = try kernel("getxattr", pathText(name)) { call(UnsafeMutableRawBufferPointer(buffer)) }
                    used = count
                }
                return bytes
            } catch let fault as KernelFault where fault.errno == ERANGE && size < 1 << 17 {
                size *= 4
            } catch let fault as KernelFault where fault.errno == ENODATA || fault.errno == EOPNOTSUPP {
                return nil
            }
        }
    }
}
