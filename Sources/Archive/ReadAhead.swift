import Linux
import Model

/// Reads a source on a thread of its own, a few buffers ahead, so that reading, uncompressing and hashing run beside what the
/// reader does with the bytes.
public final class ReadAhead: ByteSource {
    private struct State {
        var full: [Chunk] = []
        var free: [Chunk]
        var ended = false
        var failure: (any Error)?
        var closed = false
        var abandoned = false
        var threadIsDone = false
    }

    /// A buffer and how much of it holds bytes.
    ///
    /// `@unchecked Sendable`: it is in one list of the monitor or in one thread's hands, never in two.
    private final class Chunk: @unchecked Sendable {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
        var start = 0
        var end = 0
        deinit { bytes.deallocate() }
    }

    /// `@unchecked Sendable`: handed to the thread, which alone uses the source until `close` has waited for its end.
    private struct Handed: @unchecked Sendable {
        let source: any ByteSource
    }

    private let state: Monitor<State>
    private let handed: Handed
    private var current: Chunk?

    /// The source belongs to the thread until `close` returned.
    public init(_ source: any ByteSource, buffers: Int = 6) throws {
        let state = Monitor(State(free: (0..<buffers).map { _ in Chunk() }))
        self.state = state
        let handed = Handed(source: source)
        self.handed = handed
        try startThread { Self.run(handed, state) }
    }

    private static func run(_ handed: Handed, _ state: Monitor<State>) {
        defer { state.update { $0.threadIsDone = true } }
        while true {
            let chunk: Chunk? = state.wait { state in
                if state.closed { return .some(nil) }
                return state.free.popLast().map { .some($0) }
            }
            guard let chunk else { return }
            do {
                chunk.start = 0
                chunk.end = 0
                var ended = false
                while chunk.end < chunk.bytes.count, !ended {
                    let rest = UnsafeMutableRawBufferPointer(rebasing: chunk.bytes[chunk.end...])
                    let count = try handed.source.read(into: rest)
                    chunk.end += count
                    ended = count == 0
                }
                state.update { state in
                    if chunk.end > 0 { state.full.append(chunk) }
                    // Never taken back: `abandon` may have ended it while this thread read.
                    if ended { state.ended = true }
                }
                if ended { return }
            } catch {
                state.update { state in
                    if chunk.end > 0 { state.full.append(chunk) }
                    if state.failure == nil { state.failure = error }
                    state.ended = true
                }
                return
            }
        }
    }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if let current, current.start == current.end {
            state.update { $0.free.append(current) }
            self.current = nil
        }
        if current == nil {
            current = try state.wait { state in
                if let failure = state.failure, state.abandoned { throw failure }
                if !state.full.isEmpty { return .some(state.full.removeFirst()) }
                guard state.ended || state.threadIsDone else { return nil }
                if let failure = state.failure { throw failure }
                return .some(nil)
            }
        }
        guard let current else { return 0 }
        let count = min(buffer.count, current.end - current.start)
        buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: current.bytes[current.start..<(current.start + count)]))
        current.start += count
        return count
    }

    /// Whoever produces the bytes need not wait any more, and nobody waits for them here: every `read` from now on throws.
    public func abandon() {
        state.update { state in
            state.closed = true
            state.abandoned = true
            if state.failure == nil { state.failure = Fault(.cancelled, "nobody reads any more") }
            state.ended = true
        }
        handed.source.abandon()
    }

    /// Stops reading and waits until the thread no longer uses the source. A source that blocks must be abandoned first.
    public func close() {
        state.update { $0.closed = true }
        _ = state.wait { $0.threadIsDone ? true : nil }
    }
}
