import HTTP
import Linux
import Model
import Registry
import TestSupport
import Testing

/// What the store keeps, and when it goes.
@Suite struct RegistryStoreTests {
    private static func impatient() -> RegistryLimits {
        var limits = RegistryLimits()
        limits.grace = Timestamp(nanoseconds: 0)
        limits.uploadRest = Timestamp(nanoseconds: 0)
        return limits
    }

    @Test func aSecondServerRefusesAndNamesTheFirst() throws {
        let fixture = try ServiceFixture()
        // fcntl(2) locks are a process's: the second server must be another one
        let child = run([binaries + "/skiffd", "registry", "serve", "--listen", "127.0.0.1:0", "--root", fixture.store.root])
        #expect(child.status == 1)
        let holder = run(["/bin/cat", fixture.store.root + "/registry.lock"]).output
        #expect(child.error.contains("process \(holder.prefix { !$0.isNewline })"))
    }

    @Test func whatNoManifestNamesGoesAfterItsGrace() throws {
        let fixture = try ServiceFixture(limits: Self.impatient())
        let manifest = try fixture.pushImage("a", "1", layers: [[1], [2]])
        try fixture.push("a", blob: [3])
        try fixture.push("b", blob: [1])
        _ = fixture.ask("POST", "/v2/a/blobs/uploads/")
        let counts = try fixture.store.collect()
        #expect(counts.blobs == 1 && counts.uploads == 1 && counts.bytes == 1)
        #expect(fixture.files().count == 3)
        #expect(fixture.ask("GET", "/v2/a/blobs/\(try ServiceFixture.digest([1]))").status == 200)
        #expect(fixture.ask("GET", "/v2/b/blobs/\(try ServiceFixture.digest([1]))").status == 404)
        let digest = try ServiceFixture.digest(manifest)
        #expect(fixture.ask("DELETE", "/v2/a/manifests/\(digest)").status == 202)
        #expect(try fixture.store.collect().blobs == 3)
        #expect(fixture.files().isEmpty)
        #expect(fixture.ask("GET", "/v2/_catalog").names.isEmpty)
        #expect(fixture.ask("GET", "/v2/a/tags/list").code == "NAME_UNKNOWN")
    }

    @Test func withinItsGraceItStays() throws {
        let fixture = try ServiceFixture()
        try fixture.push("a", blob: [3])
        _ = fixture.ask("POST", "/v2/a/blobs/uploads/")
        #expect(try fixture.store.collect().isEmpty)
        #expect(fixture.files().count == 2)
    }

    @Test func untaggedManifestsGoWhereTheOwnerWantsIt() throws {
        let fixture = try ServiceFixture(limits: Self.impatient())
        let old = try fixture.pushImage("a", "1", layers: [[1]])
        try fixture.pushImage("a", "1", layers: [[2]])
        let oldDigest = try ServiceFixture.digest(old)
        let referrer = try ServiceFixture.manifest(layers: [], subject: oldDigest)
        #expect(fixture.put("a", "\(try ServiceFixture.digest(referrer))", referrer).status == 201)
        #expect(try fixture.store.collect().manifests == 0)
        let index = ImageIndex(manifests: [
            ContentDescriptor(mediaType: MediaType.ociManifest, digest: oldDigest, size: Int64(old.count))
        ]).json
        #expect(fixture.put("a", "both", index, type: MediaType.ociIndex).status == 201)
        #expect(try fixture.store.collect(deletesUntagged: true).manifests == 0)
        #expect(fixture.ask("DELETE", "/v2/a/manifests/both").status == 202)
        // the index, its manifest, and what refers to that one
        #expect(try fixture.store.collect(deletesUntagged: true).manifests == 3)
        #expect(fixture.ask("GET", "/v2/a/manifests/1").status == 200)
        #expect(fixture.files().count == 2)
    }

    @Test func strangersInTheFolderGoAtTheNextStart() throws {
        let fixture = try ServiceFixture()
        try fixture.pushImage("a", "1")
        let place = try #require(fixture.ask("POST", "/v2/a/blobs/uploads/")["Location"])
        #expect(fixture.ask("PATCH", place, body: [1, 2]).status == 202)
        let before = fixture.files()
        let root = fixture.store.root
        let script = """
            cd '\(root)' && mkdir -p blobs/sha256/ab blobs/md5 && echo x >blobs/sha256/ab/junk && echo x >blobs/md5/x &&
            echo x >blobs/sha256/ab/\(String(repeating: "ab", count: 32)) && echo x >uploads/junk && echo x >trash/y
            """
        #expect(run(["/bin/sh", "-c", script]).status == 0)
        try fixture.store.recover()
        #expect(fixture.files() == before)
        #expect(fixture.ask("GET", place)["Range"] == "0-1")
        #expect(try fixture.store.check(repairs: false).damages.isEmpty)
    }

    @Test func damageIsFoundAndMended() throws {
        let fixture = try ServiceFixture()
        try fixture.pushImage("a", "1", layers: [[1, 1], [2, 2], [3, 3]])
        let bad = try ServiceFixture.digest([1, 1])
        let lost = try ServiceFixture.digest([2, 2])
        _ = try scratchWrite(fixture.store.path(of: bad), "xx")
        #expect(run(["/bin/rm", fixture.store.path(of: lost)]).status == 0)
        let findings = try fixture.store.check(repairs: false)
        #expect(findings.damages.count == 2)
        #expect(findings.damages.contains { $0.contains("\(bad) has another content; used by a") })
        #expect(findings.damages.contains { $0.contains("\(lost) has lost its file") })
        // what is lost is not said to be there, so that a client pushes it again
        #expect(fixture.ask("HEAD", "/v2/a/blobs/\(lost)").status == 404)
        #expect(try fixture.store.check(repairs: true).repaired == 2)
        let rest = try fixture.store.check(repairs: false).damages
        #expect(rest.count == 2 && rest.allSatisfy { $0.contains("push it again") })
        try fixture.push("a", blob: [1, 1])
        try fixture.push("a", blob: [2, 2])
        #expect(try fixture.store.check(repairs: false).damages.isEmpty)
    }

    private func scratchWrite(_ path: String, _ text: String) throws -> Int32 {
        run(["/bin/sh", "-c", "printf '\(text)' >'\(path)'"]).status
    }
}
