import JSON
import Linux
import Model
import Synchronization

/// What a shim answered, with the descriptor that rode along.
struct ShimAnswer: Sendable {
    var outcome: ShimOutcome
    var descriptor: HeldDescriptor?
}

/// A control connection to one container's shim. Requests may overlap; each gets its own answer. News come in order.
final class ShimConnection: Sendable {
    enum News: Sendable {
        case event(ShimEvent)
        /// The shim has gone, and with it everything that it held of the container.
        case closed
    }

    private struct State {
        var nextID: UInt64 = 1
        var pending: [UInt64: Promise<ShimAnswer>] = [:]
        var outbox: [Outgoing] = []
        var token: UInt64?
        var closed = false
    }

    private struct Outgoing: Sendable {
        var packet: [UInt8]
        var descriptors: [HeldDescriptor]
    }

    private let socket: HeldDescriptor
    private let reactor: ShimReactor
    private let state = Mutex(State())
    /// News, for one reader.
    let news: AsyncStream<News>
    private let newsInput: AsyncStream<News>.Continuation
    /// Fulfilled when the shim has gone.
    let gone = Promise<Void>()

    /// Takes over a connected, non-blocking SEQPACKET socket.
    init(_ socket: HeldDescriptor, reactor: ShimReactor) throws {
        self.socket = socket
        self.reactor = reactor
        (news, newsInput) = AsyncStream.makeStream(of: News.self)
        let token = try reactor.watch(socket.raw, .input) { [weak self] events in self?.ready(events) }
        state.withLock { $0.token = token }
    }

    deinit { close() }

    /// Sends a request now; requests arrive in the order of these calls. A fault that the shim reports fails the promise.
    /// - Parameter passing: goes to the shim; ours is closed once it is sent and nobody else holds it.
    func post(_ action: ShimAction, passing: HeldDescriptor? = nil) -> Promise<ShimAnswer> {
        let promise = Promise<ShimAnswer>()
        let refused: Fault? = state.withLock { state in
            if state.closed { return Self.goneFault }
            let id = state.nextID
            state.nextID += 1
            state.pending[id] = promise
            do {
                let packet = ShimRequest(id: id, action).packet
                try send(Outgoing(packet: packet, descriptors: passing.map { [$0] } ?? []), &state)
                return nil
            } catch {
                state.pending[id] = nil
                return Self.goneFault
            }
        }
        if let refused { promise.resolve(.failure(refused)) }
        return promise
    }

    /// Sends a request and waits for its answer, whatever happens to the task that waits.
    @discardableResult
    func request(_ action: ShimAction, passing: HeldDescriptor? = nil) async throws -> ShimAnswer {
        try await post(action, passing: passing).settled()
    }

    /// Stops listening. Requests that wait fail; `news` ends.
    func close() {
        let (token, pending) = state.withLock { state in
            state.closed = true
            defer {
                state.token = nil
                state.pending = [:]
                state.outbox = []
            }
            return (state.token, Array(state.pending.values))
        }
        if let token { reactor.stop(token, socket.raw) }
        for promise in pending { promise.resolve(.failure(Self.goneFault)) }
        newsInput.finish()
    }

    static var goneFault: Fault { Fault(.unavailable, "the container's shim has gone") }

    private func send(_ message: Outgoing, _ state: inout State) throws {
        if state.outbox.isEmpty {
            if try SeqPacket.send(message.packet, descriptors: message.descriptors.map(\.raw), on: socket.raw) { return }
        }
        state.outbox.append(message)
        if let token = state.token { reactor.change(token, socket.raw, [.input, .output]) }
    }

    // On the reactor's thread

    private func ready(_ events: Epoll.Events) {
        if events.contains(.output) { drainOutbox() }
        do {
            while true {
                switch try SeqPacket.receive(on: socket.raw) {
                case .nothing:
                    // A hang-up without anything left to read is the end.
                    if !events.isDisjoint(with: [.hangUp, .error]) { return ended() }
                    return
                case .end: return ended()
                case .message(let bytes, let passed): handle(bytes, passed)
                }
            }
        } catch { ended() }
    }

    private func drainOutbox() {
        state.withLock { state in
            while let next = state.outbox.first {
                let sent = try? SeqPacket.send(next.packet, descriptors: next.descriptors.map(\.raw), on: socket.raw)
                guard sent == true else { return }
                state.outbox.removeFirst()
            }
            if let token = state.token { reactor.change(token, socket.raw, .input) }
        }
    }

    private func handle(_ bytes: [UInt8], _ passed: PassedDescriptors) {
        // What this version cannot read it ignores: a newer shim may say more.
        guard let message = try? ShimMessage(json: bytes) else { return }
        switch message {
        case .event(let event): newsInput.yield(.event(event))
        case .reply(let reply):
            var descriptor: HeldDescriptor?
            if let owned = passed.next() { descriptor = HeldDescriptor(owned) }
            let promise = state.withLock { $0.pending.removeValue(forKey: reply.id) }
            if case .fault(let fault) = reply.outcome {
                promise?.resolve(.failure(fault))
            } else {
                promise?.fulfil(ShimAnswer(outcome: reply.outcome, descriptor: descriptor))
            }
        }
    }

    private func ended() {
        newsInput.yield(.closed)
        close()
        gone.fulfil(())
    }
}
