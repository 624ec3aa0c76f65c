import Linux
import Model
import Names

/// What the link's thread does: it alone talks with the process.
final class NamesConversation {
    private let link: NamesLink
    private var connection: Descriptor?
    /// Whose sockets the process has.
    private var served: Set<ObjectID> = []
    private var serial: UInt64 = 0
    /// What the process holds beyond our wishes is removed once these are complete.
    private var isComplete = false
    private var retryTime: Int64?
    /// When the process that is there now was found or started.
    private var lastStart: Int64 = 0
    private var quickDeaths = 0
    /// Of the process, where this engine has started it.
    private var pidfd: SharedDescriptor?

    /// So long the process may take for an answer.
    private static let patience: CInt = 3_000

    init(_ link: NamesLink) { self.link = link }

    func run() {
        while true {
            wait()
            let jobs = link.content.withLock { content in
                defer { content.jobs = [] }
                return content.jobs
            }
            for job in jobs where !perform(job) { return }
        }
    }

    private func wait() {
        var entries = [PollEntry(link.bell.raw)]
        if let raw = connection?.raw { entries.append(PollEntry(raw)) }
        let left = retryTime.map { CInt(clamping: max(0, $0 - Clock.monotonic) / 1_000_000 + 1) }
        _ = try? Polling.wait(&entries, milliseconds: left ?? -1)
        link.bell.silence()
        // Nothing is under way, so what can be read is the connection's end
        if entries.count > 1, entries[1].hasInput || entries[1].isHungUp {
            connection = nil
            link.warn("the process that answers the containers' names has ended: it is started again")
            revive()
        } else if let retryTime, Clock.monotonic >= retryTime {
            revive()
        }
    }

    /// False when the thread is to end.
    private func perform(_ job: NamesLink.Job) -> Bool {
        switch job {
        case .put(let id, let continuation): continuation.resume(with: Result { try put(id) })
        case .remove(let id, let continuation):
            served.remove(id)
            if connection != nil { _ = try? ask(.remove(id)) }
            continuation?.resume()
        case .reconcile(let continuation):
            isComplete = true
            continuation.resume(with: Result { try reconcile() })
        case .end(let process, let continuation):
            let isIdle = isComplete && link.content.withLock { $0.wanted.isEmpty }
            if process || isIdle, connection != nil || connectToLiving() { _ = try? ask(.end) }
            connection = nil
            // With our copies of the sockets
            link.content.withLock { $0.wanted = [:] }
            continuation.resume()
            return false
        }
        return true
    }

    private func put(_ id: ObjectID) throws {
        guard let entry = link.content.withLock({ $0.wanted[id] }) else { return }
        if connection != nil {
            do { return try send(entry) } catch is KernelFault { connection = nil }
        }
        try connect()
        try replay(from: id)
    }

    /// Without a process and without sandboxes there is nothing to do.
    private func reconcile() throws {
        if connection == nil, link.content.withLock({ $0.wanted.isEmpty }) {
            guard connectToLiving() else { return }
        } else if connection == nil {
            try connect()
        }
        try replay(from: nil)
    }

    /// The process has died: a new one, with everything that the last one had.
    private func revive() {
        retryTime = nil
        served = []
        guard !link.content.withLock({ $0.wanted.isEmpty }) else { return }
        for attempt in 1...Self.revivals {
            do {
                try connect()
                return try replay(from: nil)
            } catch {
                // One that died again while it was told everything is followed by the next at once
                if error is KernelFault, connection == nil, attempt < Self.revivals { continue }
                connection = nil
                link.warn("the containers' names are not answered at the moment: \(Fault(error))")
                retryTime = Clock.monotonic + 1_000_000_000
                return
            }
        }
    }

    private static let revivals = 4

    /// Tells the process everything. A sandbox that has gone meanwhile does not stand in the way of the others; `id`'s faults
    /// are the caller's.
    private func replay(from id: ObjectID?) throws {
        let entries = link.content.withLock { $0.wanted }
        for stranger in served where isComplete && entries[stranger] == nil {
            _ = try ask(.remove(stranger))
            served.remove(stranger)
        }
        for (key, entry) in entries {
            do { try send(entry) } catch {
                if connection == nil || key == id { throw error }
                link.warn("names are not answered in sandbox \(key.short): \(Fault(error))")
            }
        }
    }

