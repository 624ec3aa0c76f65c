import Linux
import Model
import Synchronization

/// What is prepared ahead.
enum SandboxKind: Sendable, Hashable {
    /// On the default bridge.
    case bridge
    /// Loopback only.
    case none
}

/// Sandboxes prepared ahead, and the threads that make them. A request that finds one ready takes no system call.
final class SandboxPool: Sendable {
    private struct Shelf {
        var ready: [PreparedSandbox] = []
        var waiting: [CheckedContinuation<PreparedSandbox, any Error>] = []
        /// Ordered for the shelf, and for those who wait.
        var refilling = 0
        var making = 0
        var capacity: Int
    }

    private struct Content {
        var bridged: Shelf
        var bare: Shelf
        var addresses: AddressPool
        var isClosed = false

        subscript(kind: SandboxKind) -> Shelf {
            get { kind == .bridge ? bridged : bare }
            set { if kind == .bridge { bridged = newValue } else { bare = newValue } }
        }
    }

    private enum Task: Sendable {
        case make(SandboxKind)
        /// With wishes: never from the shelf. The address is taken already.
        case special(IPv4Address, MACAddress, CheckedContinuation<PreparedSandbox, any Error>)
    }

    private let content: Mutex<Content>
    private let tasks = NetlinkQueue<Task>()
    private let refills = NetlinkQueue<SandboxKind>()
    private let warn: @Sendable (String) -> Void

    /// Starts the threads. Nothing is made before the first `fill` or `take`.
    init(_ bridge: BridgeNetwork, _ configuration: NetworksConfiguration, warn: @escaping @Sendable (String) -> Void) throws {
        self.warn = warn
        content = Mutex(
            Content(
                bridged: Shelf(capacity: configuration.warmBridged), bare: Shelf(capacity: configuration.warmBare),
                addresses: AddressPool(subnet: bridge.subnet, gateway: bridge.gateway)))
        let keepsShelf = configuration.warmBridged > 1
        for _ in 0..<2 {
            try startThread { [self] in
                do {
                    let maker = try SandboxMaker(bridge, keepsShelf: keepsShelf)
                    while let task = tasks.take() { run(task, maker) }
                } catch {
                    while let task = tasks.take() { fail(task, error) }
                }
            }
        }
        try startThread { [self] in
            guard let maker = try? SandboxMaker(bridge, keepsShelf: keepsShelf) else { return }
            while let kind = refills.take() { refill(kind, maker) }
        }
    }

    /// Addresses of sandboxes that live.
    func restore(_ addresses: [IPv4Address]) {
        content.withLock { content in for address in addresses { content.addresses.restore(address) } }
    }

    /// Begins to prepare ahead.
    func fill() {
        content.withLock { content in for kind in [.bridge, .none] as [SandboxKind] { order(kind, &content) } }
    }

    func free(_ address: IPv4Address) { content.withLock { $0.addresses.free(address) } }

    /// The next sandbox of a kind, from the shelf or newly made.
    func take(_ kind: SandboxKind) async throws -> PreparedSandbox {
        if let ready = content.withLock({ content in pop(kind, &content) }) { return ready }
        return try await withCheckedThrowingContinuation { continuation in
            let ready: Result<PreparedSandbox, any Error>? = content.withLock { content in
                if content.isClosed { return .failure(Self.closed) }
                if let ready = pop(kind, &content) { return .success(ready) }
                content[kind].waiting.append(continuation)
                order(kind, &content)
                return nil
            }
            if let ready { continuation.resume(with: ready) }
        }
    }

    /// One with an address or MAC of the caller's choice.
    func take(address: IPv4Address?, mac: MACAddress?) async throws -> PreparedSandbox {
        let wish: (address: IPv4Address, ready: PreparedSandbox?) = try content.withLock { content in
            guard let address else { return (try content.addresses.take(), nil) }
            // It may be prepared already, for whoever comes.
            if let index = content.bridged.ready.firstIndex(where: { $0.interface?.address == address }) {
                let ready = content.bridged.ready.remove(at: index)
                order(.bridge, &content)
                return (address, mac.map { $0 == ready.interface?.mac } ?? true ? ready : nil)
            }
            try content.addresses.take(address)
            return (address, nil)
        }
        if let ready = wish.ready { return ready }
        let address = wish.address
        return try await withCheckedThrowingContinuation { continuation in
            if !tasks.put(.special(address, mac ?? MACAddress(of: address), continuation)) {
                continuation.resume(throwing: Self.closed)
            }
        }
    }

    /// Puts an untouched one back.
    func giveBack(_ sandbox: PreparedSandbox) { deliver(sandbox, kind: sandbox.interface == nil ? .none : .bridge) }

