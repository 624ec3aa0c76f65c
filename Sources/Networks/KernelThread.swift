import Linux
import Model
import State

/// The thread that talks to the kernel about ports and statistics, in the network namespace of whoever made it. What was
/// queued while it worked goes into the kernel as one transaction.
final class KernelThread: Sendable {
    private enum Job: Sendable {
        case change(@Sendable () throws -> Firewall.Change, CheckedContinuation<Void, any Error>)
        case replace([PublishedPort], CheckedContinuation<Void, any Error>)
        case mend(FirewallWatch.News, @Sendable (Result<Bool, any Error>) -> Void)
        case audit(CheckedContinuation<[PortAudit], any Error>)
        case forwarding(CheckedContinuation<[ForwardDefault], Never>)
        case perform(@Sendable (NetlinkSocket?) -> Void)
        case statistics(String, CheckedContinuation<LinkStatistics?, Never>)
        case rediscover(ObjectID, Int32, NetworkRecord, CheckedContinuation<SandboxRecord?, Never>)
        case end(CheckedContinuation<Void, Never>)
    }

    private let jobs = NetlinkQueue<Job>()

    /// The firewall is the thread's from here on.
    init(_ firewall: sending Firewall?) throws {
        let box = Handover(firewall)
        try startThread { [self] in
            let firewall = box.take()
            let route = try? NetlinkSocket(.route)
            while let batch = jobs.takeAll() { run(batch, firewall, route) }
        }
    }

    /// Runs `prepare` on the thread and applies what it answers.
    func change(_ prepare: @escaping @Sendable () throws -> Firewall.Change) async throws {
        try await withCheckedThrowingContinuation { continuation in
            if !jobs.put(.change(prepare, continuation)) { continuation.resume(throwing: Self.closed) }
        }
    }

    func replace(_ ports: [PublishedPort]) async throws {
        try await withCheckedThrowingContinuation { continuation in
            if !jobs.put(.replace(ports, continuation)) { continuation.resume(throwing: Self.closed) }
        }
    }

    /// Runs `body` on the thread, in the host's network namespace, with a conversation about links.
    func perform<T: Sendable>(_ body: @escaping @Sendable (NetlinkSocket) throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let job = Job.perform { socket in
                continuation.resume(
                    with: Result {
                        guard let socket else {
                            throw Fault(.system, "no netlink socket could be made when the engine started")
                        }
                        return try body(socket)
                    })
            }
            if !jobs.put(job) { continuation.resume(throwing: Self.closed) }
        }
    }

    /// Puts the table back where it is not whole, and judges by the host's rules as they are now; tells on the thread whether
    /// something of ours was gone.
    func mend(_ news: FirewallWatch.News, _ told: @escaping @Sendable (Result<Bool, any Error>) -> Void) {
        jobs.put(.mend(news, told))
    }

    /// Who reaches each published port.
    func audit() async throws -> [PortAudit] {
        try await withCheckedThrowingContinuation { continuation in
            if !jobs.put(.audit(continuation)) { continuation.resume(throwing: Self.closed) }
        }
    }

    func forwarding() async -> [ForwardDefault] {
        await withCheckedContinuation { continuation in
            if !jobs.put(.forwarding(continuation)) { continuation.resume(returning: []) }
        }
    }

    func statistics(of link: String) async -> LinkStatistics? {
        await withCheckedContinuation { continuation in
            if !jobs.put(.statistics(link, continuation)) { continuation.resume(returning: nil) }
        }
    }

    func rediscover(_ id: ObjectID, pid: Int32, network: NetworkRecord) async -> SandboxRecord? {
        await withCheckedContinuation { continuation in
            if !jobs.put(.rediscover(id, pid, network, continuation)) { continuation.resume(returning: nil) }
        }
    }

    /// Returns when everything queued before is done.
    func close() async {
        await withCheckedContinuation { continuation in
            if !jobs.put(.end(continuation)) { continuation.resume() }
            jobs.close()
        }
    }

    private static let closed = Fault(.unavailable, "the engine is shutting down")

    private func run(_ batch: [Job], _ firewall: Firewall?, _ route: NetlinkSocket?) {
        var changes: [Firewall.Change] = []
        var waiting: [CheckedContinuation<Void, any Error>] = []
        func flush() {
            apply(changes, waiting, firewall)
            changes = []
            waiting = []
        }
        for job in batch {
            if case .change(let prepare, let continuation) = job {
                do {
                    changes.append(try prepare())
                    waiting.append(continuation)
                } catch {
                    continuation.resume(throwing: error)
                }
                continue
            }
            flush()
            switch job {
            case .change: break
            case .replace(let ports, let continuation):
                continuation.resume(with: Result { try firewall?.replace(ports) })
            case .mend(let news, let told):
                told(
                    Result {
                        let isMended = try news.isLost && firewall?.mend() ?? false
                        if news.isOthers { try firewall?.follow() }
                        return isMended
                    })
            case .audit(let continuation): continuation.resume(with: Result { try firewall?.audit() ?? [] })
            case .forwarding(let continuation): continuation.resume(returning: firewall?.forwarding ?? [])
            case .perform(let body): body(route)
            case .statistics(let link, let continuation):
                continuation.resume(returning: try? route?.link(named: link)?.statistics)
            case .rediscover(let id, let pid, let network, let continuation):
                continuation.resume(
                    returning: route.flatMap {
                        SandboxRediscovery.record(id, pid: pid, network: network, firewall: firewall, route: $0)
                    })
            case .end(let continuation): continuation.resume()
            }
        }
        flush()
    }

    private func apply(
        _ changes: [Firewall.Change], _ waiting: [CheckedContinuation<Void, any Error>], _ firewall: Firewall?
    ) {
        guard let firewall, !changes.isEmpty else {
            for continuation in waiting { continuation.resume() }
            return
        }
        if changes.count > 1, (try? firewall.apply(changes)) != nil {
            for continuation in waiting { continuation.resume() }
            return
        }
        // One by one, so that a fault reaches only the one that it is about.
        for (change, continuation) in zip(changes, waiting) {
            continuation.resume(with: Result { try firewall.apply([change]) })
        }
    }
}

/// Carries a value that is not Sendable into the one thread that uses it from then on.
///
/// Unchecked: put once before the thread starts, taken once by it.
final class Handover<Value>: @unchecked Sendable {
    private var value: Value?
    init(_ value: sending Value?) { self.value = value }
    func take() -> Value? {
        defer { value = nil }
        return value
    }
}
