import Linux
import Model
import State

/// Where the state file is made so that a full disk does not stop it.
enum StateFiles {
    /// Opens the state file, and makes it where there is none.
    ///
    /// On btrfs what is written anew takes new blocks, which a full disk does not have: there the file and its log are made to be
    /// written in place (FS_NOCOW_FL, which only an empty file can get), in a folder that gives them that, and moved from there. The log
    /// goes first: without the file it is nothing.
    static func open(_ layout: Layout) throws -> Database {
        let aside = layout.temporary + "/state"
        if Files.exists(aside) { try removeTree(aside) }
        if try !Files.exists(layout.database)
            && Subvolumes.areAvailable(in: Descriptor.open(layout.dataRoot, [.read, .directory]))
        {
            try makeInPlace(layout, aside)
        }
        return try Database(path: layout.database)
    }

    private static func makeInPlace(_ layout: Layout, _ folder: String) throws {
        defer { try? removeTree(folder) }
        try Descriptor.makeDirectories(folder, permissions: 0o700)
        let made = try Descriptor.open(folder, [.read, .directory])
        guard made.writeInPlace() else { return }
        let root = try Descriptor.open(layout.dataRoot, [.read, .directory])
        do {
            let database = try Database(path: folder + "/skiff.db")
            try database.reserveRoom()
        }
        for name in ["skiff.db-wal", "skiff.db"] where Files.exists(folder + "/" + name) {
            try Files.rename(folder + "/" + name, to: layout.dataRoot + "/" + name, at: root.raw)
        }
    }
}
