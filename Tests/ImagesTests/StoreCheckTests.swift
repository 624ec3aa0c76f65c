import Archive
import Images
import JSON
import Linux
import Model
import State
import Synchronization
import TestSupport
import Testing

@Suite struct StoreCheckTests {
    /// An image with one gzip layer, as a registry's images have them.
    private func loadCompressed(_ fixture: ImageStoreFixture, _ name: String = "gz:1") async throws -> ImageRecord {
        let tar = try ImageStoreFixture.tar([("etc/hello", "world"), ("etc/big", String(repeating: "0123456789", count: 9000))])
        let path = fixture.scratch.path + "/layer.tar"
        try writeFile(path, tar)
        guard run(["/bin/gzip", "-nf", path]).status == 0 else { throw SetupFailure("gzip") }
        let gzip = try readFile(path + ".gz")
        let diffID = try ContentHash.digest(of: tar)
        let digest = try ContentHash.digest(of: gzip)
        var maker = ArchiveMaker()
        maker.add("blobs/sha256/" + digest.hex, gzip)
        maker.layers.append(("blobs/sha256/" + digest.hex, digest, gzip.count))
        let config = try maker.config(diffIDs: [diffID])
        try maker.ociManifest(config, name: name)
        let images = try await fixture.store.load(MemorySource(maker.tar()), caller: fixture.caller)
        return try #require(images.first)
    }

    private func shell(_ fixture: ImageStoreFixture, _ script: String) throws {
        let result = run(["/bin/sh", "-ec", "cd '\(fixture.scratch.path)/data'; " + script])
        guard result.status == 0 else { throw SetupFailure("\(script): \(result.error)") }
    }

    private func layerBlob(_ fixture: ImageStoreFixture, _ image: ImageRecord) throws -> BlobRow {
        let blobs = try fixture.database.read { try $0.blobs(ofImage: image.id) }
        return try #require(blobs.first { $0.diffID != nil })
    }

    private func repair(_ fixture: ImageStoreFixture) async throws -> [StoreDamage] {
        await fixture.store.repair(try await fixture.store.check(), isBusy: { _ in nil })
    }

    @Test func whatIsSoundIsFoundSound() async throws {
        let fixture = try ImageStoreFixture()
        _ = try await loadCompressed(fixture)
        try await fixture.importImage("plain:1")
        _ = try await fixture.store.census()
        let check = try await fixture.store.check()
        #expect(check.damages.isEmpty, "\(check.damages)")
        #expect(check.images == 2)
        #expect(check.layers == 2)
        #expect(check.bytes > 90_000)
    }

