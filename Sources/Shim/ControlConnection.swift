import JSON
import Linux
import Model

/// What a control connection reports to its owner.
protocol ControlOwner: AnyObject {
    func received(_ request: ShimRequest, _ descriptors: PassedDescriptors, on connection: ControlConnection)
}

/// One engine's connection: requests come in, replies and events go out. Its end means nothing to the container.
final class ControlConnection: Pollable {
    /// Messages that wait for an engine that does not read; beyond, the connection is given up.
    private static let queueLimit = 1024

    private var socket: Handle?
    private weak var owner: (any ControlOwner)?
    private var queue: [(message: [UInt8], descriptor: Handle?)] = []

    init(_ socket: consuming Descriptor, owner: any ControlOwner) throws {
        try PollIO.setNonblocking(socket.raw)
        self.socket = Handle(socket)
        self.owner = owner
    }

    var isClosed: Bool { socket == nil }
    var isFlushed: Bool { queue.isEmpty }

    func close() {
        socket = nil
        queue = []
    }

    func reply(_ id: UInt64, _ outcome: ShimOutcome, descriptor: Handle? = nil) {
        send(.reply(ShimReply(id: id, outcome)), descriptor: descriptor)
    }

    func send(_ message: ShimMessage, descriptor: Handle? = nil) {
        guard socket != nil else { return }
        guard queue.count < Self.queueLimit else { return close() }
        queue.append((message.json, descriptor))
        flush()
    }

    private func flush() {
        guard let socket else { return }
        do {
            while let next = queue.first {
                let descriptors = next.descriptor.map { [$0.raw] } ?? []
                guard try SeqPacket.send(next.message, descriptors: descriptors, on: socket.raw) else { return }
                queue.removeFirst()
            }
        } catch { close() }
    }

    func register(in turn: inout PollTurn) {
        guard let socket else { return }
        turn.add(socket.raw, queue.isEmpty ? .input : [.input, .output], self)
    }

    func ready(_ events: PollSet.Events, part: Int) {
        if events.contains(.output) { flush() }
        // A few at a time: the container's output waits too
        for _ in 0..<16 {
            guard let socket else { return }
            do {
                switch try SeqPacket.receive(on: socket.raw, limit: ShimProtocol.messageLimit) {
                case .nothing: return
                case .end: return close()
                case .message(let bytes, let descriptors): handle(bytes, descriptors)
                }
            } catch {
                return close()
            }
        }
    }

    private func handle(_ bytes: [UInt8], _ descriptors: PassedDescriptors) {
        do {
            owner?.received(try ShimRequest(packet: bytes), descriptors, on: self)
        } catch {
            // Answered as far as it can be told what is answered
            guard let id = Self.id(of: bytes) else { return close() }
            reply(id, .fault(Fault(error).prefixed("bad message to the shim")))
        }
    }

    private static func id(of bytes: [UInt8]) -> UInt64? {
        guard let reader = try? JSONValue(json: Array(bytes.prefix { $0 != 0 })), case .number(let digits)? = reader["id"]
        else {
            return nil
        }
        return UInt64(digits)
    }
}
