import Images
import Logging
import Model
import Networks
import State

/// What the services of one engine share. Constructed once; nothing in it owns a container's process.
struct EngineCore: Sendable {
    let configuration: EngineConfiguration
    let database: Database
    let images: ImageStore
    let sandboxes: SandboxService
    let names: NamesService
    let reactor: ShimReactor
    let pool: BlockingPool
    let background: BlockingPool
    let registry: ContainerRegistry
    let events: EventService
    let execs: ExecTable
    let accounts: AccountCache
    let log: Logger
    let bootID: String
    /// Fulfilled when the sandboxes of living containers are known: nothing is started before.
    let ready = Promise<Void>()
    /// Fulfilled when the default profile is loaded, or cannot be.
    let apparmor = Promise<AppArmorStanding>()

    var layout: Layout { configuration.layout }
    var launcher: ShimLauncher { ShimLauncher(layout: layout, runtimeBinary: configuration.runtimeBinary) }
}
