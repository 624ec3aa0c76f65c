import Archive
import Images
import JSON
import Linux
import Model
import TestSupport
import Testing

@Suite struct ImageLoadTests {
    private func load(_ fixture: ImageStoreFixture, _ bytes: [UInt8]) async throws -> [ImageRecord] {
        try await fixture.store.load(MemorySource(bytes), caller: fixture.caller)
    }

    @Test func aDockerArchiveIsLoaded() async throws {
        let fixture = try ImageStoreFixture()
        var archive = ArchiveMaker()
        _ = try archive.layer([("a", "1"), ("b", "2")])
        _ = try archive.layer([(".wh.a", ""), ("c", "3")])
        let config = try archive.config()
        archive.dockerManifest(config, tags: ["app:1", "ghcr.io/o/app:2"])
        let images = try await load(fixture, archive.tar())
        #expect(images.map(\.id) == [config])
        #expect(images.first?.repoTags == ["app:1", "ghcr.io/o/app:2"])
        let layers = try #require(images.first?.layers)
        #expect(layers.count == 2)
        #expect(run(["/bin/ls", layers[0]]).output == "a\nc\n")
        #expect(run(["/bin/ls", layers[1]]).output == "a\nb\n")
        #expect(try fixture.store.history("app:1").count == 2)
    }

    @Test func anOCILayoutIsLoadedAndKeepsItsContents() async throws {
        let fixture = try ImageStoreFixture()
        var archive = ArchiveMaker()
        _ = try archive.layer([("a", "1")])
        let config = try archive.config()
        try archive.ociManifest(config, name: "app:1")
        let images = try await load(fixture, archive.tar())
        #expect(images.first?.id == config)
        #expect(images.first?.repoTags == ["app:1"])
        let saved = try await fixture.save("app:1")
        let names = Set(try entryNames(saved))
        for file in archive.files where file.path.hasPrefix("blobs/") { #expect(names.contains(file.path)) }
    }

    @Test func whatIsSavedLoadsTheSameElsewhere() async throws {
        let first = try ImageStoreFixture("first")
        let image = try await first.importImage("app:1", [("a", "1"), ("d/b", String(repeating: "2", count: 5000))])
        try await first.importImage("other:2", [("x", "y")])
        let saved = try await first.save("app:1", "other:2", image.id.short)
        let second = try ImageStoreFixture("second")
        let loaded = try await load(second, saved)
        #expect(Set(loaded.flatMap(\.repoTags)) == ["app:1", "other:2"])
        #expect(loaded.contains { $0.id == image.id })
        #expect(try await second.save("app:1") == first.save("app:1"))
        // Once more: everything is there already
        #expect(try await load(second, saved).map(\.id) == loaded.map(\.id))
    }

    @Test func compressedArchivesAndLayersAreLoaded() async throws {
        let fixture = try ImageStoreFixture()
        var archive = ArchiveMaker()
        let diffID = try archive.layer([("a", String(repeating: "1", count: 3000))])
        let config = try archive.config()
        archive.dockerManifest(config, tags: ["gz:1"])
        let path = fixture.scratch.path
        let sink = DescriptorSink(try Descriptor.open(path + "/i.tar", [.write, .create]))
        try archive.tar().withUnsafeBytes { try sink.write($0) }
        #expect(
            run([
                "/bin/sh", "-c",
                "cd \(path) && gzip -nk i.tar && mkdir x && cd x && tar xf ../i.tar && gzip -n blobs/sha256/\(diffID.hex) && mv blobs/sha256/\(diffID.hex).gz blobs/sha256/l && sed -i 's#blobs/sha256/\(diffID.hex)#blobs/sha256/l#' manifest.json && tar -cf ../l.tar .",
            ]).status == 0)
        for name in ["i.tar.gz", "l.tar"] {
            let images = try await fixture.store.load(
                DescriptorSource(try Descriptor.open(path + "/" + name, [.read])), caller: fixture.caller)
            #expect(images.map(\.id) == [config])
        }
    }

