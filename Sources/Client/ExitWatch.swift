import JSON
import Linux
import Model

/// Waits for a container's exit beside other work. Survives the engine's death: subscribes again with the engine that follows.
public final class ExitWatch {
    private let client: EngineClient
    private let id: String
    private let condition: String
    private var connection: HTTPConnection?
    /// The exit code, once it is known.
    public private(set) var code: Int?
    /// Why it never will be.
    public private(set) var failure: (any Error)?

    /// Sends the subscription; it stands when `subscribed` has returned.
    /// - Parameter condition: `next-exit` or `removed`
    public init(_ client: EngineClient, id: String, condition: String) throws {
        self.client = client
        self.id = id
        self.condition = condition
        connection = try client.begin("POST", "/containers/\(Query.path(id))/wait", Query([("condition", condition)]))
    }

    /// Waits until the engine has the subscription: it sends its answer's head at once.
    public func subscribed() throws {
        guard let connection else { return }
        try client.finishHead(connection)
    }

    public var isOver: Bool { code != nil || failure != nil }
    /// To be polled for reading; nil: `attend` wants to be called again in a moment.
    public var descriptor: CInt? { connection?.descriptor }
    public var hasBuffered: Bool { connection?.hasBuffered ?? false }

    /// Reads the answer that has come, or finds the next engine.
    public func attend() {
        guard !isOver else { return }
        if let connection {
            self.connection = nil
            do { return try take(try connection.readAll()) } catch let fault as Fault where fault.kind == .unavailable {
            } catch let fault as KernelFault
                where SocketCalls.isBrokenPipe(fault)
            {} catch {
                failure = error
                return
            }
        }
        do { try subscribeAgain() } catch let refusal as EngineRefusal where refusal.isNotFound {
            failure = Fault(
                .notFound, "the container \(id.prefix(12)) was removed while the engine was away: its exit status is not known")
        } catch { retries += 1 }
        if retries > 500 { failure = failure ?? Fault(.unavailable, "the engine went away and did not come back") }
    }

    private var retries = 0

    private func take(_ answer: [UInt8]) throws {
        let value = try EngineClient.decode(answer, as: JSONValue.self)
        guard let status = value["StatusCode"]?.int else { throw Fault(.unavailable, "the engine closed the connection") }
        if let message = value["Error"]?["Message"]?.string, !message.isEmpty { failure = Fault(.system, message) }
        code = status
    }

    private func subscribeAgain() throws {
        let state = try client.get("/containers/\(Query.path(id))/json", as: JSONValue.self)["State"]
        if condition != "removed", state?["Running"]?.bool == false, let exit = state?["ExitCode"]?.int {
            code = exit
            return
        }
        let again = condition == "removed" ? "removed" : "not-running"
        let next = try client.begin("POST", "/containers/\(Query.path(id))/wait", Query([("condition", again)]))
        try client.finishHead(next)
        connection = next
    }

    /// Waits here until the exit is known.
    public func wait() throws -> Int {
        while !isOver {
            if descriptor == nil { FileCalls.sleep(milliseconds: 20) }
            attend()
        }
        if let code, failure == nil { return code }
        throw failure ?? Fault(.unavailable, "the engine went away")
    }
}

extension EngineClient {
    /// Reads the head of an answer whose body comes later; a refusal is thrown.
    public func finishHead(_ connection: HTTPConnection) throws {
        let head = try connection.receiveHead()
        if !head.isSuccess { try Self.check(head, try connection.readAll()) }
    }
}
