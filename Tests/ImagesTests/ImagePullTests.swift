import Archive
import Images
import JSON
import Linux
import Model
import State
import TestSupport
import Testing

@Suite struct ImagePullTests {
    /// What a registry would hand out; a content may have to wait until it is released.
    private final class Contents: Sendable {
        struct State {
            var bytes: [Digest: [UInt8]] = [:]
            var held: Set<Digest> = []
            var asked: [Digest: Int] = [:]
            /// How many times somebody else is asked who has the right bytes.
            var liars = 0
        }
        let state = Monitor(State())

        func add(_ bytes: [UInt8]) throws -> ContentDescriptor {
            let digest = try ContentHash.digest(of: bytes)
            state.update { $0.bytes[digest] = bytes }
            return ContentDescriptor(mediaType: MediaType.ociLayer, digest: digest, size: Int64(bytes.count))
        }

        func hold(_ digest: Digest) { state.update { _ = $0.held.insert(digest) } }
        func release() { state.update { $0.held = [] } }
        func asked(_ digest: Digest) -> Int { state.update { $0.asked[digest] ?? 0 } }
    }

    private struct Fetcher: ContentFetcher {
        let contents: Contents
        func open(_ descriptor: ContentDescriptor, from offset: Int64) throws -> any ByteSource {
            contents.state.update { $0.asked[descriptor.digest, default: 0] += 1 }
            let (bytes, isLie) = contents.state.wait { state -> ([UInt8], Bool)? in
                state.held.contains(descriptor.digest) ? nil : (state.bytes[descriptor.digest] ?? [], state.liars > 0)
            }
            return MemorySource(
                isLie
                    ? Array("<html>login".utf8) + [UInt8](repeating: 0, count: bytes.count - 11)
                    : Array(bytes.dropFirst(Int(offset))))
        }
        func distrust() -> Bool {
            contents.state.update { state in
                defer { state.liars -= state.liars > 0 ? 1 : 0 }
                return state.liars > 0
            }
        }
        func cancel() {}
    }

    /// An image of these contents, each a layer with that uncompressed digest.
    private func image(_ name: String, _ layers: [(ContentDescriptor, Digest)]) throws -> RemoteImage {
        var config = ImageConfig()
        config.os = "linux"
        config.architecture = ImagePlatform.host.architecture
        config.author = name
        config.diffIDs = layers.map(\.1)
        let bytes = config.json
        let manifest = ImageManifest(
            config: ContentDescriptor(
                mediaType: MediaType.ociConfig, digest: try ContentHash.digest(of: bytes), size: Int64(bytes.count)),
            layers: layers.map(\.0))
        var image = RemoteImage(
            manifest: manifest, manifestDigest: try ContentHash.digest(of: manifest.json), manifestBytes: manifest.json,
            configBytes: bytes)
        image.tags = [try Reference(name)]
        return image
    }

    private func pull(_ store: ImageStore, _ image: RemoteImage, _ contents: Contents) async throws -> ImageRecord {
        let caller = Caller(uid: 1000, gid: 1000, pid: 1)
        return try await store.pull(image, caller: caller, fetcher: { Fetcher(contents: contents) }) { _, _ in }
    }

    private func plain(_ contents: Contents, _ files: [(String, String)]) throws -> (ContentDescriptor, Digest) {
        let descriptor = try contents.add(try ImageStoreFixture.tar(files))
        return (descriptor, descriptor.digest)
    }

    private func expectSound(_ fixture: ImageStoreFixture) async throws {
        #expect(try await fixture.store.check().damages.isEmpty)
        try await fixture.store.settle()
        #expect(try await fixture.store.census().filter { $0.kind == .unaccounted }.map(\.path) == [])
    }

