import Archive
import Images
import Linux
import Model
import State
import TestSupport
import Testing

@Suite struct ImageStoreTests {
    @Test func anImportedTreeIsAnImageOfOneLayer() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await fixture.importImage("app:1", changes: [#"CMD ["sh"]"#, #"LABEL recipe='{"a":[1]}'"#])
        #expect(image.repoTags == ["app:1"])
        #expect(image.config.settings.cmd == ["sh"])
        #expect(image.config.settings.labels["recipe"] == #"{"a":[1]}"#)
        #expect(image.config.comment == "Imported from -")
        #expect(image.config.history.count == 1)
        #expect(image.size == 5)
        #expect(image.owner == Owner(uid: 1000))
        #expect(image.layers.count == 1)
        #expect(run(["/bin/cat", image.layers[0] + "/etc/hello"]).output == "world")
        #expect(try fixture.store.list().map(\.repoTags) == [["app:1"]])
        let history = try fixture.store.history("app:1")
        #expect(history.map(\.comment) == ["Imported from -"])
        #expect(history.first?.id == image.id)
    }

    @Test func anImageIsFoundByNameIdAndDigits() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await fixture.importImage("app")
        for text in [
            "app", "app:latest", "docker.io/library/app", image.id.description, image.id.hex, image.id.short,
            "sha256:" + image.id.short,
        ] {
            #expect(try fixture.store.resolve(text).id == image.id, "\(text)")
        }
        for (text, message) in [
            ("none", "No such image: none:latest"), ("app:2", "No such image: app:2"),
            ("ghcr.io/x/y", "No such image: ghcr.io/x/y:latest"),
            ("sha256:" + String(repeating: "0", count: 64), "No such image: sha256:" + String(repeating: "0", count: 64)),
        ] {
            let fault = #expect(throws: Fault.self) { try fixture.store.resolve(text) }
            #expect(fault?.message == message)
            #expect(fault?.kind == .notFound)
        }
        let bad = #expect(throws: Fault.self) { try fixture.store.resolve("UP PER") }
        #expect(bad?.kind == .invalid)
    }

    @Test func ambiguousDigitsAreRefused() async throws {
        let fixture = try ImageStoreFixture()
        var seen: [Character: Int] = [:]
        for index in 0..<17 {
            seen[try await fixture.importImage(nil, [("f", "\(index)")]).id.hex.first ?? "x", default: 0] += 1
        }
        let twice = try #require(seen.first { $0.value > 1 }?.key)
        let fault = #expect(throws: Fault.self) { try fixture.store.resolve(String(twice)) }
        #expect(fault?.message.hasPrefix("ambiguous digest string") == true)
    }

    @Test func aNameMovesAndTheOldImageDangles() async throws {
        let fixture = try ImageStoreFixture()
        let old = try await fixture.importImage("app", [("f", "1")])
        let new = try await fixture.importImage("app", [("f", "2")])
        #expect(try fixture.store.resolve("app").id == new.id)
        #expect(try fixture.store.image(old.id).repoTags.isEmpty)
        let moved = try await fixture.store.tag(old.id.short, as: Reference("app"), caller: fixture.caller)
        #expect(moved.before == new.id)
        let again = try await fixture.store.tag("app", as: Reference("app:latest"), caller: fixture.caller)
        #expect(again.before == nil)
        await #expect(throws: Fault.self) { try await fixture.store.tag("none", as: Reference("x"), caller: fixture.caller) }
    }

