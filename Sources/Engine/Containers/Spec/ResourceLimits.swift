import Linux
import Model

/// A set as cpuset(7) writes it: `0-3,7`.
struct ProcessorList {
    private let ranges: [ClosedRange<Int>]

    /// Nil for what is no such list.
    init?(_ text: String) {
        var ranges: [ClosedRange<Int>] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard (1...2).contains(ends.count), let first = ends.first ?? nil, let last = ends.last ?? nil,
                0 <= first, first <= last, last < 1 << 20
            else { return nil }
            ranges.append(first...last)
        }
        self.ranges = ranges
    }

    func isWithin(_ other: ProcessorList) -> Bool {
        ranges.allSatisfy { range in range.allSatisfy { number in other.ranges.contains { $0.contains(number) } } }
    }
}

/// HostConfig's limits as the runtime specification has them, by docker's rules.
package enum ResourceLimits {
    /// Docker's checks and words. Changes nothing.
    package static func validate(_ host: Docker.HostConfig) throws {
        let memory = host.memory ?? 0
        if memory != 0, memory < 6 << 20 {
            throw Fault(.invalid, "Minimum memory limit allowed is 6MB")
        }
        let swap = host.memorySwap ?? 0
        if memory > 0, swap > 0, swap < memory {
            throw Fault(
                .invalid, "Minimum memoryswap limit should be larger than memory limit, see usage")
        }
        if memory == 0, swap > 0 {
            throw Fault(.invalid, "You should always set the Memory limit when using Memoryswap limit, see usage")
        }
        if let swappiness = host.memorySwappiness, swappiness != -1, !(0...100).contains(swappiness) {
            throw Fault(.invalid, "Invalid value: \(swappiness), valid memory swappiness range is 0-100")
        }
        let reservation = host.memoryReservation ?? 0
        if reservation > 0, reservation < 6 << 20 {
            throw Fault(.invalid, "Minimum memory reservation allowed is 6MB")
        }
        if memory > 0, reservation > memory {
            throw Fault(.invalid, "Minimum memory limit can not be less than memory reservation limit, see usage")
        }
        if let cpus = host.nanoCpus, cpus != 0 {
            if (host.cpuPeriod ?? 0) > 0 {
                throw Fault(.invalid, "Conflicting options: Nano CPUs and CPU Period cannot both be set")
            }
            if (host.cpuQuota ?? 0) > 0 {
                throw Fault(.invalid, "Conflicting options: Nano CPUs and CPU Quota cannot both be set")
            }
            let count = HostFigures.processors
            if cpus < 0 || cpus > count * 1_000_000_000 {
                throw Fault(
                    .invalid,
                    "Range of CPUs is from 0.01 to \(count).00, as there are only \(count) CPUs available", subject: "\(cpus)")
            }
        }
        let period = host.cpuPeriod ?? 0
        if period != 0, !(1000...1_000_000).contains(period) {
            throw Fault(.invalid, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
        }
        let quota = host.cpuQuota ?? 0
        if quota > 0, quota < 1000 { throw Fault(.invalid, "CPU cfs quota can not be less than 1ms (i.e. 1000)") }
        for (what, text, unit, folder) in [
            ("cpuset cpus", host.cpusetCpus ?? "", "CPUs", "cpu"),
            ("cpuset mems", host.cpusetMems ?? "", "memory nodes", "node"),
        ] where !text.isEmpty {
            guard let wanted = ProcessorList(text) else {
                throw Fault(.invalid, "Invalid value \(text) for \(what): invalid format: \(text)", subject: text)
            }
            guard let online = (try? Files.read("/sys/devices/system/\(folder)/online", limit: 1 << 16)) else { continue }
            let there = String(decoding: online, as: UTF8.self).split(separator: "\n").first.map(String.init) ?? ""
            guard let available = ProcessorList(there), !wanted.isWithin(available) else { continue }
            throw Fault(
                .invalid, "Requested \(unit) are not available - requested \(text), available: \(there)", subject: text)
        }
        let weight = host.blkioWeight ?? 0
        if weight != 0, !(10...1000).contains(weight) {
            throw Fault(.invalid, "Range of blkio weight is from 10 to 1000")
        }
        if let score = host.oomScoreAdj, !(-1000...1000).contains(score) {
            throw Fault(.invalid, "Invalid value \(score), range for oom score adj is [-1000, 1000]")
        }
    }

    package static func resources(_ host: Docker.HostConfig, devices: [OCI.DeviceRule]) throws -> OCI.Resources {
        var resources = OCI.Resources()
        resources.devices = devices
        resources.memory = memory(host)
        resources.cpu = cpu(host)
        if let pids = host.pidsLimit, pids != 0 { resources.pids = OCI.PidsLimit(limit: pids < 0 ? -1 : Int64(pids)) }
        resources.blockIO = try blockIO(host)
        return resources
    }

    private static func memory(_ host: Docker.HostConfig) -> OCI.MemoryLimits? {
        var memory = OCI.MemoryLimits()
        let limit = host.memory ?? 0
        if limit > 0 {
            memory.limit = Int64(limit)
            // As docker: without a wish, as much swap as memory.
            let swap = host.memorySwap ?? 0
            memory.swap = swap == 0 ? Int64(limit) * 2 : Int64(swap)
        } else if host.memorySwap == -1 {
            memory.swap = -1
        }
        if let reservation = host.memoryReservation, reservation > 0 { memory.reservation = Int64(reservation) }
        if let swappiness = host.memorySwappiness, (0...100).contains(swappiness) { memory.swappiness = UInt64(swappiness) }
        if host.oomKillDisable == true { memory.disableOOMKiller = true }
        return memory == OCI.MemoryLimits() ? nil : memory
    }

    private static func cpu(_ host: Docker.HostConfig) -> OCI.CPULimits? {
        var cpu = OCI.CPULimits()
        if let shares = host.cpuShares, shares > 0 { cpu.shares = UInt64(max(2, shares)) }
        if let nano = host.nanoCpus, nano > 0 {
            cpu.period = 100_000
            cpu.quota = Int64(nano) / 10_000
        } else {
            if let period = host.cpuPeriod, period > 0 { cpu.period = UInt64(period) }
            if let quota = host.cpuQuota, quota != 0 { cpu.quota = Int64(quota) }
        }
        if let cpus = host.cpusetCpus, !cpus.isEmpty { cpu.cpus = cpus }
        if let mems = host.cpusetMems, !mems.isEmpty { cpu.mems = mems }
        if let runtime = host.cpuRealtimeRuntime, runtime != 0 { cpu.realtimeRuntime = Int64(runtime) }
        if let period = host.cpuRealtimePeriod, period > 0 { cpu.realtimePeriod = UInt64(period) }
        return cpu == OCI.CPULimits() ? nil : cpu
    }

    private static func blockIO(_ host: Docker.HostConfig) throws -> OCI.BlockIO? {
        var io = OCI.BlockIO()
        if let weight = host.blkioWeight, weight > 0 { io.weight = UInt16(clamping: weight) }
        for device in host.blkioWeightDevice ?? [] {
            let node = try HostDevice.node(device.path ?? "")
            io.weightDevice.append(
                OCI.BlockIOWeight(major: node.major, minor: node.minor, weight: UInt16(clamping: device.weight ?? 0)))
        }
        func throttles(_ devices: [Docker.ThrottleDevice]?) throws -> [OCI.BlockIOThrottle] {
            try (devices ?? []).map { device in
                let node = try HostDevice.node(device.path ?? "")
                return OCI.BlockIOThrottle(major: node.major, minor: node.minor, rate: UInt64(clamping: device.rate ?? 0))
            }
        }
        io.throttleReadBpsDevice = try throttles(host.blkioDeviceReadBps)
        io.throttleWriteBpsDevice = try throttles(host.blkioDeviceWriteBps)
        io.throttleReadIOPSDevice = try throttles(host.blkioDeviceReadIOps)
        io.throttleWriteIOPSDevice = try throttles(host.blkioDeviceWriteIOps)
        return io == OCI.BlockIO() ? nil : io
    }

    /// `nofile=1024:2048` and friends.
    package static func rlimits(_ ulimits: [Docker.Ulimit]?) throws -> [OCI.Rlimit] {
        try (ulimits ?? []).map { ulimit in
            let name = ulimit.name ?? ""
            guard Self.limitNames.contains(name) else { throw Fault(.invalid, "invalid ulimit type: \(name)", subject: name) }
            let soft = ulimit.soft ?? 0
            let hard = ulimit.hard ?? soft
            if hard >= 0, soft > hard || soft < 0 {
                throw Fault(
                    .invalid, "ulimit soft limit must be less than or equal to hard limit: \(soft) > \(hard)", subject: name)
            }
            return OCI.Rlimit(
                type: "RLIMIT_" + name.uppercased(), hard: UInt64(bitPattern: Int64(hard)),
                soft: UInt64(bitPattern: Int64(soft)))
        }
    }

    private static let limitNames: Set<String> = [
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
        "sigpending", "stack",
    ]
}

/// Device nodes of the host.
package enum HostDevice {
    package struct Node: Sendable {
        package var kind: String
        package var major: Int64
        package var minor: Int64
        package var mode: UInt32
        package var uid: UInt32
        package var gid: UInt32
    }

    /// - Throws: `invalid` in docker's words where there is no device.
    package static func node(_ path: String) throws -> Node {
        let unknown = Fault(
            .invalid, "error gathering device information while adding custom device \"\(path)\": no such file or directory",
            subject: path)
        guard let file = try? Descriptor.open(path, .path), let status = try? file.status() else { throw unknown }
        guard status.kind == .character || status.kind == .block else {
            throw Fault(
                .invalid, "error gathering device information while adding custom device \"\(path)\": not a device node",
                subject: path)
        }
        return Node(
            kind: status.kind == .block ? "b" : "c", major: Int64(status.deviceMajor), minor: Int64(status.deviceMinor),
            mode: status.mode & 0o777, uid: status.uid, gid: status.gid)
    }

    /// The devices that `--device` names; a folder stands for every device in it.
    package static func mapped(_ mapping: Docker.DeviceMapping) throws -> [(device: OCI.Device, rule: OCI.DeviceRule)] {
        let host = mapping.pathOnHost ?? ""
        let inside = mapping.pathInContainer.flatMap { $0.isEmpty ? nil : $0 } ?? host
        let access = mapping.cgroupPermissions.flatMap { $0.isEmpty ? nil : $0 } ?? "rwm"
        guard access.allSatisfy({ "rwm".contains($0) }) else {
            throw Fault(.invalid, "invalid device mode: \(access)", subject: host)
        }
        if let folder = try? Descriptor.open(host, [.path, .directory]) {
            var found: [(device: OCI.Device, rule: OCI.DeviceRule)] = []
            for name in try folder.names() {
                let text = String(decoding: name, as: UTF8.self)
                guard let node = try? node(host + "/" + text) else { continue }
                found.append(entry(node, inside + "/" + text, access))
            }
            if found.isEmpty { throw Fault(.invalid, "no devices found in \(host)", subject: host) }
            return found
        }
        return [entry(try node(host), inside, access)]
    }

    private static func entry(_ node: Node, _ path: String, _ access: String) -> (device: OCI.Device, rule: OCI.DeviceRule) {
        (
            OCI.Device(
                type: node.kind, path: path, major: node.major, minor: node.minor, fileMode: node.mode, uid: node.uid,
                gid: node.gid),
            OCI.DeviceRule(allow: true, type: node.kind, major: node.major, minor: node.minor, access: access)
        )
    }

    /// Every device of the host, for `--privileged`.
    package static func all() -> [OCI.Device] {
        var devices: [OCI.Device] = []
        walk("/dev", depth: 0, &devices)
        return devices
    }

    private static let passedOver: Set<String> = ["pts", "shm", "fd", "mqueue", "hugepages", ".lxc", ".udev", "console"]
    private static let standard: Set<String> = [
        "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx",
    ]

    private static func walk(_ folder: String, depth: Int, _ devices: inout [OCI.Device]) {
        guard depth < 4, let open = try? Descriptor.open(folder, [.read, .directory]), let names = try? open.names() else {
            return
        }
        for name in names {
            let text = String(decoding: name, as: UTF8.self)
            guard !passedOver.contains(text), let status = try? open.status(of: name) else { continue }
            let path = folder + "/" + text
            switch status.kind {
            case .directory: walk(path, depth: depth + 1, &devices)
            case .character, .block:
                guard !standard.contains(path) else { continue }
                devices.append(
                    OCI.Device(
                        type: status.kind == .block ? "b" : "c", path: path, major: Int64(status.deviceMajor),
                        minor: Int64(status.deviceMinor), fileMode: status.mode & 0o777, uid: status.uid, gid: status.gid))
            default: continue
            }
        }
    }

    /// What every container may do with devices, as docker allows it.
    package static let standardRules: [OCI.DeviceRule] =
        [OCI.DeviceRule(allow: false, access: "rwm"), rule("c", nil, nil, "m"), rule("b", nil, nil, "m")]
        + [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)].map { rule("c", $0.0, $0.1, "rwm") }
        + [rule("c", 136, nil, "rwm")]

    package static func rule(_ type: String, _ major: Int64?, _ minor: Int64?, _ access: String) -> OCI.DeviceRule {
        OCI.DeviceRule(allow: true, type: type, major: major, minor: minor, access: access)
    }

    /// `--device-cgroup-rule 'c 1:3 rwm'`.
    package static func parseRule(_ text: String) throws -> OCI.DeviceRule {
        let wrong = Fault(.invalid, "invalid device cgroup rule format: '\(text)'", subject: text)
        let words = text.split(separator: " ")
        guard words.count == 3, ["a", "b", "c"].contains(words[0]), words[2].allSatisfy({ "rwm".contains($0) }) else {
            throw wrong
        }
        let numbers = words[1].split(separator: ":", omittingEmptySubsequences: false)
        guard numbers.count == 2 else { throw wrong }
        func number(_ text: Substring) throws -> Int64? {
            if text == "*" { return nil }
            guard let value = Int64(text), value >= 0 else { throw wrong }
            return value
        }
        return OCI.DeviceRule(
            allow: true, type: String(words[0]), major: try number(numbers[0]), minor: try number(numbers[1]),
            access: String(words[2]))
    }
}
