import Images
import Model
import Networks
import State

/// Containers by name: what clients ask for.
///
/// A reference is a name (with or without a leading slash), an id, or an unambiguous beginning of an id. Unknown ones throw
/// `notFound` with docker's `No such container: x`. Looking (`list`, `inspect`, `logs` …) reads snapshots and never waits for
/// a container that is stuck; changing goes through the container's own queue, and to its end though the client has gone.
public final class ContainerService: Sendable {
    let core: EngineCore

    init(_ core: EngineCore) { self.core = core }

    // MARK: Making

    /// Makes a container. Success means that its record survives: a power cut too, unless HostConfig.AutoRemove is set.
    /// - Parameter name: nil or empty gives it two random words.
    /// - Throws: `conflict` when the name is taken, `notFound` (`No such image: x`), `invalid` for a wish that makes no sense.
    public func create(
        _ request: Docker.ContainerCreateRequest, name: String?, platform: String? = nil, caller: Caller
    ) async throws -> Docker.ContainerCreateResponse {
        try await shielded { [core] in
            var creation = ContainerCreation(core: core, request: request, caller: caller)
            return try await creation.run(name: name, platform: platform)
        }
    }

    // MARK: Changing

    /// Success means that the container's process has been executed. `notModified` where it runs already.
    /// A command that is not there throws `commandNotFound`, one that cannot be executed `commandNotExecutable`.
    public func start(_ reference: String, caller: Caller) async throws {
        let container = try core.registry.resolve(reference)
        try await shielded { try await container.start() }
    }

    /// Signal, wait, kill. Success means that it does not run. `notModified` where it did not.
    /// - Parameters:
    ///   - signal: nil is the container's own stop signal.
    ///   - timeout: seconds; nil is the container's own (10 by default), negative waits for ever.
    public func stop(_ reference: String, signal: String? = nil, timeout: Int? = nil, caller: Caller) async throws {
        let container = try core.registry.resolve(reference)
        let number = try signal.flatMap { $0.isEmpty ? nil : try StopSignal.parse($0) }
        try await shielded { try await container.stop(signal: number, timeout: timeout) }
    }

    public func restart(_ reference: String, signal: String? = nil, timeout: Int? = nil, caller: Caller) async throws {
        let container = try core.registry.resolve(reference)
        let number = try signal.flatMap { $0.isEmpty ? nil : try StopSignal.parse($0) }
        try await shielded { try await container.restart(signal: number, timeout: timeout) }
    }

    /// - Parameter signal: a name with or without SIG, or a number; nil is KILL.
    /// - Throws: `conflict` where it does not run.
    public func kill(_ reference: String, signal: String? = nil, caller: Caller) async throws {
        do {
            let container = try core.registry.resolve(reference)
            let number = try signal.flatMap { $0.isEmpty ? nil : try StopSignal.parse($0) } ?? StopSignal.kill
            try await shielded { try await container.kill(signal: number) }
        } catch let fault as Fault where [.conflict, .invalid, .notFound].contains(fault.kind) {
            throw fault.prefixed("cannot kill container: \(reference)")
        }
    }

    public func pause(_ reference: String, caller: Caller) async throws {
        let container = try core.registry.resolve(reference)
        try await shielded { try await container.pause() }
    }

    public func unpause(_ reference: String, caller: Caller) async throws {
        let container = try core.registry.resolve(reference)
        try await shielded { try await container.unpause() }
    }

    public func rename(_ reference: String, to name: String, caller: Caller) async throws {
        let container = try core.registry.resolve(reference)
        let wanted = name.hasPrefix("/") ? String(name.dropFirst()) : name
        guard !wanted.isEmpty else { throw Fault(.invalid, "Neither old nor new names may be empty") }
        do {
            try ContainerCreation.validate(wanted)
            try await shielded { try await container.rename(to: wanted) }
        } catch let fault as Fault where fault.kind == .conflict || fault.message.hasPrefix("Invalid container name") {
            throw fault.prefixed("Error when allocating new name")
        }
    }

