import Archive
import Images
import JSON
import Linux
import Model
import TestSupport
import Testing

@Suite struct ImageLayersTests {
    /// A docker archive of layers that are folders `l0`, `l1` … of the scratch, with OCI whiteouts.
    private func archive(_ fixture: ImageRootFixture, layers: Int) throws {
        var paths: [String] = []
        var config = ImageConfig()
        config.os = "linux"
        config.architecture = ImagePlatform.host.architecture
        try fixture.shell("mkdir -p a")
        for index in 0..<layers {
            let digest = try fixture.shell(
                "tar --format=pax --sort=name -C l\(index) -cf a/l\(index).tar . && sha256sum a/l\(index).tar | cut -d' ' -f1"
            ).dropLast()
            config.diffIDs.append(try #require(Digest("sha256:" + digest)))
            paths.append("l\(index).tar")
        }
        _ = try fixture.scratch.file("a/config.json", config.jsonText)
        let image = DockerArchiveImage(config: "config.json", repoTags: ["layers:1"], layers: paths)
        _ = try fixture.scratch.file("a/manifest.json", [image].jsonText)
        try fixture.shell("tar -C a -cf a.tar .")
    }

    @Test func layersStackAsTheSpecificationSays() async throws {
        let fixture = try ImageRootFixture("stack")
        try fixture.shell(
            """
            mkdir -p l0/d/sub l0/opq l1/d l1/opq l2/d l2/re && echo 0 >l0/d/a && echo 0 >l0/d/sub/x && echo 0 >l0/opq/old && echo 0 >l0/gone &&
            mkdir l0/re && echo 0 >l0/re/old && echo keep >l0/kept
            touch l1/.wh.gone l1/opq/.wh..wh..opq l1/d/.wh.sub l1/.wh.re && echo 1 >l1/opq/new && echo 1 >l1/d/b
            echo 2 >l2/re/new && echo 2 >l2/d/a && echo 2 >l2/gone
            """)
        try archive(fixture, layers: 3)
        let image = try #require(try await fixture.load("a.tar").first)
        try fixture.mount(image.layers, at: "m")
        let seen = try fixture.shell("cd m && find . -type f | LC_ALL=C sort | while read -r f; do echo \"$f=$(cat $f)\"; done")
        #expect(seen == "./d/a=2\n./d/b=1\n./gone=2\n./kept=keep\n./opq/new=1\n./re/new=2\n")
    }

    @Test func hardLinksAcrossLayersAreCopiedUp() async throws {
        let fixture = try ImageRootFixture("hardlinks")
        try fixture.shell(
            """
            mkdir -p l0/bin l1/bin && echo tool >l0/bin/a && chown 12:34 l0/bin/a && chmod 4755 l0/bin/a && ln l0/bin/a l1/bin/a && ln l1/bin/a l1/bin/b
            """)
        try archive(fixture, layers: 2)
        // The second layer has the link alone.
        try fixture.shell("cd l1 && tar --format=pax -cf ../a/l1.tar bin/a bin/b && tar --delete -f ../a/l1.tar bin/a")
        let digest = try fixture.shell("sha256sum a/l1.tar | cut -d' ' -f1").dropLast()
        try fixture.shell("sed -i 's/,\"sha256:[0-9a-f]*\"\\]/,\"sha256:\(digest)\"]/' a/config.json && tar -C a -cf a.tar .")
        let image = try #require(try await fixture.load("a.tar").first)
        try fixture.mount(image.layers, at: "m")
        #expect(
            try fixture.shell("stat -c '%n %a %u:%g %h' m/bin/a m/bin/b; cat m/bin/b")
                == "m/bin/a 4755 12:34 2\nm/bin/b 4755 12:34 2\ntool\n")
        try await fixture.save("layers:1", to: "saved.tar")
        #expect(try fixture.shell("tar -xOf saved.tar blobs/sha256/\(digest) | sha256sum | cut -d' ' -f1").dropLast() == digest)
    }

    /// `a.tar`: layers of two small files each, and whiteouts in some.
    private func manyLayers(_ count: Int, _ fixture: ImageRootFixture) throws {
        let archive = TarWriter(
            DescriptorSink(try Descriptor.open(fixture.scratch.path + "/a.tar", [.write, .create, .truncate])))
        var config = ImageConfig()
        config.os = "linux"
        config.architecture = ImagePlatform.host.architecture
        for index in 0..<count {
            let layer = MemorySink(limit: 1 << 16)
            let writer = TarWriter(layer)
            try writer.file("f\(index % 700)", Array("\(index)\n".utf8))
            try writer.file("d/last", Array("\(index)\n".utf8))
            if index == 100 { try writer.file(".wh.f99", []) }
            try writer.finish()
            config.diffIDs.append(try ContentHash.digest(of: layer.bytes))
            try archive.file("l\(index).tar", layer.bytes)
        }
        try archive.file("config.json", config.json)
        let image = DockerArchiveImage(
            config: "config.json", repoTags: ["layers:1"], layers: (0..<count).map { "l\($0).tar" })
        try archive.file("manifest.json", [image].json)
        try archive.finish()
    }

