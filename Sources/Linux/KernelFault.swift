import Glibc

/// A kernel call that failed: which, with what errno, on what.
public struct KernelFault: Error, Sendable, CustomStringConvertible {
    public let call: String
    public let errno: CInt
    /// Path, name or number that the call was about.
    public let detail: String?

    public init(_ call: String, errno: CInt, _ detail: String? = nil) {
        self.call = call
        self.errno = errno
        self.detail = detail
    }

    /// The errno's text as the C library has it in the C locale.
    public var reason: String { KernelFault.text(of: errno) }

    public static func text(of errno: CInt) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        guard strerror_r(errno, &buffer, buffer.count) == 0 else { return "errno \(errno)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// docs/kernels.md lists the calls that have no stand-in.
    private static let missingCall =
        " (the kernel is older than 5.15, or a seccomp filter around this program forbids the call: allow it there)"

    public var description: String {
        let text = reason
        let lower = text.prefix(1).lowercased() + text.dropFirst()
        let hint = errno == ENOSYS ? KernelFault.missingCall : ""
        return (detail.map { "\(call) \($0): \(lower)" } ?? "\(call): \(lower)") + hint
    }
}

/// Runs a call that answers -1 and errno; repeats it on EINTR.
@discardableResult
@inline(__always)
public func kernel<T: SignedInteger>(_ call: StaticString, _ detail: @autoclosure () -> String? = nil, _ body: () -> T) throws
    -> T
{
    while true {
        let result = body()
        if result != -1 { return result }
        let code = errno
        if code == EINTR { continue }
        throw KernelFault("\(call)", errno: code, detail())
    }
}
