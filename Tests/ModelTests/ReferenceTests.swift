import Model
import Testing

@Suite struct ReferenceTests {
    @Test(arguments: [
        ("debian", "docker.io/library/debian", "debian"), ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("user/app", "docker.io/user/app", "user/app"), ("docker.io/debian", "docker.io/library/debian", "debian"),
        ("index.docker.io/library/debian", "docker.io/library/debian", "debian"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("ghcr.io/o/i", "ghcr.io/o/i", "ghcr.io/o/i"), ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("a__b.c-d---e", "docker.io/library/a__b.c-d---e", "a__b.c-d---e"),
        ("docker.io/docker.io/app", "docker.io/docker.io/app", "docker.io/docker.io/app"),
        ("docker.io/localhost/app", "docker.io/localhost/app", "docker.io/localhost/app"),
        ("UPPER/app", "UPPER/app", "UPPER/app"), ("app:5000", "docker.io/library/app:5000", "app:5000"),
    ])
    func namesAreNormalised(_ text: String, _ full: String, _ familiar: String) throws {
        let reference = try Reference(text)
        #expect(reference.description == full)
        #expect(reference.familiar == familiar)
    }

    @Test func aDigestIsPartOfTheName() throws {
        let hex = String(repeating: "ab", count: 32)
        let reference = try Reference("debian:12@sha256:" + hex)
        #expect(reference.tag == "12")
        #expect(reference.digest?.hex == hex)
        #expect(reference.withDefaultTag == reference)
        #expect(try Reference("debian").withDefaultTag.familiar == "debian:latest")
    }

    @Test(arguments: [
        "", "/", "a/", "/a", "a//b", "a..b", "a___b", "-a", "a-", ".a", "a:", "a:-t", "a@sha256:12", "a@md5:0", "a b", "a:b:c",
        "a/b:c/d", "a@", "[::1/a", "a.b:x/c", "\u{e9}", "a\n", "-a.b/c", "a:" + String(repeating: "t", count: 129), "a/../b",
        "http://a/b",
    ])
    func malformedNamesAreRefused(_ text: String) {
        let fault = #expect(throws: Fault.self) { try Reference(text) }
        #expect(fault?.message == "invalid reference format")
    }

    @Test func docksWordsForCommonMistakes() {
        let upper = #expect(throws: Fault.self) { try Reference("Debian") }
        #expect(upper?.message == "invalid reference format: repository name (library/Debian) must be lowercase")
        let id = String(repeating: "0", count: 64)
        let digits = #expect(throws: Fault.self) { try Reference(id) }
        #expect(digits?.message == "invalid repository name (\(id)), cannot specify 64-byte hexadecimal strings")
        let long = #expect(throws: Fault.self) { try Reference(String(repeating: "a", count: 300)) }
        #expect(long?.message == "repository name must not be more than 255 characters")
    }

    @Test func anImageMayBeMeantByNameOrDigits() throws {
        let hex = String(repeating: "c", count: 64)
        #expect(try ImageQuery("sha256:" + hex) == ImageQuery(hex))
        #expect(try ImageQuery("cafe") == .name(Reference("cafe"), digits: "cafe"))
        #expect(try ImageQuery("sha256:cafe") == .digits("cafe"))
        #expect(try ImageQuery("nginx") == .name(Reference("nginx"), digits: nil))
    }

    @Test(arguments: [
        "sha256:", "sha256:abc", "sha512:" + String(repeating: "a", count: 64), "md5:abc", "sha256:../../etc/passwd",
        "sha256:" + String(repeating: "A", count: 64), "sha256:" + String(repeating: "a", count: 65),
    ])
    func onlyWholeLowerCaseDigestsAreDigests(_ text: String) { #expect(Digest(text) == nil) }
}