    @Test func aFlippedBitInALayerIsFoundAndMendedFromItsContent() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await loadCompressed(fixture)
        try shell(fixture, "f=$(ls layers/*/diff/etc/big); printf X | dd of=$f bs=1 seek=777 conv=notrunc 2>/dev/null")
        let found = try await fixture.store.check().damages
        #expect(found.map(\.kind) == [.layer])
        #expect(found.first?.images == [image.id])
        #expect(found.first?.remedy.contains("unpacks it again") == true)
        let mended = try await repair(fixture)
        #expect(mended.allSatisfy { $0.repair != nil }, "\(mended)")
        #expect(try await fixture.store.check().damages.isEmpty)
        _ = try await fixture.save("gz:1")
    }

    @Test func aMissingFileAndAnExtraOneAreFound() async throws {
        let fixture = try ImageStoreFixture()
        _ = try await loadCompressed(fixture)
        _ = try await fixture.store.census()
        try shell(fixture, "rm layers/*/diff/etc/hello")
        #expect(try await fixture.store.check().damages.first?.problem.contains("missing") == true)
        #expect(try await repair(fixture).allSatisfy { $0.repair != nil })
        _ = try await fixture.store.census()
        try shell(fixture, "ln -s nowhere $(ls -d layers/*/diff/etc)/planted")
        #expect(try await fixture.store.check().damages.first?.problem.contains("files and folders instead of") == true)
        #expect(try await repair(fixture).allSatisfy { $0.repair != nil })
        #expect(try await fixture.store.check().damages.isEmpty)
    }

    @Test func aLayerUnderARunningContainerIsNotExchanged() async throws {
        let fixture = try ImageStoreFixture()
        _ = try await loadCompressed(fixture)
        try shell(fixture, "rm layers/*/diff/etc/hello")
        let damages = await fixture.store.repair(try await fixture.store.check(), isBusy: { _ in "web" })
        #expect(damages.first?.repair == nil)
        #expect(damages.first?.remedy.contains("container web runs on it") == true)
    }

    @Test func aDamagedContentIsFetchedAgainAndNothingElse() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await loadCompressed(fixture, "registry.example/team/gz:1")
        let blob = try layerBlob(fixture, image)
        let file = fixture.scratch.path + "/data/blobs/sha256/" + blob.digest.hex
        let good = try readFile(file)
        try writeFile(file, Array("damaged".utf8))
        let without = try await repair(fixture)
        #expect(without.first?.repair == nil)
        #expect(without.first?.remedy.contains("no registry client") == true)

        fixture.store.setRefetch { _ in ToldFetcher(bytes: Array("something else".utf8)) }
        #expect(try await repair(fixture).first?.repair == nil)
        #expect(try readFile(file) == Array("damaged".utf8))

        let asked = Asked()
        fixture.store.setRefetch { name in
            asked.names.withLock { $0 += [name.familiar] }
            return ToldFetcher(bytes: good)
        }
        #expect(try await repair(fixture).first?.repair == "fetched again")
        #expect(asked.names.withLock { $0 } == ["registry.example/team/gz:1"])
        #expect(try readFile(file) == good)
        #expect(try await fixture.store.check().damages.isEmpty)
    }

    private final class Asked: Sendable { let names = Mutex<[String]>([]) }

    /// Gives whatever it was told to.
    private struct ToldFetcher: ContentFetcher {
        let bytes: [UInt8]
        func open(_ descriptor: ContentDescriptor, from offset: Int64) throws -> any ByteSource { MemorySource(bytes) }
        func cancel() {}
    }

    @Test func theConfigurationIsWrittenAgainFromTheState() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await fixture.importImage("a:1")
        try shell(fixture, "rm blobs/sha256/\(image.id.hex)")
        let found = try await fixture.store.check().damages
        #expect(found.map(\.kind) == [.blob])
        #expect(try await repair(fixture).first?.repair == "written again from the state file")
        #expect(try await fixture.store.check().damages.isEmpty)
        _ = try await fixture.save("a:1")
    }

    @Test func aTarThatIsKeptAndDamagedIsMadeFromItsLayer() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await fixture.importImage("a:1")
        let blob = try layerBlob(fixture, image)
        // As a pull of an uncompressed layer would keep it
        try fixture.database.write { try $0.setTree(nil, ofBlob: blob.digest) }
        try writeFile(fixture.scratch.path + "/data/blobs/sha256/" + blob.digest.hex, Array("short".utf8))
        #expect(try await repair(fixture).first?.repair?.contains("made from the unpacked layer") == true)
        #expect(try await fixture.store.check().damages.isEmpty)
        _ = try await fixture.save("a:1")
        #expect(try await fixture.store.census().filter { $0.kind == .unaccounted }.isEmpty)
    }

    @Test func leftoversAreFoundAndOnlyOursAreRemoved() async throws {
        let fixture = try ImageStoreFixture()
        try await fixture.importImage("a:1")
        let hex = String(repeating: "ab", count: 32)
        try shell(
            fixture,
            """
            mkdir -p layers/\(hex)/diff layers/mine tmp/image-0123 tmp/other; echo x >blobs/sha256/\(hex); echo y >blobs/sha256/notes
            echo z >blobs/readme; mkdir -p blobs/partial; echo p >blobs/partial/sha256-\(hex)
            """)
        let found = try await fixture.store.census().filter { $0.kind == .unaccounted }
        #expect(
            Set(found.map(\.path)) == [
                "layers/\(hex)", "layers/mine", "tmp/image-0123", "tmp/other", "blobs/sha256/\(hex)", "blobs/sha256/notes",
                "blobs/readme", "blobs/partial/sha256-\(hex)",
            ])
        let removed = try await fixture.store.removeLeftovers(found)
        #expect(
            Set(removed.map(\.path)) == [
                "layers/\(hex)", "tmp/image-0123", "blobs/sha256/\(hex)", "blobs/partial/sha256-\(hex)",
            ])
        try await fixture.store.settle()
        let left = try await fixture.store.census().filter { $0.kind == .unaccounted }.map(\.path)
        #expect(Set(left) == ["layers/mine", "tmp/other", "blobs/sha256/notes", "blobs/readme"])
        // Neither does the start of the next engine delete what is not ours.
        try await fixture.store.recover()
        try await fixture.store.settle()
        #expect(Set(try await fixture.store.census().filter { $0.kind == .unaccounted }.map(\.path)) == Set(left))
    }

    @Test func everyByteBelongsToARecord() async throws {
        let fixture = try ImageStoreFixture()
        _ = try await loadCompressed(fixture)
        try await fixture.importImage("a:1")
        try await fixture.store.settle()
        let items = try await fixture.store.census()
        let total = items.reduce(0) { $0 + $1.bytes }
        let script = """
            cd '\(fixture.scratch.path)/data'; find blobs layers tmp -printf '%D:%i %s\\n' | sort -u | awk '{s+=$2} END {print s}'
            """
        let found = Int64(run(["/bin/sh", "-c", script]).output.filter(\.isNumber))
        #expect(total == found)
        #expect(items.allSatisfy { $0.kind != .unaccounted })
        // Known from then on, without another walk
        #expect(try fixture.database.read { try $0.treeUsage().count } == 2)
        #expect(try await fixture.store.census() == items)
    }
}
