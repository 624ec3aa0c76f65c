import Archive
import Images
import Linux
import Model
import State
import Synchronization
import TestSupport
import Testing

@Suite struct BlobCondensingTests {
    /// An image with one layer, compressed by a program.
    private func load(_ fixture: ImageStoreFixture, _ name: String, with command: String) async throws -> BlobRow {
        let words = (0..<9000).map { "line \($0 % 211) of \($0 * 7 % 1013)\n" }.joined()
        let tar = try ImageStoreFixture.tar([("etc/hello", "world"), ("usr/share/big", words)])
        let path = fixture.scratch.path + "/layer"
        try writeFile(path, tar)
        guard run(["/bin/sh", "-c", "\(command) <'\(path)' >'\(path).z'"]).status == 0 else { throw SetupFailure(command) }
        let compressed = try readFile(path + ".z")
        let (diffID, digest) = (try ContentHash.digest(of: tar), try ContentHash.digest(of: compressed))
        var maker = ArchiveMaker()
        maker.add("blobs/sha256/" + digest.hex, compressed)
        maker.layers.append(("blobs/sha256/" + digest.hex, digest, compressed.count))
        try maker.ociManifest(try maker.config(diffIDs: [diffID]), name: name)
        _ = try await fixture.store.load(MemorySource(maker.tar()), caller: fixture.caller)
        return try #require(try fixture.database.read { try $0.blob(digest) })
    }

    private func file(_ fixture: ImageStoreFixture, _ blob: BlobRow) -> String {
        fixture.scratch.path + "/data/blobs/sha256/" + blob.digest.hex
    }

    private func recordFile(_ fixture: ImageStoreFixture, _ blob: BlobRow) -> String {
        fixture.scratch.path + "/data/blobs/records/sha256-" + blob.digest.hex
    }

    private func unaccounted(_ fixture: ImageStoreFixture) async throws -> [String] {
        try await fixture.store.settle()
        return try await fixture.store.census().filter { $0.kind == .unaccounted }.map(\.path)
    }

    @Test func aGzipLayerIsDroppedAndSavedAsItCame() async throws {
        let fixture = try ImageStoreFixture()
        let blob = try await load(fixture, "gz:1", with: "gzip -n")
        let before = try await fixture.save("gz:1")
        #expect(try await fixture.store.condense(.all, age: 0) == CondensedBlobs())
        #expect(try await fixture.store.condense(.needed, age: 3_600_000_000_000).remade == 0)
        let done = try await fixture.store.condense(.needed, age: 0)
        #expect(done.remade == 1)
        #expect(done.freed > blob.size * 3 / 4)
        #expect(!Files.exists(file(fixture, blob)))
        #expect(Files.exists(recordFile(fixture, blob)))
        #expect(try await fixture.save("gz:1") == before)
        #expect(try await unaccounted(fixture).isEmpty)
        let check = try await fixture.store.check()
        #expect(check.damages.isEmpty, "\(check.damages)")
        #expect(try await fixture.store.condense(.needed, age: 0) == CondensedBlobs())
        // It is the layer's record that goes with the image.
        _ = try await fixture.store.remove("gz:1", force: false, prune: true, caller: fixture.caller) { _ in false }
        #expect(try await fixture.files().isEmpty == false || !Files.exists(recordFile(fixture, blob)))
        #expect(!Files.exists(recordFile(fixture, blob)))
        #expect(try await unaccounted(fixture).isEmpty)
    }

    @Test func aLayerThatIsNoGzipStaysAndIsNotLookedAtAgain() async throws {
        let fixture = try ImageStoreFixture()
        let blob = try await load(fixture, "xz:1", with: "xz -1")
        #expect(try await fixture.store.condense(.needed, age: 0) == CondensedBlobs(kept: 1))
        #expect(try fixture.database.read { try $0.verdicts(version: 1) }[blob.digest] != nil)
        #expect(Files.exists(file(fixture, blob)))
        #expect(try await fixture.store.condense(.needed, age: 0) == CondensedBlobs(kept: 1))
        #expect(try await fixture.store.check().damages.isEmpty)
    }

    @Test func whatARegistryHandsOutIsDroppedOnlyByWishAndFetchedWhenNeeded() async throws {
        let fixture = try ImageStoreFixture()
        let blob = try await load(fixture, "registry.example/team/xz:1", with: "xz -1")
        let bytes = try readFile(file(fixture, blob))
        let before = try await fixture.save("registry.example/team/xz:1")
        // Nobody hands it out
        #expect(try await fixture.store.condense(.minimal, age: 0) == CondensedBlobs(kept: 1))
        let registry = FakeRegistry(bytes)
        fixture.store.setRefetch { name in
            registry.asked.withLock { $0.append(name.name) }
            return FakeFetcher(registry: registry)
        }
        #expect(try await fixture.store.condense(.minimal, age: 0) == CondensedBlobs(fetchable: 1, freed: blob.size))
        #expect(registry.asked.withLock { $0 } == ["registry.example/team/xz"])
        #expect(!Files.exists(file(fixture, blob)))
        #expect(try fixture.database.read { try $0.blob(blob.digest) }?.origin == "registry.example/team/xz")
        #expect(try await fixture.store.check().damages.isEmpty)
        #expect(try await fixture.save("registry.example/team/xz:1") == before)
        #expect(try await unaccounted(fixture).isEmpty)
        // Another content than was asked for never gets out.
        registry.bytes.withLock { $0 = Array(bytes.dropLast()) + [bytes[0] ^ 1] }
        await #expect(throws: Fault.self) { _ = try await fixture.save("registry.example/team/xz:1") }
        #expect(try await unaccounted(fixture).isEmpty)
    }

