import Engine

/// Every route of the API over an engine.
public func engineRoutes(_ services: @escaping @Sendable () async throws -> Services) -> Router<Route> {
    var router = Router<Route>()
    router.addSystem(services)
    router.addCheck(services)
    router.addContainers(services)
    router.addContainerStreams(services)
    router.addExecs(services)
    router.addImages(services)
    router.addVolumes(services)
    router.addNetworks(services)
    router.addPortAudit(services)
    router.addUnbuilt()
    return router
}

/// The engine, as soon as it is ready to serve.
typealias Ready = @Sendable () async throws -> Services
