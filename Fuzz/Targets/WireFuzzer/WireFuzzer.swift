import Driver
import HTTP
import Linux
import Model

/// What comes over a connection, read as a request or an answer with its body; and the same bytes as a URL and as base64.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = [UInt8](UnsafeBufferPointer(start: start, count: min(count, 64 << 10)))
    exchange(bytes, isRequest: true)
    exchange(bytes, isRequest: false)
    let text = String(decoding: bytes, as: UTF8.self)
    if let url = HTTPURL(text) { precondition(HTTPURL(url.description) == url) }
    _ = HTTPURL("http://h/v2/")?.resolving(text)
    if let decoded = Base64Text.decode(text) { precondition(Base64Text.decode(Base64Text.encode(decoded)) == decoded) }
    _ = HTTPDate.seconds(text)
    return 0
}

private func exchange(_ bytes: [UInt8], isRequest: Bool) {
    guard let pair = try? StreamSocket.pair() else { return }
    let (one, other) = pair.release()
    let far = Descriptor(owning: other)
    guard let channel = try? Channel(Descriptor(owning: one), idleTimeout: 1000) else { return }
    try? Files.write(far.raw, bytes)
    PollIO.shutdownWrite(far.raw)
    do {
        for _ in 0..<8 {
            let framing: BodyFraming
            if isRequest {
                guard let head = try channel.readRequest() else { return }
                _ = try head.bytes()
                framing = try head.bodyFraming()
            } else {
                let head = try channel.readResponse()
                _ = try head.bytes()
                framing = try head.bodyFraming(to: "GET")
            }
            let reader = BodyReader(channel, framing)
            _ = try reader.readAll(limit: 1 << 20)
            guard reader.leavesChannelUsable else { return }
        }
    } catch {}
}

@main struct WireFuzzer {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = LLVMFuzzerRunDriver(&count, &arguments, fuzz)
    }
}
