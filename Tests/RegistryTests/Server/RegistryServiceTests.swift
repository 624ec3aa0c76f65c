import HTTP
import JSON
import Linux
import Model
import Registry
import Testing

/// The distribution specification, case by case (distribution-spec 1.1, spec.md; its conformance suite's groups).
@Suite struct RegistryServiceTests {
    private static let absent = "sha256:" + String(repeating: "0", count: 64)

    // MARK: Blobs

    @Test func aBlobThatIsPushedAtOnceIsThere() throws {
        let fixture = try ServiceFixture()
        let digest = try fixture.push("a/b", blob: [1, 2, 3])
        let answer = fixture.ask("GET", "/v2/a/b/blobs/\(digest)")
        #expect(answer.status == 200)
        #expect(answer.bytes == [1, 2, 3])
        #expect(answer["Docker-Content-Digest"] == "\(digest)")
        #expect(answer["ETag"] == "\"\(digest)\"")
        let head = fixture.ask("HEAD", "/v2/a/b/blobs/\(digest)")
        #expect(head.status == 200 && head.count == 3)
        #expect(fixture.ask("GET", "/v2/a/c/blobs/\(digest)").code == "BLOB_UNKNOWN")
        #expect(fixture.ask("GET", "/v2/a/b/blobs/\(digest)", ["If-None-Match": "\"\(digest)\""]).status == 304)
    }

    @Test func anEmptyBlobAndOneOfSHA512() throws {
        let fixture = try ServiceFixture()
        try fixture.push("a", blob: [])
        let digest = try ServiceFixture.digest([5], .sha512)
        #expect(fixture.ask("POST", "/v2/a/blobs/uploads/?digest=\(digest)", body: [5]).status == 201)
        #expect(fixture.ask("GET", "/v2/a/blobs/\(digest)").bytes == [5])
    }

    @Test func aBlobInPieces() throws {
        let fixture = try ServiceFixture()
        let begun = fixture.ask("POST", "/v2/a/blobs/uploads/")
        #expect(begun.status == 202)
        let place = try #require(begun["Location"])
        let first = fixture.ask("PATCH", place, ["Content-Range": "0-2"], body: [1, 2, 3])
        #expect(first.status == 202 && first["Range"] == "0-2")
        let status = fixture.ask("GET", place)
        #expect(status.status == 204 && status["Range"] == "0-2")
        let gap = fixture.ask("PATCH", place, ["Content-Range": "5-6"], body: [9, 9])
        #expect(gap.status == 416 && gap["Range"] == "0-2" && gap["Location"] == place)
        #expect(fixture.ask("PATCH", place, ["Content-Range": "0-2"], body: [1, 2, 3]).status == 416)
        #expect(fixture.ask("PATCH", place, ["Content-Range": "3-9"], body: [4]).status == 400)
        #expect(fixture.ask("PATCH", place, ["Content-Range": "3-3"], body: [4], chunked: true).status == 202)
        let digest = try ServiceFixture.digest([1, 2, 3, 4, 5])
        let done = fixture.ask("PUT", "\(place)?digest=\(digest)", ["Content-Range": "4-4"], body: [5])
        #expect(done.status == 201 && done["Location"] == "/v2/a/blobs/\(digest)")
        #expect(fixture.ask("GET", "/v2/a/blobs/\(digest)").bytes == [1, 2, 3, 4, 5])
        #expect(fixture.ask("GET", place).code == "BLOB_UPLOAD_UNKNOWN")
        #expect(fixture.files() == ["blobs/sha256/\(digest.hex.prefix(2))/\(digest.hex)"])
    }

    @Test func aWrongDigestIsRefusedAndLeavesNothing() throws {
        let fixture = try ServiceFixture()
        #expect(fixture.ask("POST", "/v2/a/blobs/uploads/?digest=\(Self.absent)", body: [1]).code == "DIGEST_INVALID")
        let place = try #require(fixture.ask("POST", "/v2/a/blobs/uploads/")["Location"])
        #expect(fixture.ask("PUT", "\(place)?digest=\(Self.absent)", body: [1]).code == "DIGEST_INVALID")
        #expect(fixture.ask("PUT", place, body: [1]).status == 404)
        #expect(fixture.ask("POST", "/v2/a/blobs/uploads/?digest=sha256:xyz", body: [1]).code == "DIGEST_INVALID")
        #expect(fixture.files().isEmpty)
    }

