import Images
import Model
import Testing

@Suite struct PlatformChoiceTests {
    private func entry(_ text: String, _ number: Int) throws -> ContentDescriptor {
        let digest = try #require(Digest(.sha256, hex: String(repeating: String(number, radix: 16), count: 64)))
        var descriptor = ContentDescriptor(mediaType: MediaType.ociManifest, digest: digest, size: Int64(number))
        descriptor.platform = try platform(text)
        return descriptor
    }

    private func platform(_ text: String) throws -> ImagePlatform {
        let parts = text.split(separator: "/").map(String.init)
        return ImagePlatform(architecture: parts[1], os: parts[0], variant: parts.count > 2 ? parts[2] : "")
    }

    private func chosen(_ wanted: String, from list: [String]) throws -> String? {
        let entries = try list.enumerated().map { try entry($1, $0 + 1) }
        let best = PlatformChoice(try platform(wanted)).best(entries)
        return best.map { list[Int($0.size) - 1] }
    }

    @Test(arguments: [
        ("linux/amd64", ["linux/arm64", "linux/amd64", "windows/amd64"], "linux/amd64"),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"], "linux/arm/v6"),
        ("linux/arm", ["linux/arm/v5", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], "linux/arm/v5"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
        ("linux/amd64", ["linux/amd64/v2", "linux/amd64"], "linux/amd64"),
        ("linux/riscv64", ["linux/amd64", "linux/riscv64"], "linux/riscv64"),
    ]) func theBestThatTheMachineRunsIsTaken(_ wanted: String, _ list: [String], _ expected: String) throws {
        #expect(try chosen(wanted, from: list) == expected)
    }

    @Test(arguments: [
        ("linux/arm/v5", ["linux/arm/v7", "linux/arm64"]), ("linux/amd64", ["windows/amd64", "linux/386"]), ("linux/s390x", []),
        ("linux/amd64", ["linux/amd64/v2"]),
    ]) func whatDoesNotRunIsNotTaken(_ wanted: String, _ list: [String]) throws {
        #expect(try chosen(wanted, from: list) == nil)
    }

    @Test func attestationsAreNoImages() throws {
        var attestation = try entry("unknown/unknown", 1)
        attestation.annotations = ["vnd.docker.reference.type": "attestation-manifest"]
        attestation.platform = .host
        #expect(PlatformChoice(nil).best([attestation]) == nil)
    }

    @Test func anEntryThatSaysNothingIsTakenWhenNothingElseIs() throws {
        var silent = try entry("linux/amd64", 1)
        silent.platform = nil
        let other = try entry("linux/amd64", 2)
        #expect(PlatformChoice(try platform("linux/amd64")).best([silent])?.size == 1)
        #expect(PlatformChoice(try platform("linux/amd64")).best([silent, other])?.size == 2)
    }
}
