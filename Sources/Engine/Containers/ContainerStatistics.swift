import Linux
import Model
import Networks

extension ContainerService {
    /// - Parameters:
    ///   - stream: one value a second until the container is gone, else one.
    ///   - oneShot: do not wait a second for a previous value to compare with.
    public func stats(_ reference: String, stream: Bool, oneShot: Bool) async throws -> PullStream<
        Docker.ContainerStatsResponse
    > {
        let container = try core.registry.resolve(reference)
        let sampler = StatsSampler(core: core, container: container, stream: stream, oneShot: oneShot && !stream)
        return PullStream { try await sampler.next() }
    }

    /// - Parameter arguments: of ps(1); nil is `-ef`. Only columns are understood; no program runs for this.
    public func top(_ reference: String, arguments: String? = nil) async throws -> Docker.ContainerTopResponse {
        let container = try core.registry.resolve(reference)
        let table = try ProcessTable(arguments)
        if case .restarting = container.snapshot.status.phase {
            throw Fault(
                .conflict, "container \(container.id) is restarting, wait until the container is running", subject: reference)
        }
        let connection = try await container.requireRunning()
        guard case .processes(let processes) = try await connection.request(.processes).outcome else {
            throw Fault(.system, "the container's shim does not speak this engine's protocol")
        }
        return table.response(processes, now: wallClock())
    }
}