    @Test func anImageOfAThousandLayersIsMergedToWhatTheKernelStacks() async throws {
        let fixture = try ImageRootFixture("thousand")
        try manyLayers(1000, fixture)
        let image = try #require(try await fixture.load("a.tar").first)
        #expect(image.layers.count == 500)
        #expect(image.config.diffIDs.count == 1000)
        // The lowest stands for 501 layers
        let lowest = try #require(image.layers.last)
        #expect(
            try fixture.shell("cat \(lowest)/d/last \(lowest)/f0 \(lowest)/f500; ls \(lowest) | wc -l; test ! -e \(lowest)/f99")
                == "500\n0\n500\n501\n")
        _ = try await fixture.store.remove("layers:1", force: false, prune: true, caller: .engine) { _ in false }
        try await fixture.store.settle()
        let rest = "find data/layers data/blobs data/tmp -mindepth 1 | grep -vE '/(sha[0-9]*|partial|records)$' || true"
        #expect(try fixture.shell(rest) == "")
    }

    @Test func aContainersChangesBecomeALayerThatMakesTheSameTree() async throws {
        let fixture = try ImageRootFixture("commit")
        try fixture.shell(
            """
            mkdir -p t/etc t/usr/lib t/var/old t/swap && echo a >t/etc/a && echo b >t/etc/b && echo lib >t/usr/lib/x && echo o >t/var/old/o && echo s >t/swap/s &&
            tar -C t -cf t.tar .
            """)
        let base = try await fixture.importTar("t.tar", as: "base")
        try fixture.mount(base.layers, at: "c", writable: true)
        try fixture.shell(
            """
            cd c && rm etc/a && echo B >>etc/b && rm -r var/old && mkdir var/old && echo n >var/old/n && rm -r swap && ln -s etc swap &&
            mkdir -p new/deep && echo x >new/deep/f && ln new/deep/f new/h && chmod 4700 new/deep/f && chown 9:9 usr/lib/x && mknod new/dev c 5 1 &&
            setfattr -n user.k -v v new/deep && mkfifo new/p && mv usr/lib/x usr/lib/y && touch -d @1000000000.5 new/deep
            """)
        var request = CommitRequest(
            base: base.id, upper: try Descriptor.open(fixture.scratch.path + "/c.upper", [.read, .directory]).release(),
            settings: base.config.settings)
        defer { _ = Descriptor(owning: request.upper) }
        request.reference = try Reference("committed")
        request.author = "me"
        request.message = "why"
        request.createdBy = "sh"
        request.changes = ["CMD [\"x\"]"]
        let image = try await fixture.store.commit(request, caller: .engine)
        #expect(image.parent == base.id)
        #expect(image.layers.count == 2)
        #expect(image.config.settings.cmd == ["x"])
        #expect(image.config.author == "me")
        #expect(image.config.history.map(\.comment) == ["Imported from -", "why"])
        try fixture.mount(image.layers, at: "m")
        let found = difference(try fixture.census(fixture.scratch.path + "/c"), try fixture.census(fixture.scratch.path + "/m"))
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
        let child = await #expect(throws: Fault.self) {
            try await fixture.store.remove(base.id.hex, force: true, prune: true, caller: .engine) { _ in false }
        }
        #expect(
            child?.message
                == "conflict: unable to delete \(base.id.short) (cannot be forced) - image has dependent child images")
    }

    // Trees and archives that other tools make and take
    @Test(.enabled(if: isInstalled("skopeo") && isInstalled("umoci"), "needs skopeo and umoci (apt-get install skopeo umoci)"))
    func skopeoAndUmociSeeTheSameImage() async throws {
        let fixture = try ImageRootFixture("umoci")
        try fixture.shell(
            """
            mkdir -p t/etc t/bin l0 && echo a >t/etc/a && ln t/etc/a t/etc/h && chmod 4755 t/etc/a && ln -s etc/a t/s && mknod t/null c 1 3 && tar -C t -cf t.tar .
            """)
        let image = try await fixture.importTar("t.tar", as: "app:1")
        try await fixture.save("app:1", to: "saved.tar")
        // skopeo wants a policy; any will do for a local copy
        try fixture.shell("skopeo --insecure-policy copy -q docker-archive:saved.tar oci:layout:one")
        try fixture.shell("umoci unpack --image layout:one bundle >/dev/null")
        let found = difference(
            try fixture.census(image.layers[0]), try fixture.census(fixture.scratch.path + "/bundle/rootfs"))
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
        // umoci adds a layer of its own; the layout has gzip layers and comes back as a tar
        try fixture.shell(
            "rm bundle/rootfs/etc/a && echo new >bundle/rootfs/etc/new && umoci repack --image layout:two bundle >/dev/null && tar -C layout -cf layout.tar ."
        )
        let loaded = try await fixture.load("layout.tar")
        let repacked = try #require(loaded.first { $0.layers.count == 2 })
        try fixture.mount(repacked.layers, at: "m")
        #expect(try fixture.shell("ls m/etc") == "h\nnew\n")
        try fixture.shell("mkdir again")
        try await fixture.save(repacked.id.hex, to: "again/again.tar")
        try fixture.shell("skopeo --insecure-policy copy -q docker-archive:again/again.tar oci:layout2:x")
    }
}
