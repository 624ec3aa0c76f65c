import Engine
import Linux
import Logging
import Model
import NIOCore
import Synchronization

// What goes out: whole answers, streams, refusals, and the socket itself.
extension APIConnection {
    func dispatch(_ exchange: Exchange) {
        guard let context else { return }
        registry.requests.add(1, ordering: .relaxed)
        let request = exchange.request(caller)
        log.debug("\(request.method) \(exchange.head.target)", metadata: ["pid": "\(caller.pid)"])
        switch exchange.route.handler {
        case .inline(let handler):
            let answer: Answer
            do { answer = try handler(request) } catch { answer = Answer(error) }
            send(answer, exchange)
        case .task(let handler):
            let loop = context.eventLoop
            let bound = Bound(
                connection: NIOLoopBound(self, eventLoop: loop), exchange: NIOLoopBound(exchange, eventLoop: loop), loop: loop)
            exchange.task = bound.start(handler, request)
        }
    }

    /// A connection and its exchange, as a task holds them.
    struct Bound: Sendable {
        let connection: NIOLoopBound<APIConnection>
        let exchange: NIOLoopBound<Exchange>
        let loop: any EventLoop

        func start(_ handler: @escaping @Sendable (Request) async throws -> Answer, _ request: Request) -> Task<Void, Never> {
            Task { await APIConnection.run(handler, request, self) }
        }

        /// Runs on the event loop, then goes on with what the client sent meanwhile.
        func execute(_ work: @escaping @Sendable (APIConnection, Exchange) -> Void) {
            loop.execute {
                work(connection.value, exchange.value)
                connection.value.advance()
            }
        }
    }

    fileprivate static func run(
        _ handler: @Sendable (Request) async throws -> Answer, _ request: Request, _ bound: Bound
    ) async {
        let answer: Answer
        do { answer = try await handler(request) } catch { answer = Answer(error) }
        switch answer.body {
        case .empty, .bytes: bound.execute { $0.send(answer, $1) }
        case .stream(let produce):
            bound.execute { $0.beginStream(answer, $1) }
            do {
                try await produce(AnswerStream(connection: bound.connection, loop: bound.loop))
                bound.execute { $0.endStream($1) }
            } catch {
                bound.execute { $0.breakStream($1, error) }
            }
        case .hijack(let serve):
            let promise = bound.loop.makePromise(of: HijackedConnection.self)
            bound.loop.execute { bound.connection.value.handOver(answer, bound.exchange.value, promise) }
            if let connection = try? await promise.futureResult.get() { await serve(connection) }
        }
    }

    // MARK: Whole answers

    func send(_ answer: Answer, _ exchange: Exchange) {
        guard let context, isOpen else { return }
        var bytes: [UInt8] = []
        if case .bytes(let body) = answer.body { bytes = body }
        let hasBody = answer.status != 204 && answer.status != 304
        // what is left of an unread body is thrown away up to a limit, so the connection may still go on
        var buffer = context.channel.allocator.buffer(capacity: 384 + bytes.count)
        AnswerHead.write(
            status: answer.status, contentType: answer.contentType, fields: answer.fields,
            framing: hasBody ? .length(bytes.count) : .none, closes: !exchange.keepsAlive, to: &buffer)
        if hasBody, exchange.head.method != "HEAD" { buffer.writeBytes(bytes) }
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
        answerEnded(exchange)
    }

    /// A request that cannot be read: the rest of the connection makes no sense.
    func refuse(_ fault: RequestFault) {
        guard let context, isOpen else { return }
        switch phase {
        case .receiving(let exchange), .answering(let exchange), .draining(let exchange, _):
            exchange.pipe?.fail(Fault(.cancelled, fault.message))
            // an answer that has begun cannot be taken back
            guard case .nothing = exchange.sent else { return close() }
            exchange.task?.cancel()
        case .waiting, .handingOver, .closed: break
        }
        let answer = Answer(message: fault.message, status: fault.status)
        guard case .bytes(let bytes) = answer.body else { return close() }
        var buffer = context.channel.allocator.buffer(capacity: 384 + bytes.count)
        AnswerHead.write(
            status: fault.status, contentType: answer.contentType, fields: [], framing: .length(bytes.count), closes: true,
            to: &buffer)
        buffer.writeBytes(bytes)
        context.write(wrapOutboundOut(buffer), promise: nil)
        closeAfterWrites()
    }

