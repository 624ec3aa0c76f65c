import Model

/// What a filter answers: SECCOMP_RET_… with its data (linux/seccomp.h).
package enum SeccompReturn {
    package static let killThread: UInt32 = 0
    package static let trap: UInt32 = 0x0003_0000
    package static let errno: UInt32 = 0x0005_0000
    package static let notify: UInt32 = 0x7FC0_0000
    package static let trace: UInt32 = 0x7FF0_0000
    package static let log: UInt32 = 0x7FFC_0000
    package static let allow: UInt32 = 0x7FFF_0000
    package static let killProcess: UInt32 = 0x8000_0000
    static let noPermission: UInt32 = 1
    package static let noSuchSyscall: UInt32 = errno | 38

    /// `errnoRet` counts for ERRNO and TRACE; EPERM without one.
    static func value(_ action: OCI.SeccompAction, _ number: UInt32?, _ field: @autoclosure () -> String) throws -> UInt32 {
        switch action {
        case .kill, .killThread: return killThread
        case .killProcess: return killProcess
        case .trap: return trap
        case .allow: return allow
        case .log: return log
        case .notify: return notify
        case .errno:
            let number = number ?? noPermission
            // the kernel would cut a larger one to 4095 (MAX_ERRNO)
            guard number <= 4095 else { throw Fault(.invalid, "\(field()): \(number) is not an errno", subject: field()) }
            return errno | number
        case .trace:
            let number = number ?? noPermission
            guard number <= 0xFFFF else {
                throw Fault(.invalid, "\(field()): \(number) is larger than 65535", subject: field())
            }
            return trace | number
        }
    }

    /// Whether a profile with this default is a list of what is allowed: then a newer system call is answered with ENOSYS.
    static func refuses(_ value: UInt32) -> Bool {
        switch value & 0xFFFF_0000 {
        case killThread, trap, errno, killProcess: true
        default: false
        }
    }
}
