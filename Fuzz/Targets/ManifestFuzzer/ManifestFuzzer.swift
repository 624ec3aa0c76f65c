import Driver
import JSON
import Model

/// Manifests, indexes, configurations and manifest.json.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = [UInt8](UnsafeBufferPointer(start: start, count: count))
    if case .manifest(let manifest)? = try? ManifestDocument(bytes) { _ = try? ManifestDocument(manifest.json) }
    if let config = try? ImageConfig.read(bytes) { _ = try? ImageConfig.read(config.json) }
    _ = try? [DockerArchiveImage](json: bytes)
    return 0
}

@main struct ManifestFuzzer {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = LLVMFuzzerRunDriver(&count, &arguments, fuzz)
    }
}
