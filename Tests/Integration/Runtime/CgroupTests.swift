import Glibc
import Linux
import Model
import Runtime
import TestSupport
import Testing

/// A container's cgroup of a test, removed at its end.
private final class TestCgroup {
    let cgroup: Cgroup
    private var processes: [RunningProcess] = []

    init(_ name: String, _ resources: OCI.Resources? = nil) throws {
        cgroup = try Cgroup.locate(path: testCgroup + "/" + name, id: name, layout: try CgroupLayout.detect())
        _ = try cgroup.create(resources)
    }

    deinit {
        try? cgroup.killAll()
        for process in processes { _ = process.finish(timeout: 5) }
        try? cgroup.remove()
        // the tests' own folder above, when this was the last in it
        for entry in cgroup.record.entries { try? CgroupFile.removeFolder(entry.mountPoint + testCgroup) }
    }

    func file(_ controller: String, _ name: String) -> String? {
        cgroup.record.entries.first { $0.controllers.contains(controller) }.flatMap {
            try? CgroupFile.text($0.path + "/" + name)
        }
    }

    func isUnified(_ controller: String) -> Bool {
        cgroup.record.entries.first { $0.controllers.contains(controller) }?.isUnified ?? false
    }

    /// A shell in the cgroup.
    func shell(_ script: String) throws -> RunningProcess {
        let joins = cgroup.record.entries.map { "echo $$ >'\($0.path)/cgroup.procs'" }.joined(separator: "\n")
        let process = try RunningProcess(["/bin/sh", "-c", "set -e\n\(joins)\nset +e\n\(script)"])
        processes.append(process)
        return process
    }
}

private let layout = try? CgroupLayout.detect()
private func has(_ controller: String) -> Bool { layout?.hierarchy(with: controller) != nil }

@Suite struct CgroupTests {
    @Test(.enabled(if: has("memory")))
    func memoryLimitsAreSet() throws {
        let test = try TestCgroup("memory", .init(memory: .init(limit: 64 << 20, reservation: 32 << 20, swap: 96 << 20)))
        if test.isUnified("memory") {
            #expect(test.file("memory", "memory.max") == "\(64 << 20)")
            #expect(test.file("memory", "memory.low") == "\(32 << 20)")
            #expect([nil, "\(32 << 20)"].contains(test.file("memory", "memory.swap.max")))
        } else {
            #expect(test.file("memory", "memory.limit_in_bytes") == "\(64 << 20)")
            #expect(test.file("memory", "memory.soft_limit_in_bytes") == "\(32 << 20)")
            #expect(test.file("memory", "memory.memsw.limit_in_bytes") == "\(96 << 20)")
        }
    }

    /// v1 keeps limit <= memory+swap at every step, whichever way they move.
    @Test(.enabled(if: has("memory")))
    func memoryMovesUpAndDown() throws {
        let test = try TestCgroup("memory-moves", .init(memory: .init(limit: 64 << 20, swap: 64 << 20)))
        for size in [Int64(256 << 20), 32 << 20, 128 << 20] {
            try test.cgroup.apply(.init(memory: .init(limit: size, swap: size)))
            let file = test.isUnified("memory") ? "memory.max" : "memory.limit_in_bytes"
            #expect(test.file("memory", file) == "\(size)")
        }
        try test.cgroup.apply(.init(memory: .init(limit: -1)))
        #expect(test.cgroup.stats(at: Timestamp(nanoseconds: 0)).memory.limit == nil)
    }

    @Test(.enabled(if: has("cpu")))
    func processorLimitsAreSetInEveryOrder() throws {
        let test = try TestCgroup("cpu", .init(cpu: .init(shares: 512, quota: 20_000, period: 50_000)))
        let isUnified = test.isUnified("cpu")
        func values() -> [String?] {
            isUnified
                ? [test.file("cpu", "cpu.weight"), test.file("cpu", "cpu.max")]
                : [test.file("cpu", "cpu.shares"), test.file("cpu", "cpu.cfs_quota_us"), test.file("cpu", "cpu.cfs_period_us")]
        }
        #expect(values() == (isUnified ? ["59", "20000 50000"] : ["512", "20000", "50000"]))
        try test.cgroup.apply(.init(cpu: .init(quota: 200_000, period: 500_000)))
        #expect(values().last == (isUnified ? "200000 500000" : "500000"))
        try test.cgroup.apply(.init(cpu: .init(quota: 5000, burst: 1000, period: 10_000)))
        #expect(values().last == (isUnified ? "5000 10000" : "10000"))
        try test.cgroup.apply(.init(cpu: .init(quota: -1)))
        #expect(isUnified ? values().last == "max 10000" : values()[1] == "-1")
        try test.cgroup.apply(.init(cpu: .init(idle: 1)))
        #expect(test.file("cpu", "cpu.idle") == "1")
    }