    @Test func removingTheLastNameRemovesEverything() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await fixture.importImage("a")
        try await fixture.store.tag("a", as: Reference("b:2"), caller: fixture.caller)
        let untagged = try await fixture.store.remove("a", force: false, prune: true, caller: fixture.caller) { _ in false }
        #expect(untagged == [.untagged("a:latest")])
        let diffID = try #require(image.config.diffIDs.first)
        let removed = try await fixture.store.remove("b:2", force: false, prune: true, caller: fixture.caller) { _ in false }
        #expect(removed == [.untagged("b:2"), .deleted(image.id), .deleted(diffID)])
        #expect(try fixture.store.list().isEmpty)
        #expect(try await fixture.files().isEmpty)
    }

    @Test func removalByIdFollowsDockersRules() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await fixture.importImage("a")
        try await fixture.store.tag("a", as: Reference("other/b"), caller: fixture.caller)
        func remove(_ text: String, force: Bool = false, running: Bool = false) async throws -> [ImageRemoval] {
            try await fixture.store.remove(text, force: force, prune: true, caller: fixture.caller) { _ in running }
        }
        let several = await #expect(throws: Fault.self) { try await remove(image.id.short) }
        #expect(
            several?.message
                == "conflict: unable to delete \(image.id.short) (must be forced) - image is referenced in multiple repositories"
        )
        #expect(several?.kind == .conflict)
        _ = try await remove("other/b")

        let container = ObjectID.random()
        try fixture.database.write { try $0.holdImage(image.id, holder: container) }
        let named = await #expect(throws: Fault.self) { try await remove("a") }
        #expect(
            named?.message
                == "conflict: unable to remove repository reference \"a\" (must force) - container \(container.short) "
                + "is using its referenced image \(image.id.short)")
        let stopped = await #expect(throws: Fault.self) { try await remove(image.id.hex) }
        #expect(
            stopped?.message
                == "conflict: unable to delete \(image.id.short) (must be forced) - image is being used by stopped container \(container.short)"
        )
        let running = await #expect(throws: Fault.self) { try await remove(image.id.hex, force: true, running: true) }
        #expect(
            running?.message
                == "conflict: unable to delete \(image.id.short) (cannot be forced) - image is being used by running container \(container.short)"
        )
        #expect(try await remove("a", force: true) == [.untagged("a:latest")])
        #expect(run(["/usr/bin/test", "-d", image.layers[0]]).status == 0)

        try fixture.database.write { try $0.releaseImages(holder: container) }
        _ = try await remove(image.id.hex)
        #expect(try await fixture.files().isEmpty)
        let gone = await #expect(throws: Fault.self) { try await remove(image.id.hex) }
        #expect(gone?.message == "No such image: \(image.id)")
        #expect(throws: Fault.self) { try fixture.database.write { try $0.holdImage(image.id, holder: container) } }
    }

    @Test func imagesShareLayersAndTheSharedOneStays() async throws {
        let fixture = try ImageStoreFixture()
        try await fixture.importImage("a", changes: ["USER 1"])
        let second = try await fixture.importImage("b", changes: ["USER 2"])
        _ = try await fixture.store.remove("a", force: false, prune: true, caller: fixture.caller) { _ in false }
        #expect(run(["/usr/bin/test", "-f", second.layers[0] + "/etc/hello"]).status == 0)
        _ = try await fixture.store.remove("b", force: false, prune: true, caller: fixture.caller) { _ in false }
        #expect(try await fixture.files().isEmpty)
    }

    @Test func aFailedImportLeavesNothing() async throws {
        let fixture = try ImageStoreFixture()
        let tar = try ImageStoreFixture.tar([("a", String(repeating: "x", count: 100_000)), ("../b", "1")])
        for (bytes, message) in [
            (tar, "archive entry \"../b\": it leads out of the archive's root"),
            (Array(tar[..<70_000]), "the archive is truncated in the content, at or after \"a\""),
            ([], "the archive is empty"), (Array("no archive at all".utf8), "the archive is truncated in a header"),
            ([UInt8](repeating: 0x41, count: 4096), "it is no tar archive (nor a compressed one)"),
        ] {
            let fault = await #expect(throws: Fault.self) {
                try await fixture.store.importRootfs(
                    MemorySource(bytes), ImportRequest(reference: Reference("x")), caller: fixture.caller)
            }
            #expect(fault?.message == message)
            #expect(fault?.kind == .invalid)
        }
        await #expect(throws: Fault.self) { try await fixture.importImage("x", changes: ["RUN x"]) }
        #expect(try await fixture.files().isEmpty)
        #expect(try fixture.store.list().isEmpty)
    }

    @Test func whatACrashLeftIsCollectedAtTheStart() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await fixture.importImage("a")
        let before = try await fixture.files()
        let hex = String(repeating: "12", count: 32)
        for name in ["tmp/image-abc/layer/diff", "layers/\(hex)/diff", "layers/merged-\(hex)/diff"] {
            _ = fixture.scratch.folder("data/" + name)
        }
        _ = try fixture.scratch.file("data/blobs/sha256/" + String(repeating: "0", count: 64), "x")
        // What has no name of ours is somebody's: it stays, and is shown as unaccounted.
        _ = try fixture.scratch.file("data/blobs/sha256/junk", "x")
        try await fixture.store.recover()
        #expect(try await fixture.files().filter { $0 != "blobs/sha256/junk" } == before)
        #expect(try await fixture.store.census().filter { $0.kind == .unaccounted }.map(\.path) == ["blobs/sha256/junk"])
        #expect(try fixture.store.resolve("a").id == image.id)
    }

    @Test func theSameImportTwentyTimesAtOnceIsStoredOnce() async throws {
        let fixture = try ImageStoreFixture()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<20 {
                let store = fixture.store
                let caller = fixture.caller
                group.addTask {
                    let source = MemorySource(try ImageStoreFixture.tar([("f", "same")]))
                    _ = try await store.importRootfs(source, ImportRequest(reference: Reference("t:\(index)")), caller: caller)
                    if index % 3 == 0 {
                        _ = try await store.remove("t:\(index)", force: false, prune: true, caller: caller) { _ in false }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try fixture.store.list().count == 13)
        #expect(try await fixture.files().filter { $0.hasPrefix("layers/") }.count == 1)
        for image in try fixture.store.list() {
            #expect(run(["/usr/bin/test", "-f", try fixture.store.image(image.id).layers[0] + "/f"]).status == 0)
        }
    }
}
