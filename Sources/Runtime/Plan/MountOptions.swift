import Linux
import Model

/// Options of `mounts[]` taken apart (config-linux.md, "Linux mount options"; mount(8)).
package struct MountOptions: Sendable, Equatable {
    package var set: MountAttributes = []
    package var clear: MountAttributes = []
    package var recursiveSet: MountAttributes = []
    package var recursiveClear: MountAttributes = []
    package var propagation: MountPropagation?
    package var propagatesRecursively = false
    package var isBind = false
    package var isRecursiveBind = false
    package var copiesUp = false
    /// `idmap` and `ridmap`.
    package var isIDMapped = false
    package var isRecursivelyIDMapped = false
    /// Words for the file system itself, in their order: `size=64m`, `sync` …
    package var data: [String] = []
    /// Flags of the superblock that mount(2) has a bit for and fsconfig(2) a word.
    package var superblock: [String] = []

    package init(_ options: [String]) {
        for option in options { take(option) }
    }

    private mutating func take(_ option: String) {
        if let attribute = Self.attribute(option) {
            clear.formUnion(attribute.clear)
            set.subtract(attribute.clear)
            set.formUnion(attribute.set)
            clear.subtract(attribute.set.subtracting(.accessTime))
            return
        }
        if option.utf8.first == UInt8(ascii: "r"), option != "ro", option != "rw",
            let attribute = Self.attribute(String(option.dropFirst()))
        {
            recursiveClear.formUnion(attribute.clear)
            recursiveSet.subtract(attribute.clear)
            recursiveSet.formUnion(attribute.set)
            recursiveClear.subtract(attribute.set.subtracting(.accessTime))
            return
        }
        switch option {
        case "bind": isBind = true
        case "rbind":
            isBind = true
            isRecursiveBind = true
        case "private", "rprivate": propagate(.private, option)
        case "shared", "rshared": propagate(.shared, option)
        case "slave", "rslave": propagate(.slave, option)
        case "unbindable", "runbindable": propagate(.unbindable, option)
        case "tmpcopyup": copiesUp = true
        case "idmap": isIDMapped = true
        case "ridmap":
            isIDMapped = true
            isRecursivelyIDMapped = true
        case "sync", "dirsync", "lazytime", "mand", "async", "nolazytime", "nomand": superblock.append(option)
        case "defaults", "remount", "silent", "loud", "iversion", "noiversion", "": break
        default: data.append(option)
        }
    }

    private mutating func propagate(_ kind: MountPropagation, _ option: String) {
        propagation = kind
        propagatesRecursively = option.utf8.first == UInt8(ascii: "r")
    }

    struct Change {
        var set: MountAttributes = []
        var clear: MountAttributes = []
    }

    /// What a word does to the attributes of a mount; nil when it is no such word.
    private static func attribute(_ word: String) -> Change? {
        switch word {
        case "ro": Change(set: .readOnly)
        case "rw": Change(clear: .readOnly)
        case "nosuid": Change(set: .noSUID)
        case "suid": Change(clear: .noSUID)
        case "nodev": Change(set: .noDevices)
        case "dev": Change(clear: .noDevices)
        case "noexec": Change(set: .noExecute)
        case "exec": Change(clear: .noExecute)
        case "noatime": Change(set: .noAccessTime, clear: .accessTime)
        case "strictatime": Change(set: .strictAccessTime, clear: .accessTime)
        case "atime", "relatime", "norelatime", "nostrictatime": Change(clear: .accessTime)
        case "nodiratime": Change(set: .noFolderAccessTime)
        case "diratime": Change(clear: .noFolderAccessTime)
        case "nosymfollow": Change(set: .noSymlinks)
        case "symfollow": Change(clear: .noSymlinks)
        default: nil
        }
    }

    /// Every word that is understood, for `features`.
    package static let known: [String] = {
        let attributes = [
            "ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "atime", "strictatime", "nostrictatime",
            "relatime", "norelatime", "nodiratime", "diratime", "nosymfollow", "symfollow",
        ]
        let others = [
            "async", "bind", "defaults", "dirsync", "idmap", "iversion", "lazytime", "loud", "mand", "noiversion", "nolazytime",
            "nomand", "private", "rbind", "remount", "ridmap", "rprivate", "rshared", "rslave", "runbindable", "shared",
            "silent", "slave", "sync", "tmpcopyup", "unbindable",
        ]
        return (attributes + attributes.map { "r" + $0 } + others).sorted()
    }()
}