    /// Success means that the container is gone for every client and that its name is free. Its files follow in the background.
    public func remove(_ reference: String, _ options: ContainerRemoveOptions, caller: Caller) async throws {
        let container = try core.registry.resolve(reference)
        if options.link { return try await removeLink(reference) }
        try await shielded { try await container.remove(options) }
    }

    /// Success means that the link is no more; both containers stay, and go on running. In dockerd's words.
    private func removeLink(_ reference: String) async throws {
        let name = reference.hasPrefix("/") ? reference : "/" + reference
        guard name.dropFirst().contains("/") else {
            throw Fault(.system, "Conflict, cannot remove the default link name of the container", subject: reference)
        }
        guard let link = core.registry.link(reference) else {
            let parent = name[..<(name.lastIndex(of: "/") ?? name.endIndex)]
            throw Fault(.system, "Cannot get parent \(parent) for link name \(name)", subject: reference)
        }
        try await shielded { try await link.owner.removeLink(link.alias) }
    }

    /// Removes every container that does not run.
    public func prune(_ filters: Filters, caller: Caller) async throws -> Docker.ContainerPruneResponse {
        try filters.validate(["label", "label!", "until"])
        let until = try filters.get("until").first.map { try TimeText.parse($0) }
        var response = Docker.ContainerPruneResponse()
        response.containersDeleted = []
        response.spaceReclaimed = 0
        for container in core.registry.all {
            let snapshot = container.snapshot
            switch snapshot.status.phase {
            case .running, .paused, .restarting: continue
            case .created, .exited: break
            }
            if let until, snapshot.created >= until { continue }
            let labels = snapshot.description.config.labels ?? [:]
            guard filters.admitsLabels(labels) else { continue }
            let folder = core.layout.container(container.id)
            let size = (try? await core.background.run { freedBytes([folder]) }) ?? 0
            guard (try? await remove(container.id.text, ContainerRemoveOptions(), caller: caller)) != nil else { continue }
            response.containersDeleted?.append(container.id.text)
            response.spaceReclaimed = (response.spaceReclaimed ?? 0) + Int(size)
        }
        core.events.publish(
            type: "container", action: "prune", id: "", attributes: ["reclaimed": String(response.spaceReclaimed ?? 0)])
        return response
    }

    /// New limits and restart policy; what the request leaves out stays.
    public func update(_ reference: String, _ request: Docker.ContainerUpdateRequest, caller: Caller) async throws
        -> Docker.ContainerUpdateResponse
    {
        let container = try core.registry.resolve(reference)
        return try await shielded { try await container.update(request) }
    }

    // MARK: Waiting and looking

    /// Registers at once (an unknown container throws here), then lets the caller wait for the result.
    public func wait(_ reference: String, for condition: WaitCondition = .notRunning) async throws -> PendingWait {
        let container = try core.registry.resolve(reference)
        let promise = container.board.wait(for: condition)
        return PendingWait {
            let ending: ContainerBoard.Ending
            do { ending = try await promise.value() } catch {
                container.board.forget(promise)
                throw error
            }
            var response = Docker.ContainerWaitResponse()
            // `Error` would say that the waiting failed. Why a start did is its own answer, and the container's State.Error.
            response.statusCode = Int(ending.exitCode)
            return response
        }
    }

    /// Size of the container's terminal in characters.
    public func resize(_ reference: String, width: Int, height: Int, caller: Caller) async throws {
        let container = try core.registry.resolve(reference)
        guard (1...Int(UInt16.max)).contains(width), (1...Int(UInt16.max)).contains(height) else {
            throw Fault(.invalid, "invalid terminal size \(width)x\(height)")
        }
        let connection = try await container.requireRunning()
        try await connection.request(.resize(exec: nil, width: UInt16(width), height: UInt16(height)))
    }

