/// Bytes that wait to be written, first in, first out. Its memory goes when it is empty.
package struct ByteQueue {
    private var bytes: [UInt8] = []
    private var start = 0

    package var count: Int { bytes.count - start }
    package var isEmpty: Bool { count == 0 }

    package mutating func append(_ more: UnsafeRawBufferPointer) { bytes.append(contentsOf: more) }
    package mutating func append(_ more: [UInt8]) { bytes.append(contentsOf: more) }

    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try bytes.withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[start...])) }
    }

    package mutating func drop(_ count: Int) {
        start += count
        if start >= bytes.count {
            start = 0
            if bytes.capacity > 16 << 10 { bytes = [] } else { bytes.removeAll(keepingCapacity: true) }
        } else if start > 1 << 18 {
            bytes.removeFirst(start)
            start = 0
        }
    }

    package mutating func removeAll() {
        bytes = []
        start = 0
    }
}