    private func send(_ entry: NamesLink.Entry) throws {
        let id = entry.record.id
        if served.contains(id) {
            _ = try ask(.put(entry.record))
            return
        }
        let sockets = try sockets(of: entry)
        _ = try ask(.put(entry.record), sockets.descriptors)
        served.insert(id)
        link.content.withLock { $0.wanted[id]?.sockets = sockets }
    }

    private func sockets(of entry: NamesLink.Entry) throws -> NamesSockets {
        let servers = entry.record.innerServers
        if let made = entry.sockets, made.inner.count == 2 * servers.count { return made }
        let sockets: NamesSockets
        do {
            let namespace = try entry.door()
            sockets = try NamesSockets.open(
                in: namespace.raw, made: entry.sockets, servers: servers, isRenewal: entry.isRestored)
        } catch {
            throw Fault(.system, "cannot make the sockets for a container's names", cause: error)
        }
        if entry.sockets == nil, let obstacle = sockets.obstacle {
            link.warn("programs in containers on networks of users cannot have port 53 of all addresses: \(obstacle)")
        }
        return sockets
    }

    /// One question, one answer. After a KernelFault the connection is gone.
    private func ask(_ action: NamesRequest.Action, _ descriptors: [CInt] = []) throws -> NamesAnswer {
        guard let raw = connection?.raw else { throw KernelFault("send", errno: 32) }
        do {
            serial += 1
            guard try SeqPacket.send(NamesRequest(serial: serial, action: action).json, descriptors: descriptors, on: raw)
            else {
                throw KernelFault("sendmsg", errno: 11)
            }
            var entries = [PollEntry(raw)]
            guard try Polling.wait(&entries, milliseconds: Self.patience) > 0 else { throw KernelFault("poll", errno: 110) }
            guard case .message(let bytes, _) = try SeqPacket.receive(on: raw), let answer = try? NamesAnswer(json: bytes),
                answer.serial == serial
            else { throw KernelFault("recvmsg", errno: 104) }
            if let fault = answer.fault { throw Fault(.system, "the process that holds the names: \(fault)") }
            return answer
        } catch let fault as KernelFault {
            connection = nil
            served = []
            // One that does not answer would go on taking what is asked on the same sockets
            if fault.call == "poll", let pidfd { try? Processes.signal(pidfd: pidfd.raw, Signals.kill) }
            throw fault
        }
    }
}

// MARK: Finding and starting the process

extension NamesConversation {
    /// True when a process is there that speaks our protocol; `served` is what it says then.
    private func connectToLiving() -> Bool {
        connection = try? SeqPacket.connect(to: link.settings.socket)
        if connection == nil { return false }
        do {
            let answer = try ask(.list)
            guard answer.version == NamesAnswer.currentVersion else {
                // Of another engine's version: its sockets are made anew for a process of ours
                _ = try? ask(.end)
                connection = nil
                return false
            }
            served = Set(answer.serving)
            return true
        } catch {
            connection = nil
            return false
        }
    }

    private func connect() throws {
        if connection != nil || connectToLiving() { return }
        // One that dies as soon as it runs is not started a thousand times a second: a query may be what kills it
        quickDeaths = Clock.monotonic - lastStart < Self.quickDeath ? min(quickDeaths + 1, 7) : 0
        if quickDeaths > 2 { NetClock.sleep(milliseconds: 10 << quickDeaths) }
        defer { lastStart = Clock.monotonic }
        do { try start() } catch {
            throw Fault(.system, "cannot start the process that answers the containers' names", cause: error)
        }
        guard connectToLiving() else {
            throw Fault(
                .system, "the process that answers the containers' names does not answer: see \(link.settings.log)")
        }
    }

    /// A process that lives longer has died of something else than its start.
    private static let quickDeath: Int64 = 200_000_000

    private func start() throws {
        let settings = link.settings
        let listener = try SeqPacket.listen(at: settings.socket)
        let null = try Files.open("/dev/null", .readWrite)
        let log = try Files.open(settings.log, [.writeOnly, .create, .truncate], mode: 0o600)
        var arguments = ["skiff-runtime", "names", "--owner", String(Processes.userID), "--path", settings.socket]
        if let user = settings.user { arguments += ["--user", String(user)] }
        if settings.resolvConf != "/etc/resolv.conf" { arguments += ["--resolv-conf", settings.resolvConf] }
        let pid = try spawn(
            SpawnRequest(
                path: settings.program, arguments: arguments, environment: [],
                descriptors: [null.raw, null.raw, log.raw, listener.raw]))
        pidfd = try? SharedDescriptor(Processes.open(pid))
        link.reap(pid)
        // Ours is closed here: when the process dies, nobody listens
    }
}