    /// Checks what can be refused; the offer then takes the connection over. A container that was only created can be
    /// attached to: the stream begins with its start, and nothing is missed.
    public func attach(_ reference: String, _ options: AttachOptions, caller: Caller) async throws -> HijackOffer {
        let container = try core.registry.resolve(reference)
        let keys = try DetachKeys.parse(options.detachKeys)
        let snapshot = container.snapshot
        if case .paused = snapshot.status.phase {
            throw Fault(.conflict, "container \(reference) is paused, unpause the container before attach", subject: reference)
        }
        if case .restarting = snapshot.status.phase {
            throw Fault(
                .conflict, "container \(reference) is restarting, wait until the container is running", subject: reference)
        }
        let terminal = snapshot.description.hasTerminal
        var stream = ShimStream()
        stream.stdin = options.stdin && snapshot.description.config.openStdin == true
        stream.stdout = options.stdout
        stream.stderr = options.stderr
        stream.framing = terminal ? .raw : .multiplexed
        stream.detachKeys = keys
        let wanted = stream
        return HijackOffer(isMultiplexed: !terminal) { connection in
            if options.logs { await self.replayLog(container, options, to: connection) }
            guard options.stream else { return }
            await container.attach(wanted, connection)
        }
    }

    /// What the log holds, written to a client before it is attached.
    private func replayLog(_ container: Container, _ options: AttachOptions, to connection: HijackedConnection) async {
        var wish = LogsOptions()
        wish.stdout = options.stdout
        wish.stderr = options.stderr
        guard let log = try? await logs(container.id.text, wish) else { return }
        var iterator = log.chunks.makeAsyncIterator()
        while let chunk = try? await iterator.next() {
            guard (try? await core.pool.run { try connection.write(chunk) }) != nil else { return }
        }
    }
}

extension Container {
    /// Hands a client to the shim, or keeps it until there is one.
    func attach(_ stream: ShimStream, _ connection: HijackedConnection) async {
        guard let descriptor = connection.take() else { return }
        let held = HeldDescriptor(descriptor)
        var stream = stream
        stream.early = connection.early
        if status.running != nil, let shim = self.connection {
            _ = try? await shim.request(.attach(stream), passing: held)
        } else if !removed {
            waitingClients.append(WaitingClient(stream: stream, descriptor: held))
        }
        emit("attach")
    }

    func rename(to name: String) async throws {
        try await queue.run { try await self.renameNow(name) }
    }

    private func renameNow(_ name: String) async throws {
        let old = board.snapshot.name
        guard name != old else {
            throw Fault(.invalid, "Renaming a container with the same name as its current name", subject: name)
        }
        try core.registry.reserve(name, for: id)
        do { try core.database.write { [id] in try $0.rename(container: id, to: name) } } catch {
            core.registry.release(name, of: id)
            throw error
        }
        core.registry.release(old, of: id)
        board.update { $0.name = name }
        let snapshot = board.snapshot
        if let sandbox = snapshot.sandbox { try? await core.names.changed(sandbox, snapshot) }
        emit("rename", ["oldName": "/" + old])
    }

    func update(_ request: Docker.ContainerUpdateRequest) async throws -> Docker.ContainerUpdateResponse {
        try await queue.run { try await self.updateNow(request) }
    }

    private func updateNow(_ request: Docker.ContainerUpdateRequest) async throws -> Docker.ContainerUpdateResponse {
        var description = board.snapshot.description
        description.host.apply(request)
        if let policy = request.restartPolicy, !(policy.name ?? "").isEmpty {
            try RestartPolicy.validate(policy, autoRemove: description.autoRemove)
            description.host.restartPolicy = policy
        }
        try ResourceLimits.validate(description.host)
        if status.running != nil, let connection {
            // Devices are not changed by an update.
            let resources = try ResourceLimits.resources(description.host, devices: [])
            try await connection.request(.update(resources))
        }
        let bytes = description.json
        try core.database.write { [id] in try $0.setConfig(bytes, ofContainer: id) }
        let updated = description
        board.update { $0.description = updated }
        if case .restarting = status.phase, updated.restartPolicy == .no {
            cancelRestart()
            publish()
        }
        emit("update")
        var response = Docker.ContainerUpdateResponse()
        response.warnings = []
        return response
    }
}

