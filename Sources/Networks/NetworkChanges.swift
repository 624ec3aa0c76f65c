import Linux
import Model

extension SandboxService {
    /// Success means: the network's links and rules are there, and its record survives a power cut. A fault leaves nothing behind.
    /// - Throws: `conflict` when the name or an address range is taken, `invalid` for wishes that do not fit.
    public func create(_ spec: NetworkSpec, by caller: Caller) async throws -> NetworkRecord {
        throw Fault(.unsupported, "networks of the user's own are not supported by this engine yet", subject: spec.name)
    }

    /// Success means: name, addresses and links are free again.
    /// - Throws: `forbidden` for the predefined ones, `conflict` while sandboxes are attached.
    public func remove(_ id: ObjectID, by caller: Caller) async throws {
        throw Fault(.unsupported, "networks of the user's own are not supported by this engine yet", subject: id.text)
    }

    /// Attaches a living sandbox to one more network: the interface is there, with address and routes, when this returns.
    /// - Parameter namespace: borrowed; the sandbox's network namespace.
    /// - Throws: `conflict` when it is attached already.
    public func connect(_ sandbox: ObjectID, namespace: CInt, _ request: AttachmentRequest) async throws -> SandboxRecord {
        throw Fault(.unsupported, "networks of the user's own are not supported by this engine yet", subject: sandbox.text)
    }

    /// Takes a living sandbox out of a network: interface, address and the ports that led there are gone when this returns.
    public func disconnect(_ sandbox: ObjectID, namespace: CInt, from network: ObjectID) async throws -> SandboxRecord {
        throw Fault(.unsupported, "networks of the user's own are not supported by this engine yet", subject: sandbox.text)
    }
}
