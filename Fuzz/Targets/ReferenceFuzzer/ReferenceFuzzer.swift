import Driver
import Model

/// A reference that is read must read the same again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let text = String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
    _ = try? ImageQuery(text)
    if let reference = try? Reference(text) {
        precondition((try? Reference(reference.description)) == reference)
        precondition((try? Reference(reference.familiar)) == reference)
    }
    return 0
}

@main struct ReferenceFuzzer {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = LLVMFuzzerRunDriver(&count, &arguments, fuzz)
    }
}
