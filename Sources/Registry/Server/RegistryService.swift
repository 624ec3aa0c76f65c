import HTTP
import JSON
import Linux
import Model

/// The registry's protocol: OCI distribution 1.1 (distribution-spec, spec.md) over a store. Requests come as values and answers leave
/// as values; sockets are HTTP's business.
package final class RegistryService: Sendable {
    let store: RegistryStore
    let policy: RegistryPolicy
    let access: any RegistryAccess
    let mirror: RegistryMirror?

    package init(
        store: RegistryStore, policy: RegistryPolicy = RegistryPolicy(), access: any RegistryAccess = OpenAccess(),
        mirror: RegistryMirror? = nil
    ) {
        self.store = store
        self.policy = policy
        self.access = access
        self.mirror = mirror
    }

    /// The answer to a request; every error is one.
    package func answer(_ request: ServerRequest) -> ServerResponse {
        var response: ServerResponse
        do { response = try route(request) } catch { response = failure(error) }
        response.add("Docker-Distribution-Api-Version", "registry/2.0")
        response.add("X-Content-Type-Options", "nosniff")
        if request.method == "HEAD" {
            switch response.body {
            case .none, .length: break
            case .file(_, _, let count), .stream(let count, _): response.body = .length(count)
            case .bytes(let bytes): response.body = .length(Int64(bytes.count))
            }
        }
        return response
    }

    private func failure(_ error: any Error) -> ServerResponse {
        switch error {
        case let fault as DistributionFault: return fault.response
        case let fault as WireFault:
            // the client's body ended early, stalled or was no HTTP: its own matter, nothing for the log of errors
            var response = DistributionFault(
                fault.kind == .timedOut ? 408 : 400, .blobUploadInvalid, "the request's body: \(fault.message)"
            ).response
            response.closes = true
            return response
        case let fault as KernelFault where fault.isDiskFull:
            return DistributionFault(507, .unavailable, "no space left on the registry's disk").response
        default:
            let fault = Fault(error)
            let id = RandomBytes.hex(4)
            store.log.error("\(fault)", [("id", id)])
            if fault.kind == .unavailable {
                return DistributionFault(503, .unavailable, "the registry cannot do this now (see its log, \(id))").response
            }
            return DistributionFault(500, .unknown, "the registry failed (see its log, \(id))").response
        }
    }

    private func route(_ request: ServerRequest) throws -> ServerResponse {
        let query = RegistryQuery(target: request.target)
        let route = try RegistryRoute(path: query.path)
        let isRead = request.method == "GET" || request.method == "HEAD"
        if route != .health, route != .searchPing {
            try access.check(request, needs: needs(request.method, route, query))
        }
        if !isRead { try checkWriting(request.method, route) }
        switch route {
        case .health: return Self.json { $0.object { _ in } }
        case .base:
            try Self.allow(isRead, "GET, HEAD")
            return Self.json { $0.object { _ in } }
        case .searchPing:
            try Self.allow(isRead, "GET, HEAD")
            return ServerResponse(
                200, [.init("Content-Type", "application/json"), .init("X-Docker-Registry-Standalone", "true")],
                body: .bytes(Array("true".utf8)))
        case .search:
            try Self.allow(isRead, "GET, HEAD")
            return try search(query)
        case .catalog:
            try Self.allow(isRead, "GET, HEAD")
            return try catalog(query)
        case .tags(let name):
            try Self.allow(isRead, "GET, HEAD")
            return try tags(name, query)
        case .referrers(let name, let digest):
            try Self.allow(isRead, "GET, HEAD")
            return try referrers(name, digest, query)
        case .manifest(let name, let reference): return try manifest(request, name, reference)
        case .blob(let name, let digest): return try blob(request, name, digest)
        case .uploads(let name):
            try Self.allow(request.method == "POST", "POST")
            return try beginUpload(request, name, query)
        case .upload(let name, let id): return try upload(request, name, id, query)
        }
    }

    static func allow(_ isAllowed: Bool, _ methods: String) throws {
        if isAllowed { return }
        throw DistributionFault(
            405, .unsupported, "the method is not one of this path's: \(methods)", fields: [.init("Allow", methods)])
    }

    /// What the caller must be allowed to do.
    private func needs(_ method: String, _ route: RegistryRoute, _ query: RegistryQuery) -> [AccessNeed] {
        switch route {
        case .base, .health, .searchPing: return []
        case .catalog, .search: return [.catalog]
        default: break
        }
        guard let name = route.repository else { return [] }
        switch method {
        case "GET", "HEAD":
            if case .upload = route { return [.repository(name, .push)] }
            return [.repository(name, .pull)]
        case "DELETE":
            if case .upload = route { return [.repository(name, .push)] }
            return [.repository(name, .delete)]
        default:
            var needs: [AccessNeed] = [.repository(name, .pull), .repository(name, .push)]
            if let source = query["from"].flatMap(RepositoryName.init), source != name, query["mount"] != nil {
                needs.append(.repository(source, .pull))
            }
            return needs
        }
    }

    private func checkWriting(_ method: String, _ route: RegistryRoute) throws {
        if policy.isReadOnly {
            throw DistributionFault(405, .unsupported, "this registry is read-only: it was started with --read-only")
        }
        if let mirror {
            throw DistributionFault(
                405, .unsupported, "this registry is a mirror of \(mirror.upstream): push there, or to a registry of your own")
        }
        guard method == "DELETE", !policy.allowsDelete else { return }
        if case .upload = route { return }
        throw DistributionFault(405, .unsupported, "this registry deletes nothing: it was started without --delete")
    }

    static func json(_ status: Int = 200, _ body: (inout JSONWriter) -> Void) -> ServerResponse {
        var writer = JSONWriter()
        body(&writer)
        return ServerResponse(status, [.init("Content-Type", "application/json")], body: .bytes(writer.bytes))
    }
}

/// What the owner of the registry has decided.
package struct RegistryPolicy: Sendable {
    package var isReadOnly = false
    package var allowsDelete = false
    /// Manifests without a tag that nothing else names are collected.
    package var deletesUntagged = false

    package init() {}
}

extension KernelFault {
    /// ENOSPC, EDQUOT
    var isDiskFull: Bool { self.errno == 28 || self.errno == 122 }
}
