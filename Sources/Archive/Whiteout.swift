import Linux
import Model

/// Names and attributes by which a layer says that something below is gone.
enum Whiteout {
    static let prefix = Array(".wh.".utf8)
    static let metaPrefix = Array(".wh..wh.".utf8)
    static let opaque = Array(".wh..wh..opq".utf8)
    static let opaqueValue = Array("y".utf8)

    static func opaqueAttribute(_ privilege: LayerPrivilege) -> PathBytes {
        Array((privilege == .root ? "trusted.overlay.opaque" : "user.overlay.opaque").utf8)
    }

    static func isOverlayAttribute(_ name: PathBytes) -> Bool {
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

/// Where files go that an archive replaces by later entries of the same name, as long as its recipe needs them.
public final class Attic {
    private let folder: Descriptor
    private var count = 0

    /// - Parameter folder: the layer's own folder, beside the one that is filled; `replaced/` is made in it when needed.
    public init(_ folder: consuming Descriptor) { self.folder = folder }

    /// Moves a name here and answers its new path, relative to the layer's folder.
    func take(_ name: PathBytes, from parent: borrowing Descriptor) throws -> PathBytes {
        if count == 0 { try folder.makeDirectory(Array("replaced".utf8), permissions: 0o700) }
        count += 1
        let place = Array("replaced/\(count)".utf8)
        try parent.rename(name, to: folder, place)
        return place
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