    @Test(.enabled(if: has("cpuset")))
    func cpusetIsFilledAndSet() throws {
        let test = try TestCgroup("cpuset", .init(cpu: .init(cpus: "0", mems: "0")))
        #expect(test.file("cpuset", "cpuset.cpus") == "0")
        #expect(try test.shell("nproc").finish().output == "1\n")
    }

    @Test(.enabled(if: has("pids")))
    func processesAreLimitedAndCounted() throws {
        let test = try TestCgroup("pids", .init(pids: .init(limit: 3)))
        let process = try test.shell("sleep 60 & sleep 60 & sleep 60 & wait")
        #expect(process.finish(timeout: 1).error.contains("fork") || eventually { test.cgroup.processes().count == 3 })
        #expect(test.cgroup.stats(at: Timestamp(nanoseconds: 0)).pids.limit == 3)
        try test.cgroup.apply(.init(pids: .init(limit: -1)))
        #expect(test.file("pids", "pids.max") == "max")
    }

    @Test func hugePagesAreLimitedWhereTheyAre() throws {
        let resources = OCI.Resources(hugepageLimits: [.init(pageSize: "2MB", limit: 4 << 20)])
        guard has("hugetlb") else {
            #expect(throws: Fault.self) { _ = try TestCgroup("hugetlb", resources) }
            return
        }
        let test = try TestCgroup("hugetlb", resources)
        let file = test.isUnified("hugetlb") ? "hugetlb.2MB.max" : "hugetlb.2MB.limit_in_bytes"
        #expect(test.file("hugetlb", file) == "\(4 << 20)")
        #expect(throws: Fault.self) { try test.cgroup.apply(.init(hugepageLimits: [.init(pageSize: "3MB", limit: 4 << 20)])) }
    }

    /// GHSA-g54h-m393-cpwq: nothing is allowed that nobody named.
    @Test func devicesAreDeniedByDefault() throws {
        let scratch = try Scratch()
        let loop = scratch.path + "/loop"
        let null = scratch.path + "/null"
        let test = try TestCgroup("devices")
        let script = "mknod \(loop) b 7 0; mknod \(null) c 1 3; echo x >\(null) && echo null; : <\(loop) && echo loop; exit 0"
        let result = try test.shell(script).finish()
        #expect(result.output == "null\n")
        #expect(result.error.contains("Operation not permitted"))
    }

    @Test func devicesFollowAnUpdate() throws {
        let scratch = try Scratch()
        let zero = scratch.path + "/kmsg"
        _ = run(["/bin/mknod", zero, "c", "1", "11"])
        let test = try TestCgroup("devices-update")
        let script = ": <\(zero)"
        #expect(try test.shell(script).finish().status != 0)
        let deny = OCI.DeviceRule(allow: false, access: "rwm")
        try test.cgroup.apply(.init(devices: [deny, .init(allow: true, type: "c", major: 1, minor: 11, access: "r")]))
        #expect(try test.shell(script).finish().status == 0)
        #expect(try test.shell("echo x >\(zero)").finish().status != 0)
        try test.cgroup.apply(.init(devices: [deny]))
        #expect(try test.shell(script).finish().status != 0)
        try test.cgroup.apply(.init(devices: [.init(allow: true, access: "rwm")]))
        #expect(try test.shell(script).finish().status == 0)
    }

