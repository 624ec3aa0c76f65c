import HTTP
import Model
import Registry
import Testing

@Suite struct RegistryRouteTests {
    private static let digest = "sha256:" + String(repeating: "a", count: 64)

    @Test(arguments: [
        "a", "a/b", "library/debian", "a.b", "a_b", "a__b", "a-b", "a---b", "0", "a/b/c/d", "blobs/uploads", "manifests/tags",
        String(repeating: "a", count: 255),
    ])
    func namesOfTheGrammarAreTaken(_ name: String) { #expect(RepositoryName(name)?.text == name) }

    @Test(arguments: [
        "", "A", "a/", "/a", "a//b", "a..b", ".a", "a.", "a___b", "a_-b", "-a", "a-", "a b", "a%", "a\\b", "../a", "a/../b",
        "a/.",
        "ä", "a\u{0}", String(repeating: "a", count: 256), "a:b", "a@b",
    ])
    func othersAreNot(_ name: String) { #expect(RepositoryName(name) == nil) }

    @Test func pathsAreReadFromTheirEnd() throws {
        let name = try #require(RepositoryName("blobs/uploads"))
        let blob = try #require(Digest(Self.digest))
        #expect(try RegistryRoute(path: "/v2/") == .base)
        #expect(try RegistryRoute(path: "/v2/_catalog") == .catalog)
        #expect(try RegistryRoute(path: "/v2/blobs/uploads/blobs/uploads/") == .uploads(name))
        #expect(try RegistryRoute(path: "/v2/blobs/uploads/blobs/uploads") == .uploads(name))
        #expect(try RegistryRoute(path: "/v2/blobs/uploads/manifests/latest") == .manifest(name, .tag("latest")))
        #expect(try RegistryRoute(path: "/v2/blobs/uploads/blobs/\(Self.digest)") == .blob(name, blob))
        #expect(try RegistryRoute(path: "/v2/blobs/uploads/blobs/sha256%3A\(blob.hex)") == .blob(name, blob))
        #expect(try RegistryRoute(path: "/v2/blobs/uploads/tags/list") == .tags(name))
        #expect(try RegistryRoute(path: "/v2/blobs/uploads/referrers/\(Self.digest)") == .referrers(name, blob))
        let id = String(repeating: "0f", count: 16)
        #expect(try RegistryRoute(path: "/v2/blobs/uploads/blobs/uploads/\(id)") == .upload(name, id))
    }

    @Test(
        arguments: [
            "/v2/a/../../etc/manifests/x", "/v2/a/manifests/..", "/v2/%2e%2e/manifests/x", "/v2/a%2F..%2Fb/manifests/x",
            "/v2/a/blobs/sha256:../../x", "/v2/a/blobs/uploads/../../../etc/passwd", "/v2/a/blobs/uploads/%2e%2e",
            "/v2/a/manifests/a%00b",
            "/v2//manifests/x", "/v2/a/manifests/", "/v2/manifests/x", "/v2/a/blobs/md5:0", "/v3/", "", "/", "/v2/a/tags/lists",
        ].filter { $0 != "/" })
    func otherPathsAreNobodys(_ path: String) { #expect(throws: (any Error).self) { try RegistryRoute(path: path) } }

    @Test func rangesAreReadAsHTTPSaysThem() {
        #expect(WantedRange(nil, size: 10) == .whole)
        #expect(WantedRange("bytes=0-3", size: 10) == .part(0..<4))
        #expect(WantedRange("bytes=4-", size: 10) == .part(4..<10))
        #expect(WantedRange("bytes=4-99", size: 10) == .part(4..<10))
        #expect(WantedRange("bytes=-3", size: 10) == .part(7..<10))
        #expect(WantedRange("bytes=-30", size: 10) == .part(0..<10))
        #expect(WantedRange("bytes=10-", size: 10) == .unsatisfiable)
        #expect(WantedRange("bytes=-0", size: 10) == .unsatisfiable)
        #expect(WantedRange("bytes=0-", size: 0) == .unsatisfiable)
        for text in ["bytes=3-2", "bytes=a-b", "lines=0-3", "bytes=0-1,3-4", "bytes=", "bytes=-", "bytes=+1-2", "bytes=1--2"] {
            #expect(WantedRange(text, size: 10) == .whole, "\(text)")
        }
        #expect(WantedRange("bytes=0-99999999999999999999", size: 10) == .whole)
    }

    @Test func chunksAreReadInBothSpellings() {
        #expect(ChunkRange("0-3").map { [$0.first, $0.last] } == [0, 3])
        #expect(ChunkRange("bytes 4-9/*").map { [$0.first, $0.last] } == [4, 9])
        #expect(ChunkRange("bytes=4-9/10").map { [$0.first, $0.last] } == [4, 9])
        for text in ["", "-", "3", "3-", "-3", "4-3", "a-b", "bytes", "bytes4-9", "0x0-3", "99999999999999999999-0"] {
            #expect(ChunkRange(text) == nil, "\(text)")
        }
    }

    /// Mutated paths and fields of a registry's requests: whatever comes is read or refused, and what is read is valid.
    @Test func mutationsAreReadOrRefused() {
        var generator = SystemRandomNumberGenerator()
        let seeds = [
            "/v2/library/debian/manifests/latest", "/v2/a/b/blobs/\(Self.digest)", "/v2/a/blobs/uploads/",
            "/v2/a/tags/list?n=3&last=b",
            "/v2/a/referrers/\(Self.digest)?artifactType=x%2Fy", "bytes=0-10", "bytes 0-10/20",
        ].map { Array($0.utf8) }
        let spice = Array("/%.-_:=,&?ABCabc0129 \u{7F}\n".utf8)
        for _ in 0..<20_000 {
            var bytes = seeds.randomElement(using: &generator) ?? []
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0...bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0 where place < bytes.count: bytes.remove(at: place)
                case 1 where place < bytes.count: bytes[place] = spice.randomElement(using: &generator) ?? 0
                default: bytes.insert(spice.randomElement(using: &generator) ?? 0, at: place)
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            let query = RegistryQuery(target: text)
            if let route = try? RegistryRoute(path: query.path), case .manifest(let name, let reference) = route {
                #expect(RepositoryName(name.text) != nil)
                if case .tag(let tag) = reference { #expect(Reference.isTag(tag)) }
            }
            if case .part(let range) = WantedRange(text, size: 15) { #expect(range.upperBound <= 15 && !range.isEmpty) }
            if let chunk = ChunkRange(text) { #expect(chunk.last >= chunk.first) }
        }
    }
}
