/// Finds the bytes that end an attachment in what a client types, across the borders of reads.
package struct DetachKeys {
    private let sequence: [UInt8]
    /// So many bytes of the sequence have been seen and held back.
    private var matched = 0

    /// An empty sequence never matches.
    package init(_ sequence: [UInt8]) { self.sequence = sequence }

    /// What of the input goes to the process; `detached` when the sequence is complete: what follows it is dropped.
    /// Bytes that may become the sequence are held back until it is known that they do not.
    package mutating func pass(_ input: UnsafeRawBufferPointer) -> (bytes: [UInt8], detached: Bool) {
        guard !sequence.isEmpty else { return (Array(input), false) }
        var out: [UInt8] = []
        out.reserveCapacity(input.count)
        for byte in input {
            // Held bytes that turn out to be none of it go on, as far as they cannot begin it anew
            while matched > 0, byte != sequence[matched] {
                let held = Array(sequence[..<matched])
                let keep =
                    (1..<held.count + 1).first { held[$0...].elementsEqual(sequence[..<(held.count - $0)]) } ?? held.count
                out.append(contentsOf: held[..<keep])
                matched -= keep
            }
            if byte == sequence[matched] {
                matched += 1
                if matched == sequence.count {
                    matched = 0
                    return (out, true)
                }
            } else {
                out.append(byte)
            }
        }
        return (out, false)
    }

    /// What is still held back when the input is over.
    package mutating func finish() -> [UInt8] {
        let held = Array(sequence[..<matched])
        matched = 0
        return held
    }
}
