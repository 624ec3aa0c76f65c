import JSON
import Model
import Testing

/// The fuzzers' smoke run (Fuzz/): mutated names and manifests are read or refused, never a trap.
@Suite struct ParserMutationTests {
    private struct Steps: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    @Test func whatIsReadAsAReferenceReadsTheSameAgain() throws {
        var random = Steps(state: 1)
        let letters = Array("aZ09.:/@-_[]%\u{e9} ")
        for _ in 0..<20_000 {
            var text = ["ghcr.io:5000/o/i:t@sha256:", "a/b", "localhost/x", ""].randomElement(using: &random) ?? ""
            for _ in 0..<Int.random(in: 0..<12, using: &random) {
                let at = text.index(text.startIndex, offsetBy: Int.random(in: 0...text.count, using: &random))
                text.insert(letters.randomElement(using: &random) ?? "a", at: at)
            }
            guard let reference = try? Reference(text) else { continue }
            #expect(try Reference(reference.description) == reference, "\(text)")
            #expect(try Reference(reference.familiar) == reference, "\(text)")
            #expect(!reference.path.contains("..") && !reference.path.hasPrefix("/"))
            _ = try? ImageQuery(text)
        }
    }

    @Test func mutatedDocumentsAreReadOrRefused() {
        var random = Steps(state: 2)
        let digest = "sha256:" + String(repeating: "a", count: 64)
        let seeds = [
            #"{"schemaVersion":2,"mediaType":"m","config":{"mediaType":"c","digest":"\#(digest)","size":7},"layers":[{"mediaType":"l","digest":"\#(digest)","size":1}],"annotations":{"a":"b"}}"#,
            #"{"schemaVersion":2,"manifests":[{"mediaType":"l","digest":"\#(digest)","size":1,"platform":{"architecture":"amd64","os":"linux"}}]}"#,
            #"{"architecture":"amd64","config":{"ExposedPorts":{"80/tcp":{}},"Env":["A=b"],"Healthcheck":{"Test":["CMD"],"Interval":1}},"created":"2026-01-02T03:04:05.6Z","history":[{"empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["\#(digest)"]}}"#,
        ].map { Array($0.utf8) }
        let letters = Array("{}[]\",:0-9e.ntf\\u\u{0}".utf8)
        for round in 0..<10_000 {
            var bytes = seeds[round % seeds.count]
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = letters.randomElement(using: &random) ?? 0
            }
            do { _ = try ManifestDocument(bytes) } catch { #expect(error is Fault) }
            do { _ = try ImageConfig.read(bytes) } catch { #expect(error is Fault) }
            do { _ = try [DockerArchiveImage](json: bytes) } catch { #expect(error is JSONFault) }
        }
    }
}
