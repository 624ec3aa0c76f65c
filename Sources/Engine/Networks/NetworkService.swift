import Model
import Networks

/// The networks that there are: `bridge`, `host` and `none`.
public final class NetworkService: Sendable {
    public func list(_ filters: Filters = Filters()) async throws -> [Docker.NetworkSummary] {
        throw Fault(.unsupported, "not yet")
    }

    /// - Throws: `notFound` (`network x not found`).
    public func inspect(_ reference: String) async throws -> Docker.NetworkInspect { throw Fault(.unsupported, "not yet") }
}