    @Test func hostileAndBrokenArchivesAreRefusedWithOneLineAndLeaveNothing() async throws {
        let fixture = try ImageStoreFixture()
        let zero = try #require(Digest("sha256:" + String(repeating: "0", count: 64)))
        func expect(_ message: String, _ make: (inout ArchiveMaker) throws -> Void) async throws {
            var archive = ArchiveMaker()
            try make(&archive)
            let fault = await #expect(throws: Fault.self) { try await load(fixture, archive.tar()) }
            #expect(fault?.message.contains(message) == true, "\(fault?.message ?? "")")
            #expect(fault?.message.contains("\n") == false)
            #expect(try await fixture.files().isEmpty)
        }
        try await expect("it has neither manifest.json (docker save) nor index.json (OCI layout)") {
            $0.add("etc/passwd", [1, 2])
        }
        try await expect("its content does not match its digest") { archive in
            archive.add("blobs/sha256/" + zero.hex, try ImageStoreFixture.tar([("a", "1")]))
        }
        try await expect("its content does not match its digest") { $0.add("blobs/sha256/" + zero.hex, Array("{}".utf8)) }
        try await expect("its content does not match its digest") { $0.add("blobs/sha256/" + zero.hex, Array("other".utf8)) }
        try await expect("invalid diffID for layer 0: expected \"\(zero)\"") { archive in
            _ = try archive.layer([("a", "1")])
            archive.dockerManifest(try archive.config(diffIDs: [zero]), tags: [])
        }
        try await expect("layers length mismatch: expected 2, got 1") { archive in
            let layer = try archive.layer([("a", "1")])
            archive.dockerManifest(try archive.config(diffIDs: [layer, layer]), tags: [])
        }
        try await expect("names the layer \"../../etc/shadow\", which the archive does not have") { archive in
            archive.layers = [("../../etc/shadow", zero, 1)]
            archive.dockerManifest(try archive.config(), tags: [])
        }
        try await expect("names the configuration") { archive in
            _ = try archive.layer([("a", "1")])
            archive.dockerManifest(zero, tags: [])
        }
        try await expect("invalid tag \"../x\"") { archive in
            _ = try archive.layer([("a", "1")])
            archive.dockerManifest(try archive.config(), tags: ["../x"])
        }
        try await expect("it leads out of the archive's root") { archive in
            _ = try archive.layer([("../../escape", "1")])
            archive.dockerManifest(try archive.config(), tags: [])
        }
        try await expect("manifest.json: [0].Layers: expected an array") {
            $0.add("manifest.json", Array(#"[{"Layers":7}]"#.utf8))
        }
        try await expect("manifest.json names no image") { $0.add("manifest.json", Array("[]".utf8)) }
        try await expect("cannot load windows image on linux") { archive in
            _ = try archive.layer([("a", "1")])
            archive.dockerManifest(try archive.config(os: "windows"), tags: [])
        }
        try await expect("a JSON document of") {
            $0.add("big.json", Array("{".utf8) + [UInt8](repeating: 0x20, count: 9 << 20))
        }
        try await expect("does not have the layer") { archive in
            archive.layers = [("x", zero, 1)]
            try archive.ociManifest(try archive.config(), name: nil)
        }
        try await expect("leads out of the archive") { $0.add("../manifest.json", Array("[]".utf8)) }
        try await expect("which is neither in its layer nor below") { archive in
            let sink = MemorySink(limit: 1 << 20)
            let writer = TarWriter(sink)
            var link = TarEntry(path: Array("h".utf8), kind: .hardLink, mode: 0o644)
            link.linkTarget = Array("none".utf8)
            try writer.begin(link)
            try writer.finish()
            let digest = try ContentHash.digest(of: sink.bytes)
            archive.add("l", sink.bytes)
            archive.layers.append(("l", digest, sink.bytes.count))
            archive.dockerManifest(try archive.config(), tags: [])
        }
    }

    @Test func aTruncatedArchiveIsRefusedAtEveryPlace() async throws {
        let fixture = try ImageStoreFixture()
        var archive = ArchiveMaker()
        _ = try archive.layer([("a", "1")])
        archive.dockerManifest(try archive.config(), tags: ["t"])
        let bytes = try archive.tar()
        for length in stride(from: 100, to: bytes.count - 1024, by: 333) {
            await #expect(throws: Fault.self) { try await load(fixture, Array(bytes[..<length])) }
        }
        #expect(try await fixture.files().isEmpty)
    }

    private func entryNames(_ bytes: [UInt8]) throws -> [String] {
        let reader = TarReader(MemorySource(bytes))
        var names: [String] = []
        while let entry = try reader.next() { names.append(String(decoding: entry.path, as: UTF8.self)) }
        return names
    }

    /// An index with an image for this machine and one for another: either can be chosen, a third is refused by name.
    @Test func aPlatformIsChosenFromAnIndex() async throws {
        let fixture = try ImageStoreFixture()
        var maker = ArchiveMaker()
        var index = ImageIndex(manifests: [])
        for (architecture, text) in [(ImagePlatform.host.architecture, "mine"), ("s390x", "other")] {
            maker.layers = []
            _ = try maker.layer([("etc/which", text)])
            var config = ImageConfig()
            (config.os, config.architecture, config.diffIDs) = ("linux", architecture, maker.layers.map(\.digest))
            let id = try ContentHash.digest(of: config.json)
            maker.add("blobs/sha256/" + id.hex, config.json)
            let layers = maker.layers.map {
                ContentDescriptor(mediaType: MediaType.ociLayer, digest: $0.digest, size: Int64($0.size))
            }
            let manifest = ImageManifest(
                config: ContentDescriptor(mediaType: MediaType.ociConfig, digest: id, size: Int64(config.json.count)),
                layers: layers)
            let digest = try ContentHash.digest(of: manifest.json)
            maker.add("blobs/sha256/" + digest.hex, manifest.json)
            var entry = ContentDescriptor(
                mediaType: MediaType.ociManifest, digest: digest, size: Int64(manifest.json.count))
            entry.platform = ImagePlatform(architecture: architecture, os: "linux")
            index.manifests.append(entry)
        }
        let digest = try ContentHash.digest(of: index.json)
        maker.add("blobs/sha256/" + digest.hex, index.json)
        var top = ContentDescriptor(mediaType: MediaType.ociIndex, digest: digest, size: Int64(index.json.count))
        top.annotations["org.opencontainers.image.ref.name"] = "app:1"
        maker.add("oci-layout", Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))
        maker.add("index.json", ImageIndex(manifests: [top]).json)
        let tar = try maker.tar()
        let usual = try await fixture.store.load(MemorySource(tar), caller: fixture.caller)
        #expect(usual.map(\.config.architecture) == [ImagePlatform.host.architecture])
        let other = try await fixture.store.load(
            MemorySource(tar), platform: ImagePlatform(architecture: "s390x", os: "linux"), caller: fixture.caller)
        #expect(other.map(\.config.architecture) == ["s390x"])
        do {
            _ = try await fixture.store.load(
                MemorySource(tar), platform: ImagePlatform(architecture: "ppc64le", os: "linux"), caller: fixture.caller)
            Issue.record("an image for ppc64le was found")
        } catch let fault as Fault { #expect(fault.message.contains("no image for linux/ppc64le"), "\(fault)") }
    }
}
