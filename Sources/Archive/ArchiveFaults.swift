import Linux
import Model

extension KernelFault {
    static let notPermitted: CInt = 1
    var isMissing: Bool { errno == 2 }
    var isExisting: Bool { errno == 17 }
    var isNotDirectory: Bool { errno == 20 || errno == 40 }
    /// EPERM, EACCES, EINVAL (namespace unknown), ENOSPC is not among them, EOPNOTSUPP
    var isUnsupportedAttribute: Bool { errno == 1 || errno == 13 || errno == 95 }
}

extension String {
    var lowercasedFirst: String { prefix(1).lowercased() + dropFirst() }
}