/// Takes a container's figures once a second and compares each with the one before.
private actor StatsSampler {
    private let core: EngineCore
    private let container: Container
    private let stream: Bool
    private let oneShot: Bool
    private var last: Docker.ContainerStatsResponse?
    private var ended = false

    init(core: EngineCore, container: Container, stream: Bool, oneShot: Bool) {
        self.core = core
        self.container = container
        self.stream = stream
        self.oneShot = oneShot
    }

    func next() async throws -> Docker.ContainerStatsResponse? {
        guard !ended else { return nil }
        if core.registry.container(container.id) == nil { return nil }
        if !stream { ended = true }
        if last == nil, !oneShot { last = await sample() }
        if last != nil, !oneShot, container.snapshot.status.running != nil || stream { try await Task.sleep(for: .seconds(1)) }
        var now = await sample()
        now.precpuStats = last?.cpuStats ?? Self.emptyCPU
        now.preread = last?.read ?? Timestamp.goZeroText
        last = now
        return now
    }

    private static var emptyCPU: Docker.ContainerCPUStats {
        var cpu = Docker.ContainerCPUStats()
        cpu.cpuUsage = Docker.ContainerCPUUsage()
        cpu.cpuUsage?.totalUsage = 0
        cpu.cpuUsage?.usageInKernelmode = 0
        cpu.cpuUsage?.usageInUsermode = 0
        cpu.throttlingData = throttling(ContainerStats.CPU())
        return cpu
    }

    private static func throttling(_ cpu: ContainerStats.CPU) -> Docker.ContainerThrottlingData {
        var data = Docker.ContainerThrottlingData()
        data.periods = cpu.periods
        data.throttledPeriods = cpu.throttledPeriods
        data.throttledTime = cpu.throttledTime
        return data
    }

    private func sample() async -> Docker.ContainerStatsResponse {
        let snapshot = container.snapshot
        var response = Docker.ContainerStatsResponse()
        response.id = snapshot.id.text
        response.name = "/" + snapshot.name
        response.osType = "linux"
        response.numProcs = 0
        response.storageStats = Docker.ContainerStorageStats()
        var stats = ContainerStats(readAt: wallClock())
        let isUp: Bool
        if let connection = try? await container.requireRunning(),
            case .stats(let read)? = try? await connection.request(.stats).outcome
        {
            stats = read
            isUp = true
        } else {
            isUp = false
        }
        response.read = isUp ? stats.readAt.description : Timestamp.goZeroText
        response.cpuStats = Self.cpu(stats, isUp: isUp)
        response.memoryStats = Self.memory(stats, isUp: isUp)
        response.pidsStats = Docker.ContainerPidsStats()
        if isUp {
            response.pidsStats?.current = stats.pids.current
            response.pidsStats?.limit = stats.pids.limit ?? UInt64.max
        }
        response.blkioStats = Self.blockIO(stats)
        if isUp { response.networks = await networks(stats, snapshot) }
        return response
    }

    /// One entry for each interface that the engine has made; a container that shares another's network shows that one's, and who
    /// shares the host's shows none, as with docker.
    private func networks(_ stats: ContainerStats, _ snapshot: ContainerSnapshot) async
        -> [String: Docker.ContainerNetworkStats]?
    {
        var owner = snapshot
        for _ in 0..<8 {
            guard case .container(let reference) = owner.description.network,
                let other = try? core.registry.resolve(reference)
            else { break }
            owner = other.snapshot
        }
        guard let names = core.sandboxes.record(of: owner.id)?.endpoints.map(\.interface) else { return nil }
        // A shim of an earlier version does not tell.
        let told: [String: ContainerStats.Interface]
        if let interfaces = stats.interfaces { told = interfaces } else { told = await core.sandboxes.statistics(of: owner.id) }
        var networks: [String: Docker.ContainerNetworkStats] = [:]
        for name in names {
            guard let link = told[name] else { continue }
            var network = Docker.ContainerNetworkStats()
            network.rxBytes = link.receivedBytes
            network.rxPackets = link.receivedPackets
            network.rxErrors = link.receivedErrors
            network.rxDropped = link.receivedDropped
            network.txBytes = link.sentBytes
            network.txPackets = link.sentPackets
            network.txErrors = link.sentErrors
            network.txDropped = link.sentDropped
            networks[name] = network
        }
        return networks.isEmpty ? nil : networks
    }

    private static func cpu(_ stats: ContainerStats, isUp: Bool) -> Docker.ContainerCPUStats {
        guard isUp else { return emptyCPU }
        var usage = Docker.ContainerCPUUsage()
        usage.totalUsage = stats.cpu.total
        usage.usageInUsermode = stats.cpu.user
        usage.usageInKernelmode = stats.cpu.kernel
        if !stats.cpu.perProcessor.isEmpty { usage.percpuUsage = stats.cpu.perProcessor }
        var cpu = Docker.ContainerCPUStats()
        cpu.cpuUsage = usage
        cpu.systemCpuUsage = HostFigures.cpuNanoseconds
        cpu.onlineCpus = HostFigures.processors
        cpu.throttlingData = throttling(stats.cpu)
        return cpu
    }

    private static func memory(_ stats: ContainerStats, isUp: Bool) -> Docker.ContainerMemoryStats {
        var memory = Docker.ContainerMemoryStats()
        guard isUp else { return memory }
        memory.usage = stats.memory.usage
        memory.maxUsage = stats.memory.maximumUsage
        memory.failcnt = stats.memory.failures > 0 ? stats.memory.failures : nil
        let total = HostFigures.memory
        memory.limit = stats.memory.limit.map { min($0, total) } ?? total
        memory.stats = stats.memory.details.mapValues { .some($0) }
        return memory
    }

    private static func blockIO(_ stats: ContainerStats) -> Docker.ContainerBlkioStats {
        func entries(_ list: [ContainerStats.BlockIO.Entry]) -> [Docker.ContainerBlkioStatEntry] {
            list.map { entry in
                var shown = Docker.ContainerBlkioStatEntry()
                shown.major = UInt64(entry.major)
                shown.minor = UInt64(entry.minor)
                shown.op = entry.operation
                shown.value = entry.value
                return shown
            }
        }
        var io = Docker.ContainerBlkioStats()
        io.ioServiceBytesRecursive = entries(stats.blockIO.bytes)
        io.ioServicedRecursive = entries(stats.blockIO.operations)
        return io
    }
}

/// This machine's own figures.
enum HostFigures {
    static let processors: Int = {
        let text = (try? readFile("/proc/stat", limit: 1 << 20)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        return max(1, text.split(separator: "\n").filter { $0.hasPrefix("cpu") && !$0.hasPrefix("cpu ") }.count)
    }()

    /// Time of all processors since boot. /proc/stat counts in hundredths of a second.
    static var cpuNanoseconds: UInt64 {
        guard let bytes = try? readFile("/proc/stat", limit: 1 << 20) else { return 0 }
        let line = bytes.split(separator: 0x0A, maxSplits: 1).first ?? []
        let fields = line.split(separator: 0x20).dropFirst().prefix(7)
        return fields.reduce(0) { $0 + (UInt64(String(decoding: $1, as: UTF8.self)) ?? 0) } * 10_000_000
    }

    static let memory: UInt64 = {
        let text = (try? readFile("/proc/meminfo", limit: 1 << 16)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("MemTotal:") }
        return (line?.split(separator: " ").dropFirst().first.flatMap { UInt64($0) } ?? 0) * 1024
    }()
}

/// What `top` shows: ps(1)'s columns from what the shim read.
struct ProcessTable {
    private struct Column {
        var title: String
        var value: (ContainerProcess, Timestamp) -> String
    }