    @Test func anUploadBelongsToItsRepositoryAndMayBeCancelled() throws {
        let fixture = try ServiceFixture()
        let place = try #require(fixture.ask("POST", "/v2/a/blobs/uploads/")["Location"])
        let id = try #require(place.split(separator: "/").last)
        #expect(fixture.ask("PATCH", "/v2/b/blobs/uploads/\(id)", body: [1]).code == "BLOB_UPLOAD_UNKNOWN")
        #expect(fixture.ask("DELETE", place).status == 204)
        #expect(fixture.ask("PATCH", place, body: [1]).code == "BLOB_UPLOAD_UNKNOWN")
        #expect(fixture.files().isEmpty)
    }

    @Test func mountsNeedTheOtherRepositoryToHaveTheBlob() throws {
        let fixture = try ServiceFixture()
        let digest = try fixture.push("a", blob: [7])
        let mounted = fixture.ask("POST", "/v2/b/blobs/uploads/?mount=\(digest)&from=a")
        #expect(mounted.status == 201 && mounted["Location"] == "/v2/b/blobs/\(digest)")
        #expect(fixture.ask("GET", "/v2/b/blobs/\(digest)").bytes == [7])
        #expect(fixture.ask("POST", "/v2/c/blobs/uploads/?mount=\(digest)&from=x").status == 202)
        #expect(fixture.ask("POST", "/v2/c/blobs/uploads/?mount=\(digest)").status == 202)
        #expect(fixture.ask("GET", "/v2/c/blobs/\(digest)").status == 404)
    }

    @Test func partsOfABlob() throws {
        let fixture = try ServiceFixture()
        let digest = try fixture.push("a", blob: Array(0..<10))
        let part = fixture.ask("GET", "/v2/a/blobs/\(digest)", ["Range": "bytes=2-4"])
        #expect(part.status == 206 && part.bytes == [2, 3, 4] && part["Content-Range"] == "bytes 2-4/10")
        let beyond = fixture.ask("GET", "/v2/a/blobs/\(digest)", ["Range": "bytes=10-"])
        #expect(beyond.status == 416 && beyond["Content-Range"] == "bytes */10")
        #expect(fixture.ask("GET", "/v2/a/blobs/\(digest)", ["Range": "bytes=2-4", "If-Range": "\"other\""]).status == 200)
    }

