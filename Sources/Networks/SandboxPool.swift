import Linux
import Model
import Synchronization

/// Sandboxes prepared ahead, and the threads that make and change them. A request that finds one ready takes no system call.
final class SandboxPool: Sendable {
    /// What is prepared ahead: on the default network, or with loopback only, where others are attached when they are wanted.
    enum Kind: Sendable, Hashable { case bridge, none }

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
        var isClosed = false

        subscript(kind: Kind) -> Shelf {
            get { kind == .bridge ? bridged : bare }
            set { if kind == .bridge { bridged = newValue } else { bare = newValue } }
        }
    }

    private enum Work: Sendable {
        case make(Kind)
        /// Anything else that a maker does; on a fault there is none.
        case visit(@Sendable (Result<SandboxMaker, any Error>) -> Void)
    }

    private let bridge: NetworkStand
    private let addressWatch: AddressWatch?
    private let content: Mutex<Content>
    private let tasks = NetlinkQueue<Work>()
    private let refills = NetlinkQueue<Kind>()
    private let warn: @Sendable (String) -> Void

    /// Starts the threads. Nothing is made before the first `fill` or `take`.
    init(
        _ bridge: NetworkStand, _ configuration: NetworksConfiguration, watchman: BridgeGuard?, detour: BridgeDetour,
        addressWatch: AddressWatch?, warn: @escaping @Sendable (String) -> Void
    ) throws {
        self.warn = warn
        self.bridge = bridge
        self.addressWatch = addressWatch
        content = Mutex(
            Content(
                bridged: Shelf(capacity: configuration.warmBridged), bare: Shelf(capacity: configuration.warmBare)))
        for _ in 0..<2 {
            try startThread { [self] in
                let maker = Result { try SandboxMaker(watchman, detour) }
                while let work = tasks.take() { run(work, maker) }
            }
        }
        try startThread { [self] in
            guard let maker = try? SandboxMaker(watchman, detour) else { return }
            while let kind = refills.take() { refill(kind, maker) }
        }
    }

    /// Begins to prepare ahead.
    func fill() {
        content.withLock { content in for kind in [.bridge, .none] as [Kind] { order(kind, &content) } }
    }

    /// The next sandbox of a kind, from the shelf or newly made.
    func take(_ kind: Kind) async throws -> PreparedSandbox {
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

    /// The one that is prepared with this address of the default network, if there is one.
    func takePrepared(_ address: IPv4Address) -> PreparedSandbox? {
        content.withLock { content in
            guard let index = content.bridged.ready.firstIndex(where: { $0.endpoint?.ipv4?.address == address }) else {
                return nil
            }
            let ready = content.bridged.ready.remove(at: index)
            order(.bridge, &content)
            return ready
        }
    }

    /// Runs `body` on a thread that may visit namespaces. Faults of the kernel that say that an address's link is still there
    /// (its last owner is dying, which takes the kernel some tens of milliseconds) are tried again for two seconds.
    func visit<T: Sendable>(_ body: @escaping @Sendable (SandboxMaker) throws -> T) async throws -> T {
        for _ in 0..<200 {
            do { return try await visitOnce(body) } catch let fault as KernelFault where fault.isAlreadyThere {
                try await Task.sleep(for: .milliseconds(10))
            }
        }
        return try await visitOnce(body)
    }

    private func visitOnce<T: Sendable>(_ body: @escaping @Sendable (SandboxMaker) throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let isTaken = tasks.put(.visit { maker in continuation.resume(with: Result { try body(maker.get()) }) })
            if !isTaken { continuation.resume(throwing: Self.closed) }
        }
    }

    /// Puts an untouched one back.
    func giveBack(_ sandbox: PreparedSandbox, _ kind: Kind) { deliver(sandbox, kind: kind) }

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

    private func pop(_ kind: Kind, _ content: inout Content) -> PreparedSandbox? {
        defer { order(kind, &content) }
        while !content[kind].ready.isEmpty {
            let ready = content[kind].ready.removeFirst()
            // Found out since it was prepared: somebody else has its address.
            guard let endpoint = ready.endpoint, let address = endpoint.ipv4?.address, bridge.isClaimed(address) else {
                return ready
            }
            bridge.free(endpoint)
        }
        return nil
    }

    /// Orders as many as shelf and waiting requests need beyond what is under way.
    private func order(_ kind: Kind, _ content: inout Content) {
        let shelf = content[kind]
        for _ in 0..<max(0, shelf.waiting.count - shelf.making) where tasks.put(.make(kind)) { content[kind].making += 1 }
        for _ in 0..<max(0, shelf.capacity - shelf.ready.count - shelf.refilling) where refills.put(kind) {
            content[kind].refilling += 1
        }
    }

    /// Making a namespace keeps a processor busy in the kernel for a millisecond or two; while enough are left, that waits
    /// until the container that took the last one has started.
    private func refill(_ kind: Kind, _ maker: SandboxMaker) {
        let isPlenty = content.withLock { $0[kind].ready.count > $0[kind].capacity / 2 }
        if isPlenty { NetClock.sleep(milliseconds: 10) }
        let result = Result { try make(kind, maker) }
        content.withLock { $0[kind].refilling -= 1 }
        switch result {
        case .success(let sandbox): deliver(sandbox, kind: kind)
        case .failure(let error): refuse(kind, error)
        }
    }

    private func run(_ work: Work, _ maker: Result<SandboxMaker, any Error>) {
        switch work {
        case .make(let kind):
            let result = Result { try make(kind, maker.get()) }
            content.withLock { $0[kind].making -= 1 }
            switch result {
            case .success(let sandbox): deliver(sandbox, kind: kind)
            case .failure(let error): refuse(kind, error)
            }
        case .visit(let body): body(maker)
        }
    }

    private func make(_ kind: Kind, _ maker: SandboxMaker) throws -> PreparedSandbox {
        if kind == .none { return try maker.makeBare() }
        // A link that a dying sandbox still has makes its address unusable for the moment.
        for _ in 0..<512 {
            var endpoint = try bridge.endpoint()
            endpoint.interface = bridge.record.interfaceName(0)
            do {
                let sandbox = try maker.make(endpoint, on: bridge)
                addressWatch?.look(bridge, endpoint)
                return sandbox
            } catch let fault as KernelFault where fault.isAlreadyThere {
                bridge.free(endpoint)
            } catch {
                bridge.free(endpoint)
                throw error
            }
        }
        throw Fault(.unavailable, "every address that was tried still has a link on the bridge")
    }

    private func deliver(_ sandbox: PreparedSandbox, kind: Kind) {
        let continuation = content.withLock { content -> CheckedContinuation<PreparedSandbox, any Error>? in
            if !content[kind].waiting.isEmpty { return content[kind].waiting.removeFirst() }
            if !content.isClosed { content[kind].ready.append(sandbox) }
            return nil
        }
        continuation?.resume(returning: sandbox)
    }

    /// The request that has waited longest gets the fault; without one it is a warning. The next `take` tries again.
    private func refuse(_ kind: Kind, _ error: any Error) {
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

extension NetworkRecord {
    /// `eth0`, or what the network's prefix makes of it.
    func interfaceName(_ number: Int) -> String { (interfacePrefix ?? "eth") + String(number) }
}