    @Test func aLayerThatIsKnownCompressedAndComesAsATarIsSavedAsItsManifestSays() async throws {
        let fixture = try ImageStoreFixture()
        let contents = Contents()
        let tar = try ImageStoreFixture.tar([("etc/hello", "world")])
        let sink = MemorySink(limit: 1 << 20)
        let compressor = try ParallelCompressor(sink, .gzip, level: 1)
        try tar.withUnsafeBytes { try compressor.write($0) }
        try compressor.finish()
        var packed = try contents.add(sink.bytes)
        packed.mediaType = MediaType.ociLayerGzip
        let layer = try plain(contents, [("etc/hello", "world")])
        _ = try await pull(fixture.store, try image("packed:1", [(packed, layer.1)]), contents)
        let image = try await pull(fixture.store, try image("plain:1", [layer]), contents)
        let saved = try await fixture.save("plain:1")
        let other = try ImageStoreFixture("other-" + #function)
        let loaded = try await other.store.load(MemorySource(saved), caller: other.caller)
        #expect(loaded.map(\.id) == [image.id])
        let layers = try fixture.store.pushable("plain:1").layers
        #expect(layers.map(\.isAsNamed) == [true])
        try await expectSound(fixture)
        // And the archive of the plain one beside the packed one
        let third = try ImageStoreFixture("third-" + #function)
        _ = try await pull(third.store, try self.image("packed:1", [(packed, layer.1)]), contents)
        _ = try await third.store.load(MemorySource(saved), caller: third.caller)
        #expect(try await third.save("plain:1") == saved)
        try await expectSound(third)
    }

    /// Two pulls share a layer; the first one's image is removed before the second is complete.
    @Test func aSharedLayerThatIsCollectedMeanwhileIsFetchedAgain() async throws {
        for compressed in [false, true] {
            let fixture = try ImageStoreFixture("\(#function)-\(compressed)")
            let contents = Contents()
            var shared = try plain(contents, [("etc/shared", "by both")])
            if compressed {
                let sink = MemorySink(limit: 1 << 20)
                let compressor = try ParallelCompressor(sink, .gzip, level: 1)
                try ImageStoreFixture.tar([("etc/shared", "by both")]).withUnsafeBytes { try compressor.write($0) }
                try compressor.finish()
                shared.0 = try contents.add(sink.bytes)
                shared.0.mediaType = MediaType.ociLayerGzip
            }
            let own = try plain(contents, [("etc/own", "of the second")])
            contents.hold(own.0.digest)
            contents.hold(shared.0.digest)
            let (first, second) = (try image("first:1", [shared]), try image("second:1", [shared, own]))
            let store = fixture.store
            async let late = pull(store, second, contents)
            async let early = pull(store, first, contents)
            // never a thread of the pool that only waits: the pulls need them
            while contents.state.update({ $0.asked.count }) < 2 { try await Task.sleep(for: .milliseconds(5)) }
            // Both wait for the shared one by now, or find it soon.
            try await Task.sleep(for: .milliseconds(50))
            contents.state.update { _ = $0.held.remove(shared.0.digest) }
            _ = try await early
            _ = try await fixture.store.remove("first:1", force: true, prune: true, caller: fixture.caller) { _ in false }
            contents.release()
            let image = try await late
            #expect(image.tags.map(\.familiar) == ["second:1"])
            let saved = try await fixture.save("second:1")
            #expect(!saved.isEmpty)
            try await expectSound(fixture)
        }
    }

    @Test func aTarThatCameWholeStaysUntilItsImageIsRecorded() async throws {
        let fixture = try ImageStoreFixture()
        let contents = Contents()
        let layer = try plain(contents, [("etc/hello", "world")])
        let own = try plain(contents, [("etc/own", "late")])
        contents.hold(own.0.digest)
        let wanted = try image("a:1", [layer, own])
        let store = fixture.store
        async let pulled = pull(store, wanted, contents)
        let partial = fixture.scratch.path + "/data/blobs/partial/sha256-" + layer.0.digest.hex
        for _ in 0..<3000 where (try? readFile(partial).count) != Int(layer.0.size) {
            try await Task.sleep(for: .milliseconds(10))
        }
        try await Task.sleep(for: .milliseconds(50))
        #expect(try readFile(partial).count == Int(layer.0.size))
        contents.release()
        _ = try await pulled
        #expect(!Files.exists(partial))
        try await expectSound(fixture)
    }

    @Test func wrongBytesAreAskedOfSomebodyElseAsLongAsThereIsOne() async throws {
        let fixture = try ImageStoreFixture()
        let contents = Contents()
        let layer = try plain(contents, [("etc/hello", "world")])
        contents.state.update { $0.liars = 3 }
        _ = try await pull(fixture.store, try image("a:1", [layer]), contents)
        #expect(contents.asked(layer.0.digest) == 4)
        try await expectSound(fixture)
        // Nobody else: once more, and no more.
        let other = try plain(contents, [("etc/hello", "again")])
        contents.state.update { state in state.bytes[other.0.digest]?[600] ^= 1 }
        await #expect(throws: Fault.self) { _ = try await pull(fixture.store, try image("b:1", [other]), contents) }
        #expect(contents.asked(other.0.digest) == 2)
        try await expectSound(fixture)
    }
}
