import Linux
import Model

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