    /// Ends the threads; what is on the shelves dies.
    func close() {
        tasks.close()
        refills.close()
        let waiting = content.withLock { content in
            content.isClosed = true
            let waiting = content.bridged.waiting + content.bare.waiting
            content.bridged = Shelf(capacity: 0)
            content.bare = Shelf(capacity: 0)
            return waiting
        }
        for continuation in waiting { continuation.resume(throwing: Self.closed) }
    }

    private static let closed = Fault(.unavailable, "the engine is shutting down")

    private func pop(_ kind: SandboxKind, _ content: inout Content) -> PreparedSandbox? {
        if content[kind].ready.isEmpty { return nil }
        let ready = content[kind].ready.removeFirst()
        order(kind, &content)
        return ready
    }

    /// Orders as many as shelf and waiting requests need beyond what is under way.
    private func order(_ kind: SandboxKind, _ content: inout Content) {
        let shelf = content[kind]
        for _ in 0..<max(0, shelf.waiting.count - shelf.making) where tasks.put(.make(kind)) { content[kind].making += 1 }
        for _ in 0..<max(0, shelf.capacity - shelf.ready.count - shelf.refilling) where refills.put(kind) {
            content[kind].refilling += 1
        }
    }

    /// Making a namespace keeps a processor busy in the kernel for a millisecond or two; while enough are left, that waits
    /// until the container that took the last one has started.
    private func refill(_ kind: SandboxKind, _ maker: SandboxMaker) {
        let isPlenty = content.withLock { $0[kind].ready.count > $0[kind].capacity / 2 }
        if isPlenty { NetClock.sleep(milliseconds: 10) }
        let result = Result { try make(kind, maker) }
        content.withLock { $0[kind].refilling -= 1 }
        switch result {
        case .success(let sandbox): deliver(sandbox, kind: kind)
        case .failure(let error): refuse(kind, error)
        }
    }

    private func run(_ task: Task, _ maker: SandboxMaker) {
        switch task {
        case .make(let kind):
            let result = Result { try make(kind, maker) }
            content.withLock { $0[kind].making -= 1 }
            switch result {
            case .success(let sandbox): deliver(sandbox, kind: kind)
            case .failure(let error): refuse(kind, error)
            }
        case .special(let address, let mac, let continuation):
            do {
                continuation.resume(returning: try makeSpecial(address, mac, maker))
            } catch {
                free(address)
                continuation.resume(throwing: Fault(.system, "cannot prepare a network namespace", cause: error))
            }
        }
    }

    /// The last owner's link may be dying still; the kernel needs some tens of milliseconds for that.
    private func makeSpecial(_ address: IPv4Address, _ mac: MACAddress, _ maker: SandboxMaker) throws -> PreparedSandbox {
        for _ in 0..<200 {
            do {
                return try maker.makeBridged(address, mac: mac)
            } catch let fault as KernelFault where fault.isAlreadyThere {
                NetClock.sleep(milliseconds: 10)
            }
        }
        throw Fault(.unavailable, "address \(address) still has a link on the bridge", subject: address.description)
    }

    private func fail(_ task: Task, _ error: any Error) {
        switch task {
        case .make(let kind):
            content.withLock { $0[kind].making -= 1 }
            refuse(kind, error)
        case .special(let address, _, let continuation):
            free(address)
            continuation.resume(throwing: Fault(.system, "cannot prepare a network namespace", cause: error))
        }
    }

    private func make(_ kind: SandboxKind, _ maker: SandboxMaker) throws -> PreparedSandbox {
        if kind == .none { return try maker.makeBare() }
        // A link that a dying sandbox still has makes its address unusable for the moment.
        for _ in 0..<512 {
            let address = try content.withLock { try $0.addresses.take() }
            do {
                return try maker.makeBridged(address, mac: MACAddress(of: address))
            } catch let fault as KernelFault where fault.isAlreadyThere {
                free(address)
            } catch {
                free(address)
                throw error
            }
        }
        throw Fault(.unavailable, "every address that was tried still has a link on the bridge")
    }

    private func deliver(_ sandbox: PreparedSandbox, kind: SandboxKind) {
        let continuation = content.withLock { content -> CheckedContinuation<PreparedSandbox, any Error>? in
            if !content[kind].waiting.isEmpty { return content[kind].waiting.removeFirst() }
            if !content.isClosed { content[kind].ready.append(sandbox) }
            return nil
        }
        continuation?.resume(returning: sandbox)
    }

    /// The request that has waited longest gets the fault; without one it is a warning. The next `take` tries again.
    private func refuse(_ kind: SandboxKind, _ error: any Error) {
        let continuation = content.withLock { content in
            content[kind].waiting.isEmpty ? nil : content[kind].waiting.removeFirst()
        }
        if let continuation {
            continuation.resume(throwing: Fault(.system, "cannot prepare a network namespace", cause: error))
        } else {
            warn("cannot prepare a network namespace ahead: \(error)")
        }
    }
}
