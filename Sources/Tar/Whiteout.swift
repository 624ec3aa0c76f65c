import Linux
import Model

/// How a layer's special things are kept on the disk.
public enum LayerPrivilege: Sendable {
    /// Owners, devices and overlayfs's `trusted.` attributes as they are.
    case root
    /// Everything belongs to the caller, devices are left out, overlayfs's marks are `user.` attributes (mount option userxattr).
    case user
}

/// Names and attributes by which a layer says that something below is gone.
package enum Whiteout {
    package static let prefix = Array(".wh.".utf8)
    package static let metaPrefix = Array(".wh..wh.".utf8)
    package static let opaque = Array(".wh..wh..opq".utf8)
    package static let opaqueValue = Array("y".utf8)

    package static func opaqueAttribute(_ privilege: LayerPrivilege) -> PathBytes {
        Array((privilege == .root ? "trusted.overlay.opaque" : "user.overlay.opaque").utf8)
    }

    package static func isOverlayAttribute(_ name: PathBytes) -> Bool {
        name.starts(with: "trusted.overlay.".utf8) || name.starts(with: "user.overlay.".utf8)
    }
}

/// Cleaning of the paths in an archive.
public enum PathCleaning {
    /// The names of a path without empty ones, `.` and `..`; leading slashes are dropped. Nil when it leads above the root.
    public static func components(_ path: PathBytes) -> [PathBytes]? {
        var components: [PathBytes] = []
        for part in path.split(separator: 0x2F) {
            if part.elementsEqual([0x2E]) { continue }
            if part.elementsEqual([0x2E, 0x2E]) {
                guard components.popLast() != nil else { return nil }
                continue
            }
            components.append(Array(part))
        }
        return components
    }
}

extension KernelFault {
    static let notPermitted: CInt = 1
    var isMissing: Bool { errno == 2 }
    var isExisting: Bool { errno == 17 }
    var isNotDirectory: Bool { errno == 20 || errno == 40 }
    /// ENOSPC, EDQUOT
    public var isDiskFull: Bool { errno == 28 || errno == 122 }
    /// EPERM, EACCES, EINVAL (namespace unknown), ENOSPC is not among them, EOPNOTSUPP
    var isUnsupportedAttribute: Bool { errno == 1 || errno == 13 || errno == 95 }
}

extension String {
    var lowercasedFirst: String { prefix(1).lowercased() + dropFirst() }
}