    private let columns: [Column]

    /// - Throws: `invalid` for options that this table does not have.
    init(_ arguments: String?) throws {
        let text = arguments.flatMap { $0.isEmpty ? nil : $0 } ?? "-ef"
        let words = text.split(separator: " ").map { String($0) }
        if let wish = Self.wishedColumns(words) {
            columns = try wish.map { name in
                guard let column = Self.known(name) else {
                    throw Fault(.invalid, "error: unknown user-defined format specifier \"\(name)\"", subject: name)
                }
                return column
            }
            return
        }
        switch words.joined(separator: " ") {
        case "-ef", "-e -f", "-f": columns = ["user", "pid", "ppid", "c", "stime", "tty", "time", "cmd"].compactMap(Self.known)
        case "aux", "-aux", "u":
            columns = ["user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "time", "command"].compactMap(
                Self.known)
        case "-e", "-A", "ax": columns = ["pid", "tty", "time", "comm"].compactMap(Self.known)
        default:
            throw Fault(.invalid, "ps arguments \"\(text)\" are not understood: use -ef, aux or -o with columns", subject: text)
        }
    }

    private static func wishedColumns(_ words: [String]) -> [String]? {
        for (index, word) in words.enumerated() {
            for flag in ["-eo", "-o", "o", "-efo"] where word == flag && index + 1 < words.count {
                return words[index + 1].split(separator: ",").map { String($0.prefix { $0 != "=" }) }
            }
            if word.hasPrefix("-o"), word.count > 2 { return word.dropFirst(2).split(separator: ",").map { String($0) } }
        }
        return nil
    }

    private static func known(_ name: String) -> Column? {
        switch name {
        case "user", "uname", "uid": Column(title: "UID") { process, _ in process.uid == 0 ? "root" : String(process.uid) }
        case "pid": Column(title: "PID") { process, _ in String(process.pid) }
        case "ppid": Column(title: "PPID") { process, _ in String(process.parent) }
        case "c", "%cpu", "pcpu": Column(title: name == "c" ? "C" : "%CPU") { process, now in percent(process, now, name) }
        case "%mem", "pmem":
            Column(title: "%MEM") { process, _ in
                let thousandths = process.residentSize * 1000 / max(1, HostFigures.memory)
                return "\(thousandths / 10).\(thousandths % 10)"
            }
        case "stime", "start", "start_time":
            Column(title: name == "start" ? "START" : "STIME") { process, _ in clock(process.startedAt) }
        case "tty", "tt", "tname": Column(title: "TTY") { process, _ in process.terminal }
        case "time", "cputime": Column(title: "TIME") { process, _ in span(process.cpuTime) }
        case "cmd", "args", "command":
            Column(title: name == "command" ? "COMMAND" : "CMD") { process, _ in
                process.command.isEmpty ? "[\(process.name)]" : process.command.joined(separator: " ")
            }
        case "comm", "ucmd": Column(title: "COMMAND") { process, _ in process.name }
        case "vsz": Column(title: "VSZ") { process, _ in String(process.virtualSize / 1024) }
        case "rss", "rssize": Column(title: "RSS") { process, _ in String(process.residentSize / 1024) }
        case "stat", "s", "state": Column(title: name == "s" ? "S" : "STAT") { process, _ in process.state }
        case "ni", "nice": Column(title: "NI") { process, _ in String(process.nice) }
        default: nil
        }
    }

    private static func percent(_ process: ContainerProcess, _ now: Timestamp, _ name: String) -> String {
        let lived = max(1, now.nanoseconds - process.startedAt.nanoseconds)
        let thousandths = Int64(clamping: process.cpuTime) / max(1, lived / 1000)
        return name == "c" ? String(thousandths / 10) : "\(thousandths / 10).\(thousandths % 10)"
    }

    private static func clock(_ time: Timestamp) -> String {
        let minutes = time.seconds / 60 % (24 * 60)
        return two(minutes / 60) + ":" + two(minutes % 60)
    }

    private static func span(_ nanoseconds: UInt64) -> String {
        let seconds = Int64(clamping: nanoseconds / 1_000_000_000)
        return two(seconds / 3600) + ":" + two(seconds / 60 % 60) + ":" + two(seconds % 60)
    }

    private static func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : String(value) }

    func response(_ processes: [ContainerProcess], now: Timestamp) -> Docker.ContainerTopResponse {
        var response = Docker.ContainerTopResponse()
        response.titles = columns.map(\.title)
        response.processes = processes.map { process in columns.map { $0.value(process, now) } }
        return response
    }
}
