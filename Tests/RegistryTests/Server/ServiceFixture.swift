import Archive
import HTTP
import JSON
import Linux
import Model
import Registry
import TestSupport
import Testing

/// A registry of a test's own, asked without sockets.
final class ServiceFixture {
    let scratch: Scratch
    private(set) var store: RegistryStore
    private(set) var service: RegistryService
    private let limits: RegistryLimits
    private let policy: RegistryPolicy
    private let access: any RegistryAccess

    init(
        _ name: String = #function, limits: RegistryLimits = RegistryLimits(), policy: RegistryPolicy? = nil,
        access: any RegistryAccess = OpenAccess()
    ) throws {
        scratch = try Scratch(name)
        var standard = RegistryPolicy()
        standard.allowsDelete = true
        self.limits = limits
        self.policy = policy ?? standard
        self.access = access
        store = try RegistryStore(root: scratch.path + "/registry", limits: limits, log: RegistryLog(.text, isQuiet: true))
        try store.recover()
        service = RegistryService(store: store, policy: self.policy, access: access)
    }

    func ask(
        _ method: String, _ target: String, _ fields: HTTPFields = [:], body: [UInt8] = [], chunked: Bool = false
    ) -> ServerResponse {
        service.answer(
            ServerRequest(
                method: method, target: target, fields: fields, body: BytesBody(body, chunked: chunked), peer: "test"))
    }

    static func digest(_ bytes: [UInt8], _ algorithm: Digest.Algorithm = .sha256) throws -> Digest {
        try ContentHash.digest(of: bytes, algorithm)
    }

    @discardableResult
    func push(_ repository: String, blob: [UInt8]) throws -> Digest {
        let digest = try Self.digest(blob)
        let answer = ask("POST", "/v2/\(repository)/blobs/uploads/?digest=\(digest)", body: blob)
        #expect(answer.status == 201)
        return digest
    }

    static let emptyConfig = Array("{}".utf8)

    static func manifest(
        config: [UInt8] = emptyConfig, layers: [[UInt8]], subject: Digest? = nil, artifactType: String? = nil,
        annotations: [String: String] = [:]
    ) throws -> [UInt8] {
        var manifest = ImageManifest(
            config: ContentDescriptor(
                mediaType: MediaType.ociConfig, digest: try digest(config), size: Int64(config.count)),
            layers: try layers.map {
                ContentDescriptor(mediaType: MediaType.ociLayerGzip, digest: try digest($0), size: Int64($0.count))
            })
        manifest.subject = subject.map { ContentDescriptor(mediaType: MediaType.ociManifest, digest: $0, size: 1) }
        manifest.artifactType = artifactType
        manifest.annotations = annotations
        return manifest.json
    }

    func put(_ repository: String, _ reference: String, _ manifest: [UInt8], type: String = MediaType.ociManifest)
        -> ServerResponse
    {
        ask("PUT", "/v2/\(repository)/manifests/\(reference)", ["Content-Type": type], body: manifest)
    }

    /// A whole image; its manifest.
    @discardableResult
    func pushImage(_ repository: String, _ tag: String, layers: [[UInt8]] = [[1, 2, 3]]) throws -> [UInt8] {
        for blob in layers + [Self.emptyConfig] { try push(repository, blob: blob) }
        let manifest = try Self.manifest(layers: layers)
        #expect(put(repository, tag, manifest).status == 201)
        return manifest
    }

    func files() -> [String] {
        run(["/bin/sh", "-c", "cd '\(store.root)' && find blobs uploads trash -type f | LC_ALL=C sort"]).output
            .split(separator: "\n").map(String.init)
    }
}

extension ServerResponse {
    var bytes: [UInt8] {
        switch body {
        case .bytes(let bytes): bytes
        case .file(let file, let offset, let count): Self.content(file.raw, offset, Int(count))
        case .none, .length, .stream: []
        }
    }

    private static func content(_ file: CInt, _ offset: Int64, _ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let done = bytes.withUnsafeMutableBytes { try? Files.readAt(file, into: $0, offset: offset) }
        return done == count ? bytes : []
    }

    var text: String { String(decoding: bytes, as: UTF8.self) }
    var json: JSONValue { (try? JSONValue(json: bytes)) ?? .null }
    /// The specification's code of an answer that is an error.
    var code: String { json["errors"]?[0]?["code"]?.string ?? "" }
    var names: [String] { (json["tags"] ?? json["repositories"])?.array?.compactMap(\.string) ?? [] }
}
