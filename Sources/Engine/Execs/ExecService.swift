import Model

/// Further processes in running containers.
public final class ExecService: Sendable {
    /// Success means that the exec can be started; nothing runs yet.
    /// - Throws: `notFound` (`No such container: x`), `conflict` where it does not run or is paused.
    public func create(container reference: String, _ config: Docker.ExecConfig, caller: Caller) async throws
        -> Docker.IDResponse
    { throw Fault(.unsupported, "not yet") }

    /// Detached start: success means that the process has been executed.
    public func start(_ id: String, _ config: Docker.ExecStartConfig, caller: Caller) async throws {
        throw Fault(.unsupported, "not yet")
    }

    /// Attached start: checks what can be refused; the offer then takes the connection over and starts the process. A command
    /// that cannot be executed is told in the stream, and by `inspect` as exit code 126 or 127.
    public func startAttached(_ id: String, _ config: Docker.ExecStartConfig, caller: Caller) async throws -> HijackOffer {
        throw Fault(.unsupported, "not yet")
    }

    public func inspect(_ id: String) async throws -> Docker.ExecInspectResponse { throw Fault(.unsupported, "not yet") }

    public func resize(_ id: String, width: Int, height: Int, caller: Caller) async throws {
        throw Fault(.unsupported, "not yet")
    }
}
