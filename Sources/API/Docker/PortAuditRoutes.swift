import Engine
import JSON
import Model

extension Router<Route> {
    /// Our own. `GET /skiff/v1/ports/audit`: every published port, who reaches it, and which rule of the host decides.
    /// `GET /skiff/v1/ports/forwarding`: chains of the host that drop by default what is forwarded, and the rules added there.
    mutating func addPortAudit(_ ready: @escaping Ready) {
        get("/skiff/v1/ports/audit") { _ in .json(try await ready().networks.auditPorts()) }
        get("/skiff/v1/ports/forwarding") { _ in .json(try await ready().networks.forwarding()) }
    }
}
