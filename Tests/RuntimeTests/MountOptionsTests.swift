import Linux
import Runtime
import Testing

@Suite struct MountOptionsTests {
    @Test func wordsBecomeAttributes() {
        let options = MountOptions(["nosuid", "noexec", "nodev", "ro", "strictatime", "mode=755", "size=64k"])
        #expect(options.set == [.noSUID, .noExecute, .noDevices, .readOnly, .strictAccessTime])
        #expect(options.data == ["mode=755", "size=64k"])
    }

    @Test func laterWordsWin() {
        #expect(MountOptions(["ro", "rw"]).set == [])
        #expect(MountOptions(["ro", "rw"]).clear == .readOnly)
        #expect(MountOptions(["rw", "ro"]).clear == [])
        #expect(MountOptions(["noatime", "relatime"]).set == [])
    }

    @Test func recursiveWordsAreKeptApart() {
        let options = MountOptions(["rbind", "rro", "rnosuid", "rexec", "rnoatime"])
        #expect(options.isBind && options.isRecursiveBind)
        #expect(options.set == [])
        #expect(options.recursiveSet == [.readOnly, .noSUID, .noAccessTime])
        #expect(options.recursiveClear.contains(.noExecute))
    }

    @Test(arguments: [
        ("private", MountPropagation.private, false), ("rprivate", .private, true), ("rslave", .slave, true),
        ("shared", .shared, false), ("runbindable", .unbindable, true),
    ])
    func propagationIsNoAttribute(_ word: String, _ kind: MountPropagation, _ recursive: Bool) {
        let options = MountOptions([word])
        #expect(options.propagation == kind)
        #expect(options.propagatesRecursively == recursive)
        #expect(options.data == [])
    }

    @Test func ourOwnWordsNeverReachTheKernel() {
        let options = MountOptions(["tmpcopyup", "idmap", "ridmap", "defaults", "remount", "bind"])
        #expect(options.data == [])
        #expect(options.copiesUp && options.isIDMapped && options.isRecursivelyIDMapped)
    }

    @Test(arguments: MountOptions.known)
    func everyKnownWordIsUnderstood(_ word: String) { #expect(MountOptions([word]).data == []) }
}
