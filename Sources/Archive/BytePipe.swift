import Linux
import Model

/// From a thread that writes to one that reads, with a bounded buffer between.
public final class BytePipe: ByteSource, ByteSink, Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var start = 0
        var ended = false
        var failure: (any Error)?
        var abandoned = false
    }

    private let state = Monitor(State())
    private let capacity: Int

    public init(capacity: Int = 1 << 20) { self.capacity = capacity }

    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            let part = rest
            let taken = try state.wait { state -> Int? in
                if state.abandoned { throw Fault(.cancelled, "nobody reads any more") }
                let room = capacity - (state.bytes.count - state.start)
                guard room > 0 else { return nil }
                if state.start > capacity / 2 {
                    state.bytes.removeFirst(state.start)
                    state.start = 0
                }
                let count = min(room, part.count)
                state.bytes.append(contentsOf: part[..<count])
                return count
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
        }
    }

    /// No more will be written.
    public func finish() { state.update { $0.ended = true } }

    /// What was to be written will not: the reader throws `error`.
    public func fail(_ error: any Error) {
        state.update { state in
            state.failure = error
            state.ended = true
        }
    }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        try state.wait { state -> Int? in
            if state.abandoned { throw Fault(.cancelled, "nobody reads any more") }
            if let failure = state.failure { throw failure }
            let there = state.bytes.count - state.start
            guard there > 0 else { return state.ended ? 0 : nil }
            let count = min(there, buffer.count)
            state.bytes.withUnsafeBytes {
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[state.start..<(state.start + count)]))
            }
            state.start += count
            if state.start == state.bytes.count {
                state.bytes.removeAll(keepingCapacity: true)
                state.start = 0
            }
            return count
        }
    }

    /// The writer's next `write` throws, and so does every `read`, one that waits included.
    public func abandon() { state.update { $0.abandoned = true } }
}
