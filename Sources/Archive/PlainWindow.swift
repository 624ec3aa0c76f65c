/// Plain bytes around the place where tokens of a deflate stream are predicted: at least 32 KiB before it, and what is known behind.
final class PlainWindow {
    /// How far a match may reach back (RFC 1951, 3.2.5).
    static let reach = 32 << 10
    private static let capacity = 512 << 10

    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
    /// Position of the first byte.
    private(set) var start = 0
    /// Position behind the last one.
    private(set) var end = 0
    /// No more bytes will come.
    var isComplete = false

    deinit { bytes.deallocate() }

    func pointer(_ position: Int) -> UnsafeMutablePointer<UInt8> { bytes + (position - start) }

    /// Bytes that can be appended while everything from 32 KiB before `position` on stays.
    func room(keeping position: Int) -> Int {
        let first = max(start, position - Self.reach)
        if first - start >= Self.capacity / 2 {
            bytes.update(from: bytes + (first - start), count: end - first)
            start = first
        }
        return Self.capacity - (end - start)
    }

    func append(_ more: UnsafeRawBufferPointer) {
        guard let from = more.bindMemory(to: UInt8.self).baseAddress else { return }
        pointer(end).update(from: from, count: more.count)
        end += more.count
    }

    func append(_ byte: UInt8) {
        bytes[end - start] = byte
        end += 1
    }

    /// Repeats bytes from before; the two may overlap.
    func repeatBytes(_ length: Int, distance: Int) {
        let to = pointer(end)
        let from = to - distance
        for index in 0..<length { to[index] = from[index] }
        end += length
    }
}