    func writeContinue() {
        guard let context else { return }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")), promise: nil)
    }

    // MARK: Streams

    private func beginStream(_ answer: Answer, _ exchange: Exchange) {
        guard let context, isOpen else { return }
        let isChunked = exchange.head.minorVersion == 1
        if !isChunked { exchange.keepsAlive = false }
        exchange.sent = .head(isChunked: isChunked)
        var buffer = context.channel.allocator.buffer(capacity: 384)
        AnswerHead.write(
            status: answer.status, contentType: answer.contentType, fields: answer.fields,
            framing: isChunked ? .chunked : .untilClose, closes: !exchange.keepsAlive, to: &buffer)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    func writePiece(_ bytes: [UInt8], _ promise: EventLoopPromise<Void>) {
        guard let context, let exchange = current, case .head(let isChunked) = exchange.sent else {
            return promise.fail(Fault(.cancelled, "the client went away"))
        }
        var buffer = context.channel.allocator.buffer(capacity: bytes.count + 16)
        if isChunked { buffer.writeString(String(bytes.count, radix: 16) + "\r\n") }
        buffer.writeBytes(bytes)
        if isChunked { buffer.writeString("\r\n") }
        context.writeAndFlush(wrapOutboundOut(buffer), promise: promise)
    }

    private func endStream(_ exchange: Exchange) {
        guard let context, isOpen, case .head(let isChunked) = exchange.sent else { return }
        if isChunked { context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "0\r\n\r\n")), promise: nil) }
        answerEnded(exchange)
    }

    private func breakStream(_ exchange: Exchange, _ error: any Error) {
        if isOpen { log.debug("\(exchange.head.method) \(exchange.head.target) broke off: \(error)") }
        close()
    }

    // MARK: The socket itself

    /// Sends the head, then gives a duplicate of the socket away. The kernel's socket stays as it is: no shutdown(2), and bytes
    /// that were not read are still in it. It is non-blocking; O_NONBLOCK belongs to the open file, which duplicates share.
    private func handOver(_ answer: Answer, _ exchange: Exchange, _ promise: EventLoopPromise<HijackedConnection>) {
        guard let context, isOpen else { return promise.fail(Fault(.cancelled, "the client went away")) }
        phase = .handingOver
        exchange.sent = .all
        exchange.task = nil
        var buffer = context.channel.allocator.buffer(capacity: 384)
        let upgrade = exchange.head.upgrade
        AnswerHead.write(
            status: upgrade == nil ? 200 : 101, contentType: answer.contentType, fields: answer.fields,
            framing: upgrade.map { .upgrade($0) } ?? .untilClose, closes: upgrade == nil, to: &buffer)
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { result in
            switch result {
            case .success: self.giveAway(promise)
            case .failure(let error):
                self.close()
                promise.fail(error)
            }
        }
        context.writeAndFlush(wrapOutboundOut(buffer), promise: written)
    }

    private func giveAway(_ promise: EventLoopPromise<HijackedConnection>) {
        guard let context else { return promise.fail(Fault(.cancelled, "the client went away")) }
        do {
            let copy = try context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
                try Descriptor.duplicate(ofBorrowed: $0).release()
            }
            guard let copy else {
                throw Fault(.system, "this kind of connection has no socket to hand over")
            }
            let closed = context.eventLoop.makePromise(of: Void.self)
            closed.futureResult.assumeIsolated().whenComplete { _ in
                // only now is it certain that nothing more is read here
                promise.succeed(HijackedConnection(owning: copy, early: Array(self.inbound.readableBytesView)))
            }
            context.close(promise: closed)
        } catch {
            log.error("a connection could not be handed over: \(error)")
            context.close(promise: nil)
            promise.fail(error)
        }
    }

    // MARK: Ends

    private var isOpen: Bool {
        switch phase {
        case .waiting, .receiving, .draining, .answering: true
        case .handingOver, .closed: false
        }
    }

    private var current: Exchange? {
        switch phase {
        case .receiving(let exchange), .draining(let exchange, _), .answering(let exchange): exchange
        case .waiting, .handingOver, .closed: nil
        }
    }

    func close() {
        phase = .closed
        context?.close(promise: nil)
    }

    /// What was written goes out first.
    func closeAfterWrites() {
        guard let context else { return }
        phase = .closed
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in self.context?.close(promise: nil) }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: written)
    }
}
