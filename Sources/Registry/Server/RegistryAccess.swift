import HTTP

package enum RepositoryAction: String, Sendable { case pull, push, delete }

/// One thing that a request wants to do.
package enum AccessNeed: Equatable, Sendable {
    case repository(RepositoryName, RepositoryAction)
    /// The list of all repositories.
    case catalog
}

/// Decides who may do what.
package protocol RegistryAccess: Sendable {
    /// Returns where the request may do all of it. Throws 401 with a challenge, or 403, otherwise.
    func check(_ request: ServerRequest, needs: [AccessNeed]) throws
}

/// Everybody may do everything.
package struct OpenAccess: RegistryAccess {
    package init() {}

    package func check(_ request: ServerRequest, needs: [AccessNeed]) {}
}