extension Docker.HostConfig {
    /// Takes over what the request names.
    fileprivate mutating func apply(_ request: Docker.ContainerUpdateRequest) {
        func take<T>(_ value: T?, _ target: inout T?) { if let value { target = value } }
        func takeNumber(_ value: Int?, _ target: inout Int?) { if let value, value != 0 { target = value } }
        func takeText(_ value: String?, _ target: inout String?) { if let value, !value.isEmpty { target = value } }
        takeNumber(request.cpuShares, &cpuShares)
        takeNumber(request.memory, &memory)
        takeNumber(request.memorySwap, &memorySwap)
        takeNumber(request.memoryReservation, &memoryReservation)
        takeNumber(request.blkioWeight, &blkioWeight)
        if let nano = request.nanoCpus, nano != 0 {
            nanoCpus = nano
            cpuPeriod = nil
            cpuQuota = nil
        }
        takeNumber(request.cpuPeriod, &cpuPeriod)
        takeNumber(request.cpuQuota, &cpuQuota)
        takeNumber(request.cpuRealtimePeriod, &cpuRealtimePeriod)
        takeNumber(request.cpuRealtimeRuntime, &cpuRealtimeRuntime)
        takeText(request.cpusetCpus, &cpusetCpus)
        takeText(request.cpusetMems, &cpusetMems)
        takeNumber(request.pidsLimit, &pidsLimit)
    }
}

/// Docker's notation for the bytes that end an attachment: `ctrl-p,ctrl-q`, `a,b`, `ctrl-@`.
package enum DetachKeys {
    package static let standard: [UInt8] = [16, 17]

    /// - Throws: `invalid` in docker's words.
    package static func parse(_ text: String?) throws -> [UInt8] {
        guard let text, !text.isEmpty else { return standard }
        return try text.split(separator: ",", omittingEmptySubsequences: false).map { key in
            let unknown = Fault(.invalid, "Invalid detach keys (\(text)) provided", subject: text)
            if key.utf8.count == 1, let byte = key.utf8.first { return byte }
            guard key.lowercased().hasPrefix("ctrl-"), key.utf8.count == 6, let last = key.lowercased().utf8.last else {
                throw unknown
            }
            switch last {
            case UInt8(ascii: "a")...UInt8(ascii: "z"): return last - UInt8(ascii: "a") + 1
            case UInt8(ascii: "@"): return 0
            case UInt8(ascii: "["): return 27
            case UInt8(ascii: "\\"): return 28
            case UInt8(ascii: "]"): return 29
            case UInt8(ascii: "^"): return 30
            case UInt8(ascii: "_"): return 31
            default: throw unknown
            }
        }
    }
}

/// Times as filters have them: RFC 3339, seconds since 1970 with a fraction, or a span before now (`10m`, `24h`).
package enum TimeText {
    package static func parse(_ text: String) throws -> Timestamp {
        if let time = Timestamp(text) { return time }
        if let seconds = Double(text) { return Timestamp(nanoseconds: Int64(seconds * 1e9)) }
        var total = 0.0
        var number = ""
        for character in text {
            if character.isNumber || character == "." {
                number.append(character)
                continue
            }
            guard let value = Double(number), let unit = ["h": 3600.0, "m": 60, "s": 1, "d": 86_400][String(character)] else {
                throw Fault(.invalid, "invalid time: \(text)", subject: text)
            }
            total += value * unit
            number = ""
        }
        guard number.isEmpty, total > 0 else { throw Fault(.invalid, "invalid time: \(text)", subject: text) }
        return Timestamp(nanoseconds: wallClock().nanoseconds - Int64(total * 1e9))
    }
}