    @Test func blobsThatAreTooLargeAreRefused() throws {
        var limits = RegistryLimits()
        limits.uploadSize = 4
        let fixture = try ServiceFixture(limits: limits)
        let digest = try ServiceFixture.digest([1, 2, 3, 4, 5])
        #expect(fixture.ask("POST", "/v2/a/blobs/uploads/?digest=\(digest)", body: [1, 2, 3, 4, 5]).status == 413)
        #expect(
            fixture.ask("POST", "/v2/a/blobs/uploads/?digest=\(digest)", body: [1, 2, 3, 4, 5], chunked: true).status == 413)
        #expect(fixture.files().isEmpty)
    }

    // MARK: Manifests

    @Test func anImageComesBackAsItWasPushed() throws {
        let fixture = try ServiceFixture()
        let manifest = try fixture.pushImage("a/b", "1")
        let digest = try ServiceFixture.digest(manifest)
        for reference in ["1", "\(digest)"] {
            let answer = fixture.ask("GET", "/v2/a/b/manifests/\(reference)")
            #expect(answer.bytes == manifest)
            #expect(answer["Content-Type"] == MediaType.ociManifest)
            #expect(answer["Docker-Content-Digest"] == "\(digest)")
            #expect(fixture.ask("HEAD", "/v2/a/b/manifests/\(reference)").count == Int64(manifest.count))
        }
        #expect(fixture.ask("GET", "/v2/a/b/manifests/2").code == "MANIFEST_UNKNOWN")
        #expect(fixture.ask("GET", "/v2/a/c/manifests/1").code == "MANIFEST_UNKNOWN")
        #expect(fixture.ask("GET", "/v2/a/b/manifests/\(Self.absent)").code == "MANIFEST_UNKNOWN")
    }

    @Test func whatAManifestNamesMustBeThere() throws {
        let fixture = try ServiceFixture()
        try fixture.push("a", blob: ServiceFixture.emptyConfig)
        let manifest = try ServiceFixture.manifest(layers: [[1]])
        let refused = fixture.put("a", "1", manifest)
        #expect(refused.code == "MANIFEST_BLOB_UNKNOWN")
        // in another repository it is not here
        try fixture.push("b", blob: [1])
        #expect(fixture.put("a", "1", manifest).code == "MANIFEST_BLOB_UNKNOWN")
        try fixture.push("a", blob: [1])
        #expect(fixture.put("a", "1", manifest).status == 201)
        let index = ImageIndex(manifests: [
            ContentDescriptor(mediaType: MediaType.ociManifest, digest: try #require(Digest(Self.absent)), size: 3)
        ]).json
        #expect(fixture.put("a", "2", index, type: MediaType.ociIndex).code == "MANIFEST_BLOB_UNKNOWN")
        let whole = ImageIndex(manifests: [
            ContentDescriptor(
                mediaType: MediaType.ociManifest, digest: try ServiceFixture.digest(manifest), size: Int64(manifest.count))
        ]).json
        #expect(fixture.put("a", "2", whole, type: MediaType.ociIndex).status == 201)
    }

    @Test func foreignLayersMayBeElsewhere() throws {
        let fixture = try ServiceFixture()
        try fixture.push("a", blob: ServiceFixture.emptyConfig)
        var layer = ContentDescriptor(
            mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            digest: try #require(Digest(Self.absent)), size: 9)
        layer.urls = ["https://example.com/layer"]
        let config = ContentDescriptor(
            mediaType: MediaType.ociConfig, digest: try ServiceFixture.digest(ServiceFixture.emptyConfig), size: 2)
        #expect(fixture.put("a", "1", ImageManifest(config: config, layers: [layer]).json).status == 201)
        layer.urls = []
        #expect(fixture.put("a", "2", ImageManifest(config: config, layers: [layer]).json).code == "MANIFEST_BLOB_UNKNOWN")
    }

    @Test func malformedManifestsAreRefused() throws {
        let fixture = try ServiceFixture()
        try fixture.push("a", blob: ServiceFixture.emptyConfig)
        let good = try ServiceFixture.manifest(layers: [])
        #expect(fixture.put("a", "1", Array("{".utf8)).code == "MANIFEST_INVALID")
        #expect(fixture.put("a", "1", Array("{\"schemaVersion\":1,\"fsLayers\":[]}".utf8)).code == "MANIFEST_INVALID")
        #expect(fixture.put("a", "1", good, type: "application/json").code == "MANIFEST_INVALID")
        #expect(fixture.put("a", "1", good, type: MediaType.ociIndex).code == "MANIFEST_INVALID")
        #expect(fixture.put("a", Self.absent, good).code == "DIGEST_INVALID")
        #expect(fixture.put("a", "..", good).code == "TAG_INVALID")
        #expect(fixture.put("a", "1", [UInt8](repeating: 0x20, count: (4 << 20) + 1)).status == 413)
        #expect(fixture.ask("GET", "/v2/a/manifests/1").status == 404)
    }

    // MARK: Deleting

    @Test func whatIsDeletedIsGoneAtOnce() throws {
        let fixture = try ServiceFixture()
        let manifest = try fixture.pushImage("a", "1")
        let digest = try ServiceFixture.digest(manifest)
        #expect(fixture.put("a", "2", manifest).status == 201)
        #expect(fixture.ask("DELETE", "/v2/a/manifests/1").status == 202)
        #expect(fixture.ask("GET", "/v2/a/manifests/1").status == 404)
        #expect(fixture.ask("GET", "/v2/a/manifests/2").status == 200)
        #expect(fixture.ask("DELETE", "/v2/a/manifests/\(digest)").status == 202)
        #expect(fixture.ask("GET", "/v2/a/manifests/2").status == 404)
        #expect(fixture.ask("DELETE", "/v2/a/manifests/\(digest)").code == "MANIFEST_UNKNOWN")
        let blob = try ServiceFixture.digest([1, 2, 3])
        #expect(fixture.ask("DELETE", "/v2/a/blobs/\(blob)").status == 202)
        #expect(fixture.ask("GET", "/v2/a/blobs/\(blob)").status == 404)
        #expect(fixture.ask("HEAD", "/v2/a/blobs/\(blob)").status == 404)
        #expect(fixture.ask("DELETE", "/v2/a/blobs/\(blob)").status == 404)
        #expect(fixture.ask("POST", "/v2/b/blobs/uploads/?mount=\(blob)&from=a").status == 202)
        #expect(fixture.ask("GET", "/v2/a/tags/list").names.isEmpty)
    }

    @Test func withoutPermissionNothingIsWritten() throws {
        var policy = RegistryPolicy()
        let fixture = try ServiceFixture(policy: policy)
        try fixture.pushImage("a", "1")
        let refused = fixture.ask("DELETE", "/v2/a/manifests/1")
        #expect(refused.status == 405 && refused.code == "UNSUPPORTED")
        policy.isReadOnly = true
        policy.allowsDelete = true
        let closed = try ServiceFixture("closed", policy: policy)
        #expect(closed.ask("POST", "/v2/a/blobs/uploads/").status == 405)
        #expect(closed.put("a", "1", []).status == 405)
        #expect(closed.ask("DELETE", "/v2/a/manifests/1").status == 405)
    }

    // MARK: Lists

    @Test func tagsComeInPages() throws {
        let fixture = try ServiceFixture()
        let manifest = try fixture.pushImage("a", "b")
        for tag in ["c", "A", "1.0", "d"] { #expect(fixture.put("a", tag, manifest).status == 201) }
        #expect(fixture.ask("GET", "/v2/a/tags/list").names == ["1.0", "A", "b", "c", "d"])
        let page = fixture.ask("GET", "/v2/a/tags/list?n=2")
        #expect(page.names == ["1.0", "A"] && page["Link"] == "</v2/a/tags/list?n=2&last=A>; rel=\"next\"")
        let last = fixture.ask("GET", "/v2/a/tags/list?n=3&last=A")
        #expect(last.names == ["b", "c", "d"] && last["Link"] == nil)
        #expect(fixture.ask("GET", "/v2/a/tags/list?n=0").names.isEmpty)
        #expect(fixture.ask("GET", "/v2/a/tags/list?n=-1").code == "PAGINATION_NUMBER_INVALID")
        #expect(fixture.ask("GET", "/v2/x/tags/list").code == "NAME_UNKNOWN")
    }

    @Test func theCatalogComesInBoundedPages() throws {
        var limits = RegistryLimits()
        limits.page = 2
        let fixture = try ServiceFixture(limits: limits)
        for name in ["c", "a/x", "b"] { try fixture.pushImage(name, "1") }
        let page = fixture.ask("GET", "/v2/_catalog?n=1000000")
        #expect(page.names == ["a/x", "b"] && page["Link"] == "</v2/_catalog?n=2&last=b>; rel=\"next\"")
        #expect(fixture.ask("GET", "/v2/_catalog?n=2&last=b").names == ["c"])
        let found = fixture.ask("GET", "/v1/search?q=a&n=25")
        #expect(found.json["num_results"]?.int == 1)
        #expect(found.json["results"]?[0]?["name"]?.string == "a/x")
    }

    @Test func referrersAreListedAndFiltered() throws {
        let fixture = try ServiceFixture()
        let subject = try ServiceFixture.digest(try fixture.pushImage("a", "1"))
        let target = "/v2/a/referrers/\(subject)"
        #expect(fixture.ask("GET", target).json["manifests"]?.array?.isEmpty == true)
        for (type, tag) in [("application/x", "x"), ("application/y", "y")] {
            let manifest = try ServiceFixture.manifest(
                layers: [], subject: subject, artifactType: type, annotations: ["for": tag])
            let answer = fixture.put("a", "\(try ServiceFixture.digest(manifest))", manifest)
            #expect(answer.status == 201 && answer["OCI-Subject"] == "\(subject)")
        }
        let all = fixture.ask("GET", target)
        #expect(all["Content-Type"] == MediaType.ociIndex)
        #expect(all.json["manifests"]?.array?.count == 2 && all["OCI-Filters-Applied"] == nil)
        let some = fixture.ask("GET", "\(target)?artifactType=application%2Fy")
        #expect(some["OCI-Filters-Applied"] == "artifactType")
        #expect(some.json["manifests"]?.array?.count == 1)
        #expect(some.json["manifests"]?[0]?["artifactType"]?.string == "application/y")
        #expect(some.json["manifests"]?[0]?["annotations"]?["for"]?.string == "y")
        let page = fixture.ask("GET", "\(target)?n=1")
        let link = try #require(page["Link"])
        let next = link.dropFirst().prefix { $0 != ">" }
        #expect(fixture.ask("GET", String(next)).json["manifests"]?.array?.count == 1)
        #expect(fixture.ask("GET", "/v2/a/referrers/latest").status == 400)
        #expect(fixture.ask("GET", "/v2/nowhere/referrers/\(subject)").json["manifests"]?.array?.isEmpty == true)
    }

    @Test func otherMethodsAreNamed() throws {
        let fixture = try ServiceFixture()
        #expect(fixture.ask("POST", "/v2/")["Allow"] == "GET, HEAD")
        #expect(fixture.ask("PATCH", "/v2/a/manifests/1").status == 405)
        #expect(fixture.ask("GET", "/v2/a/blobs/uploads/").status == 405)
        #expect(fixture.ask("GET", "/v2/a/../manifests/1").status == 400)
        #expect(fixture.ask("GET", "/elsewhere").status == 404)
    }
}
