import Engine
import Linux
import Logging
import Model
import NIOCore

/// One client's connection: requests one after the other, each answered before the next one is read, until the client goes or
/// an answer takes the connection over. Everything here runs on the connection's event loop.
final class APIConnection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        /// For the next request's head.
        case waiting
        /// The body comes; where the route streams it, its handler runs already.
        case receiving(Exchange)
        /// The answer was complete before the body: so many bytes more are read and thrown away.
        case draining(Exchange, budget: Int)
        /// The request is complete; what follows it stays in the buffer.
        case answering(Exchange)
        /// The socket is about to leave this connection.
        case handingOver
        case closed
    }

    /// A body that nobody wants is read up to here, so that the connection can go on; Go's server does the same.
    private static let drainLimit = 256 << 10
    /// Bytes of following requests that are read ahead while one is answered, to notice when the client goes.
    private static let aheadLimit = 64 << 10

    let router: Router<Route>
    let registry: ConnectionRegistry
    let log: Logger
    var caller = Caller(uid: .max, gid: .max, pid: 0)
    var context: ChannelHandlerContext?
    var phase = Phase.waiting
    var inbound = ByteBuffer()
    var parser = RequestParser()
    private var isReadHeld = false
    /// The client will send nothing more.
    private var hasInputEnded = false

    init(router: Router<Route>, registry: ConnectionRegistry, log: Logger) {
        self.router = router
        self.registry = registry
        self.log = log
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        do {
            let transport = try context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
                try Sockets.peer($0)
            }
            if let transport { caller = Caller(uid: transport.uid, gid: transport.gid, pid: transport.pid) }
        } catch {
            // without credentials the caller is nobody; the connection itself is fine
            log.debug("no peer credentials: \(error)")
        }
        registry.add(context.channel)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        registry.remove(context.channel)
        switch phase {
        case .receiving(let exchange), .draining(let exchange, _), .answering(let exchange): abandon(exchange)
        case .waiting, .handingOver, .closed: break
        }
        if case .handingOver = phase {} else { phase = .closed }
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var piece = unwrapInboundIn(data)
        if inbound.readableBytes == 0 { inbound = piece } else { inbound.writeBuffer(&piece) }
        advance()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ConnectionRegistry.Quiesce { return quiesce() }
        guard case .some(.inputClosed) = event as? ChannelEvent else { return context.fireUserInboundEventTriggered(event) }
        hasInputEnded = true
        switch phase {
        case .waiting, .draining: close()
        case .receiving(let exchange):
            abandon(exchange)
            close()
        case .answering(let exchange):
            // As in Go's server, a client that has closed its side of a plain request has gone.
            exchange.keepsAlive = false
            if exchange.route.disconnect == .cancels, !exchange.route.mayHijack { exchange.task?.cancel() }
        case .handingOver, .closed: break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        log.debug("connection: \(error)")
        if case .handingOver = phase { return }
        context.close(promise: nil)
    }

    /// The server ends: no further request.
    private func quiesce() {
        switch phase {
        case .waiting: close()
        case .receiving(let exchange), .draining(let exchange, _), .answering(let exchange): exchange.keepsAlive = false
        case .handingOver, .closed: break
        }
    }

    private func abandon(_ exchange: Exchange) {
        exchange.pipe?.fail(Fault(.cancelled, "the client went away before its request was complete"))
        if exchange.route.disconnect == .cancels { exchange.task?.cancel() }
    }

    // MARK: Reading

    func read(context: ChannelHandlerContext) {
        if wantsInput { context.read() } else { isReadHeld = true }
    }

    private var wantsInput: Bool {
        switch phase {
        case .waiting, .draining: true
        case .receiving(let exchange): exchange.pipe?.hasRoom ?? true
        // what follows a request that may take the connection over is for who takes it
        case .answering(let exchange): !exchange.route.mayHijack && inbound.readableBytes < Self.aheadLimit
        case .handingOver, .closed: false
        }
    }

    func resumeReading() {
        guard isReadHeld, wantsInput else { return }
        isReadHeld = false
        context?.read()
    }

    /// Reads what the buffer holds until it is used up or an answer has to be waited for.
    func advance() {
        while isReading {
            do {
                switch try parser.next(&inbound) {
                case .needsMore:
                    if inbound.readableBytes == 0 { inbound.clear() }
                    resumeReading()
                    return
                case .head(let head, let length): try begin(head, length)
                case .body(let piece): try receive(piece)
                case .end: requestEnded()
                }
            } catch {
                return refuse(error as? RequestFault ?? RequestFault(status: 400, message: "\(error)"))
            }
        }
        resumeReading()
    }

    private var isReading: Bool {
        switch phase {
        case .waiting, .receiving, .draining: true
        case .answering, .handingOver, .closed: false
        }
    }

    private func begin(_ head: RequestHead, _ length: RequestBodyLength) throws {
        let resolution = Resolution.of(head, router)
        var pipe: BodyPipe?
        switch resolution.route.body {
        case .collect(let limit):
            if case .fixed(let count) = length, count > limit { throw Self.tooLarge(limit) }
        case .stream: pipe = makePipe()
        }
        let exchange = Exchange(head: head, resolution: resolution, pipe: pipe)
        phase = .receiving(exchange)
        if length != .none, length != .fixed(0), head.minorVersion == 1, head["expect"]?.lowercased() == "100-continue" {
            writeContinue()
        }
        if pipe != nil { dispatch(exchange) }
    }

    private func makePipe() -> BodyPipe? {
        guard let context else { return nil }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let loop = context.eventLoop
        return BodyPipe(drained: { loop.execute { bound.value.resumeReading() } })
    }

    private static func tooLarge(_ limit: Int) -> RequestFault {
        RequestFault(status: 413, message: "the request's body is larger than \(limit) bytes")
    }

    private func receive(_ piece: ByteBuffer) throws {
        switch phase {
        case .receiving(let exchange):
            if let pipe = exchange.pipe {
                pipe.push(Array(piece.readableBytesView))
            } else if case .collect(let limit) = exchange.route.body {
                guard exchange.collected.count + piece.readableBytes <= limit else { throw Self.tooLarge(limit) }
                exchange.collected.append(contentsOf: piece.readableBytesView)
            }
        case .draining(let exchange, let budget):
            phase = .draining(exchange, budget: budget - piece.readableBytes)
            if budget < piece.readableBytes { closeAfterWrites() }
        case .waiting, .answering, .handingOver, .closed: break
        }
    }

    private func requestEnded() {
        switch phase {
        case .receiving(let exchange):
            phase = .answering(exchange)
            if let pipe = exchange.pipe { pipe.finish() } else { dispatch(exchange) }
        case .draining(let exchange, _): exchangeEnded(exchange)
        case .waiting, .answering, .handingOver, .closed: break
        }
    }

    /// Answer and request are complete: on to the next one, or the end.
    func exchangeEnded(_ exchange: Exchange) {
        guard exchange.keepsAlive, !hasInputEnded else { return closeAfterWrites() }
        parser.nextRequest()
        phase = .waiting
    }

    /// The answer is complete. Where the request is not, the rest of it is thrown away.
    func answerEnded(_ exchange: Exchange) {
        exchange.sent = .all
        exchange.task = nil
        switch phase {
        case .receiving:
            exchange.pipe?.fail(Fault(.cancelled, "the answer was given before the request was complete"))
            phase = .draining(exchange, budget: Self.drainLimit)
        case .answering: exchangeEnded(exchange)
        case .waiting, .draining, .handingOver, .closed: break
        }
    }
}