    @Test func freezeStopsAndThawGoesOn() throws {
        let test = try TestCgroup("freezer")
        let scratch = try Scratch()
        let file = try scratch.file("ticks", "")
        _ = try test.shell("while :; do echo x >>\(file); sleep 0.01; done")
        func size() -> Int { run(["/usr/bin/wc", "-c", file]).output.split(separator: " ").first.flatMap { Int($0) } ?? 0 }
        #expect(eventually { size() > 4 })
        try test.cgroup.freeze()
        #expect(test.cgroup.isFrozen)
        let before = size()
        usleep(100_000)
        #expect(size() == before)
        try test.cgroup.thaw()
        #expect(!test.cgroup.isFrozen)
        #expect(eventually { size() > before })
    }

    @Test func killAllReachesThoseBelowAndTheFrozen() throws {
        let test = try TestCgroup("kill")
        let places = test.cgroup.record.entries.map(\.path)
        let below = places.map { "mkdir -p '\($0)/below'" }.joined(separator: "\n")
        // cpuset of v1 wants processors first; the freezer's folder is what counts
        let move = places.filter { !$0.contains("/cpuset/") }.map { "echo $$ >'\($0)/below/cgroup.procs' 2>/dev/null" }
        let process = try test.shell("\(below)\n\(move.joined(separator: "\n"))\nsleep 300 & sleep 300 & wait")
        #expect(eventually { test.cgroup.processes().count >= 3 })
        try test.cgroup.freeze()
        try test.cgroup.killAll()
        try test.cgroup.thaw()
        #expect(process.finish(timeout: 10).status != 0)
        #expect(eventually { test.cgroup.processes().isEmpty })
        try test.cgroup.remove()
        #expect(!test.cgroup.exists)
    }

    @Test(.enabled(if: has("memory")))
    func killForWantOfMemoryIsTold() throws {
        let test = try TestCgroup("oom", .init(memory: .init(limit: 32 << 20, swap: 32 << 20)))
        let events = try test.cgroup.openOOMEvents()
        let process = try test.shell("head -c 100000000 /dev/zero | tail")
        #expect(process.finish(timeout: 30).status != 0)
        var poll = pollfd(fd: events.descriptor.raw, events: Int16(POLLIN), revents: 0)
        #expect(Glibc.poll(&poll, 1, 5000) == 1)
        #expect(eventually { events.take() > 0 })
        #expect(test.cgroup.oomKillCount > 0)
    }

    @Test func missingControllerNamesTheField() throws {
        func message(_ resources: OCI.Resources) -> String {
            do {
                _ = try TestCgroup("missing", resources)
                return ""
            } catch { return String(describing: error) }
        }
        if !has("net_cls") {
            #expect(message(.init(network: .init(classID: 7))).hasPrefix("linux.resources.network.classID: "))
        }
        if !has("rdma") { #expect(message(.init(rdma: ["mlx": .init(hcaHandles: 1)])).hasPrefix("linux.resources.rdma.mlx: ")) }
        #expect(message(.init(unified: ["nothing.max": "1"])).hasPrefix("linux.resources.unified.nothing.max: "))
        #expect(message(.init(unified: ["../memory.max": "1"])).hasPrefix("linux.resources.unified."))
        #expect(message(.init(memory: .init(limit: 1 << 20, swap: 1 << 10))).hasPrefix("linux.resources.memory.swap: "))
        // zero and absent values ask for nothing
        #expect(message(.init(memory: .init(limit: 0), cpu: .init(shares: 0), network: .init(classID: 0))).isEmpty)
        // what failed has left nothing
        let place = try Cgroup.locate(path: testCgroup + "/missing", id: "missing", layout: try CgroupLayout.detect())
        #expect(!place.exists)
    }

    @Test func occupiedCgroupIsRefused() throws {
        let test = try TestCgroup("occupied")
        _ = try test.shell("sleep 300")
        #expect(eventually { !test.cgroup.processes().isEmpty })
        #expect(throws: Fault.self) { _ = try test.cgroup.create(nil) }
        #expect(!test.cgroup.processes().isEmpty)
    }

    @Test func unifiedFilesAreWrittenAsTheyAre() throws {
        guard layout?.mode == .unified else { return }
        let test = try TestCgroup("unified", .init(unified: ["memory.high": "\(48 << 20)", "pids.max": "77"]))
        #expect(test.file("memory", "memory.high") == "\(48 << 20)")
        #expect(test.file("pids", "pids.max") == "77")
    }
}
