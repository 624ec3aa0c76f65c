import Driver
import Archive

/// A stream, compressed or not, read as a tar to its end.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = [UInt8](UnsafeBufferPointer(start: start, count: count))
    var limits = TarLimits()
    limits.entries = 10_000
    let reader = TarReader(Decompressor(MemorySource(bytes)), limits: limits)
    var total = 0
    do {
        while try reader.next() != nil {
            try reader.readContent { total += $0.count }
            // A bomb is legitimate input here; only its first bytes are of interest.
            if total > 1 << 24 { break }
        }
    } catch {}
    return 0
}

@main struct TarFuzzer {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = LLVMFuzzerRunDriver(&count, &arguments, fuzz)
    }
}
