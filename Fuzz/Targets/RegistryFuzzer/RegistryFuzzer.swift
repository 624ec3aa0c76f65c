import Driver
import HTTP

@testable import RegistryParsers

/// What the registry's server reads from a request before anybody is known: targets with their queries, ranges, chunks, tokens; and
/// the keys of a token server.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = [UInt8](UnsafeBufferPointer(start: start, count: min(count, 64 << 10)))
    let text = String(decoding: bytes, as: UTF8.self)
    target(text)
    ranges(text)
    tokens(bytes, text)
    return 0
}

/// What a target means does not change when it is written with escapes, and no name gets through that is none.
private func target(_ text: String) {
    let query = RegistryQuery(target: text)
    for name in ["n", "last", "digest", "mount", "from", "q"] { _ = query[name] }
    if let size = try? query.pageSize(1000, standard: 100) { precondition((0...1000).contains(size)) }
    guard let route = try? RegistryRoute(path: query.path) else { return }
    if let name = route.repository { precondition(RepositoryName(name.text) == name && !name.text.contains("..")) }
    guard let plain = PercentCoding.decoded(query.path) else { preconditionFailure("a route without a path") }
    // The longest path counts its escapes.
    if let again = try? RegistryRoute(path: PercentCoding.encoded(plain)) { precondition(again == route) }
}

private func ranges(_ text: String) {
    for size in [0, 1, 100, Int64.max] {
        for field in [text, "bytes=" + text] {
            guard case .part(let part) = WantedRange(field, size: size) else { continue }
            precondition(!part.isEmpty && part.lowerBound >= 0 && part.upperBound <= size)
        }
    }
    if let chunk = ChunkRange(text) { precondition(chunk.first >= 0 && chunk.last >= chunk.first && chunk.count > 0) }
    _ = try? ManifestReference(text)
}

private func tokens(_ bytes: [UInt8], _ text: String) {
    _ = StrictBase64.decode(text, .standard)
    _ = StrictBase64.decode(text, .url)
    if let claims = try? TokenClaims(bytes) { _ = claims.allows(.catalog) }
    _ = try? TokenKeys.jwks(bytes)
    _ = try? TokenKeys.pem(text)
    _ = try? TokenKey(der: bytes)
    _ = try? TokenKey(certificate: bytes)
    let access = TokenAccess(realm: "r", service: "s", issuer: "i", keys: [], clock: { 0 })
    let request = ServerRequest(method: "GET", target: "/v2/", fields: ["Authorization": "Bearer " + text])
    precondition((try? access.check(request, needs: [.catalog])) == nil)
}

@main struct RegistryFuzzer {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = LLVMFuzzerRunDriver(&count, &arguments, fuzz)
    }
}