    @Test func aDamagedRecordIsFoundAndTheContentFetchedAgain() async throws {
        let fixture = try ImageStoreFixture()
        let blob = try await load(fixture, "registry.example/team/gz:1", with: "gzip -n")
        let bytes = try readFile(file(fixture, blob))
        try fixture.store.remember([blob.digest], in: "team/gz", of: "registry.example")
        _ = try await fixture.store.condense(.needed, age: 0)
        try writeFile(recordFile(fixture, blob), Array("nonsense".utf8))
        let found = try await fixture.store.check()
        #expect(found.damages.map(\.kind) == [.blob])
        #expect(found.damages.first?.path == "blobs/records/sha256-" + blob.digest.hex)
        await #expect(throws: Fault.self) { _ = try await fixture.save("registry.example/team/gz:1") }
        let registry = FakeRegistry(bytes)
        fixture.store.setRefetch { _ in FakeFetcher(registry: registry) }
        let mended = await fixture.store.repair(found, isBusy: { _ in nil })
        #expect(mended.first?.repair == "fetched again")
        #expect(try readFile(file(fixture, blob)) == bytes)
        #expect(!Files.exists(recordFile(fixture, blob)))
        #expect(try await fixture.store.check().damages.isEmpty)
        #expect(try await unaccounted(fixture).isEmpty)
        // And once more
        #expect(try await fixture.store.condense(.needed, age: 0).remade == 1)
    }

    @Test func aLayerWhoseContentWasDroppedIsMendedByARegistry() async throws {
        let fixture = try ImageStoreFixture()
        let blob = try await load(fixture, "registry.example/team/gz:1", with: "gzip -n")
        let bytes = try readFile(file(fixture, blob))
        try fixture.store.remember([blob.digest], in: "team/gz", of: "registry.example")
        _ = try await fixture.store.condense(.needed, age: 0)
        _ = run(["/bin/sh", "-c", "rm '\(fixture.scratch.path)'/data/layers/*/diff/etc/hello"])
        let registry = FakeRegistry(bytes)
        fixture.store.setRefetch { _ in FakeFetcher(registry: registry) }
        let mended = await fixture.store.repair(try await fixture.store.check(), isBusy: { _ in nil })
        #expect(mended.map(\.repair) == ["fetched again and unpacked"], "\(mended)")
        #expect(try await fixture.store.check().damages.isEmpty)
        #expect(try await unaccounted(fixture).isEmpty)
    }

    @Test func whatIsNamedForAnotherRegistryStaysUntilItIsThere() async throws {
        let fixture = try ImageStoreFixture()
        let blob = try await load(fixture, "registry.example/team/gz:1", with: "gzip -n")
        #expect(try await fixture.store.condense(.needed, age: 0) == CondensedBlobs(kept: 1))
        try fixture.store.remember([blob.digest], in: "team/gz", of: "registry.example")
        try await fixture.store.tag(
            "registry.example/team/gz:1", as: try Reference("other.example/app:1"), caller: fixture.caller)
        #expect(try await fixture.store.condense(.needed, age: 0) == CondensedBlobs(kept: 1))
        try fixture.store.remember([blob.digest], in: "app", of: "other.example")
        #expect(try await fixture.store.condense(.needed, age: 0).remade == 1)
    }

    @Test func whatWorkHoldsKeepsItsFile() async throws {
        let fixture = try ImageStoreFixture()
        let blob = try await load(fixture, "gz:1", with: "gzip -n")
        try await fixture.store.leased("push") { lease in
            try fixture.store.hold(try fixture.database.read { try $0.images(withBlob: blob.digest) }, lease)
            #expect(try await fixture.store.condense(.needed, age: 0) == CondensedBlobs(kept: 1))
        }
        #expect(try await fixture.store.condense(.needed, age: 0).remade == 1)
    }

    @Test func aContentThatCameWholeBeforeTheEngineDiedIsKeptForTheNextPull() async throws {
        let fixture = try ImageStoreFixture()
        let bytes = Array("a layer as it came".utf8)
        let digest = try ContentHash.digest(of: bytes)
        let row = PartialBlobRow(
            digest: digest, size: Int64(bytes.count), mediaType: "x", used: Timestamp(nanoseconds: 1))
        try fixture.database.write { try $0.setPartial(row) }
        try writeFile(fixture.scratch.path + "/data/blobs/sha256/" + digest.hex, bytes)
        try await fixture.store.recover()
        #expect(try await fixture.files() == ["blobs/partial/sha256-" + digest.hex])
        #expect(try await unaccounted(fixture).isEmpty)
    }
}

private final class FakeRegistry: Sendable {
    let bytes: Mutex<[UInt8]>
    let asked = Mutex<[String]>([])
    init(_ bytes: [UInt8]) { self.bytes = Mutex(bytes) }
}

private struct FakeFetcher: ContentFetcher {
    let registry: FakeRegistry
    func open(_ descriptor: ContentDescriptor, from offset: Int64) throws -> any ByteSource {
        MemorySource(Array(registry.bytes.withLock { $0 }.dropFirst(Int(offset))))
    }
    func cancel() {}
}
