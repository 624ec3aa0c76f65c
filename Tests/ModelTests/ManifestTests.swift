import JSON
import Model
import Testing

@Suite struct ManifestTests {
    private let digest = "sha256:" + String(repeating: "a", count: 64)

    private func descriptor(_ type: String) -> String { #"{"mediaType":"\#(type)","digest":"\#(digest)","size":7}"# }

    private func read(_ text: String, _ type: String? = nil) throws -> ManifestDocument {
        try ManifestDocument(Array(text.utf8), mediaType: type)
    }

    @Test func anImageManifestSurvivesARoundTrip() throws {
        let text =
            #"{"schemaVersion":2,"mediaType":"\#(MediaType.ociManifest)","config":\#(descriptor(MediaType.ociConfig)),"layers":[\#(descriptor(MediaType.ociLayerGzip))],"annotations":{"a":"b"}}"#
        guard case .manifest(let manifest) = try read(text) else {
            Issue.record("no manifest")
            return
        }
        #expect(manifest.jsonText == text)
    }

    // GHSA-xmmx-7jpf-fx42
    @Test func aDocumentOfBothKindsIsRefused() {
        let both = #"{"schemaVersion":2,"config":\#(descriptor(MediaType.ociConfig)),"layers":[],"manifests":[]}"#
        let fault = #expect(throws: Fault.self) { try read(both) }
        #expect(fault?.message.contains("members of an index and of an image manifest") == true)
        #expect(throws: Fault.self) {
            try read(#"{"schemaVersion":2,"mediaType":"\#(MediaType.ociIndex)","manifests":[]}"#, MediaType.ociManifest)
        }
        #expect(throws: Fault.self) {
            try read(#"{"schemaVersion":2,"mediaType":"\#(MediaType.ociIndex)","config":\#(descriptor("x")),"layers":[]}"#)
        }
    }

    @Test func schemaOneIsRefusedWithAClearText() {
        let fault = #expect(throws: Fault.self) { try read(#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#) }
        #expect(fault?.kind == .unsupported)
        #expect(fault?.message.contains("schema 1 is not supported") == true)
    }

    @Test(arguments: [
        "", "[]", "{}", #"{"schemaVersion":2}"#, #"{"schemaVersion":2,"config":{},"layers":[]}"#,
        #"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../../x","size":1}]}"#,
        #"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":7,"size":1}]}"#, #"{"schemaVersion":"2","manifests":[]}"#,
    ])
    func malformedManifestsAreRefused(_ text: String) { #expect(throws: Fault.self) { try read(text) } }

    @Test func sizesAndCountsAreLimited() {
        let negative = #"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"\#(digest)","size":-1}]}"#
        #expect(throws: Fault.self) { try read(negative) }
        let many = Array(repeating: descriptor("x"), count: 5000).joined(separator: ",")
        let fault = #expect(throws: Fault.self) { try read(#"{"schemaVersion":2,"manifests":[\#(many)]}"#) }
        #expect(fault?.message.contains("5000 entries are more than the limit of 4096") == true)
        let deep = #"{"schemaVersion":2,"x":"# + String(repeating: "[", count: 100) + String(repeating: "]", count: 100) + "}"
        #expect(throws: Fault.self) { try read(deep) }
    }

    @Test func aConfigurationIsWrittenAsDockerDoes() throws {
        let text =
            #"{"architecture":"amd64","config":{"ExposedPorts":{"80/tcp":{}},"Env":["A=b"],"Cmd":["sh"],"Labels":{"k":"v"}},"created":"2026-01-02T03:04:05.6Z","history":[{"created":"2026-01-02T03:04:05.6Z","created_by":"x","empty_layer":true}],"os":"linux","rootfs":{"type":"layers","diff_ids":["\#(digest)"]}}"#
        #expect(try ImageConfig.read(Array(text.utf8)).jsonText == text)
    }

    @Test func nullsAndOddTimesInAConfigurationAreTolerated() throws {
        let text =
            #"{"created":"0001-01-01T00:00:00Z","config":null,"history":null,"rootfs":{"type":"layers","diff_ids":null},"os":null}"#
        let config = try ImageConfig.read(Array(text.utf8))
        #expect(config.diffIDs.isEmpty)
        #expect(throws: Fault.self) { try ImageConfig.read(Array(#"{"rootfs":{"type":"x"}}"#.utf8)) }
    }
}
