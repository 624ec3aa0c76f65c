import Linux
import Model
import Runtime
import Testing

/// A cgroup of plain files: what would be written to the kernel can be read again.
private final class PlainCgroup {
    let folder: String
    let cgroup: Cgroup

    /// Folders by controller; v2 has all controllers in one.
    init(_ files: [String], isUnified: Bool, controllers: [String]) throws {
        folder = try FileCalls.makeTemporaryFolder("/tmp/skiff-limits-XXXXXX")
        for file in files { try SmallFile.replace(folder + "/" + file, with: []) }
        cgroup = Cgroup(
            record: CgroupRecord(entries: [
                .init(controllers: controllers, isUnified: isUnified, path: folder, mountPoint: folder)
            ]))
    }

    static func unified(_ files: String...) throws -> PlainCgroup {
        try PlainCgroup(files, isUnified: true, controllers: ["cpu", "cpuset", "memory", "io", "pids", "hugetlb"])
    }

    static func legacy(_ controller: String, _ files: String...) throws -> PlainCgroup {
        try PlainCgroup(files, isUnified: false, controllers: [controller])
    }

    deinit {
        for file in (try? Files.names(folder)) ?? [] { SmallFile.remove(folder + "/" + file) }
        try? CgroupFile.removeFolder(folder)
    }

    subscript(_ file: String) -> String? { try? CgroupFile.text(folder + "/" + file) }

    func message(_ resources: OCI.Resources) -> String {
        do {
            try cgroup.apply(resources)
            return ""
        } catch { return String(describing: error) }
    }
}

@Suite struct CgroupLimitsTests {
    @Test func blockLimitsOfV2() throws {
        let plain = try PlainCgroup.unified("io.max", "io.weight")
        try plain.cgroup.apply(
            .init(blockIO: .init(weight: 500, throttleReadBpsDevice: [.init(major: 8, minor: 0, rate: 1 << 20)])))
        #expect(plain["io.weight"] == "4950")
        #expect(plain["io.max"] == "8:0 rbps=1048576")
        let again = try PlainCgroup.unified("io.max", "io.bfq.weight")
        try again.cgroup.apply(
            .init(blockIO: .init(weight: 500, throttleWriteIOPSDevice: [.init(major: 8, minor: 16, rate: 0)])))
        #expect(again["io.bfq.weight"] == "500")
        #expect(again["io.max"] == "8:16 wiops=max")
    }

    @Test func blockLimitsOfV1() throws {
        let plain = try PlainCgroup.legacy("blkio", "blkio.bfq.weight", "blkio.throttle.write_bps_device")
        try plain.cgroup.apply(
            .init(blockIO: .init(weight: 300, throttleWriteBpsDevice: [.init(major: 254, minor: 0, rate: 4096)])))
        #expect(plain["blkio.bfq.weight"] == "300")
        #expect(plain["blkio.throttle.write_bps_device"] == "254:0 4096")
    }

    @Test func processorOfV2() throws {
        let plain = try PlainCgroup.unified("cpu.weight", "cpu.max", "cpu.max.burst", "cpu.idle", "cpuset.cpus", "cpuset.mems")
        try plain.cgroup.apply(.init(cpu: .init(shares: 1024, quota: 50_000, burst: 1000, cpus: "0-1", mems: "0")))
        #expect(plain["cpu.weight"] == "100")
        #expect(plain["cpu.max"] == "50000 100000")
        #expect(plain["cpu.max.burst"] == "1000")
        #expect(plain["cpuset.cpus"] == "0-1")
        // an idle group's weight is the kernel's
        let idle = try PlainCgroup.unified("cpu.weight", "cpu.idle")
        try idle.cgroup.apply(.init(cpu: .init(shares: 1024, idle: 1)))
        #expect(idle["cpu.weight"] == "")
        #expect(idle["cpu.idle"] == "1")
    }

    @Test func memoryOfV2() throws {
        let plain = try PlainCgroup.unified("memory.max", "memory.low", "memory.swap.max")
        try plain.cgroup.apply(.init(memory: .init(limit: 1 << 20, reservation: 4096, swap: 3 << 20)))
        #expect([plain["memory.max"], plain["memory.low"], plain["memory.swap.max"]] == ["1048576", "4096", "2097152"])
        let unlimited = try PlainCgroup.unified("memory.max", "memory.swap.max")
        try unlimited.cgroup.apply(.init(memory: .init(limit: -1)))
        #expect([unlimited["memory.max"], unlimited["memory.swap.max"]] == ["max", "max"])
    }

    @Test func hugePagesAndTheirReservations() throws {
        let plain = try PlainCgroup.unified("hugetlb.2MB.max", "hugetlb.2MB.rsvd.max")
        try plain.cgroup.apply(.init(hugepageLimits: [.init(pageSize: "2MB", limit: 1 << 22)]))
        #expect([plain["hugetlb.2MB.max"], plain["hugetlb.2MB.rsvd.max"]] == ["4194304", "4194304"])
    }

    @Test func networkOfV1() throws {
        let plain = try PlainCgroup.legacy("net_cls", "net_cls.classid")
        try plain.cgroup.apply(.init(network: .init(classID: 0x10_0001)))
        #expect(plain["net_cls.classid"] == "1048577")
        #expect(
            plain.message(.init(network: .init(priorities: [.init(name: "eth0", priority: 5)])))
                .hasPrefix("linux.resources.network.priorities: "))
    }

    @Test func limitBelowUsageIsRefusedOnRequest() throws {
        let plain = try PlainCgroup.unified("memory.max", "memory.current")
        try CgroupFile.write(plain.folder + "/memory.current", "5000000")
        let limits = OCI.MemoryLimits(limit: 4_000_000, checkBeforeUpdate: true)
        #expect(
            plain.message(.init(memory: limits))
                == "linux.resources.memory.limit: rejecting memory limit 4000000 because of the usage 5000000")
        #expect(plain["memory.max"] == "")
    }

    @Test(arguments: [
        (OCI.Resources(memory: .init(swappiness: 10)), "linux.resources.memory.swappiness: "),
        (OCI.Resources(memory: .init(disableOOMKiller: true)), "linux.resources.memory.disableOOMKiller: "),
        (OCI.Resources(cpu: .init(realtimeRuntime: 1000)), "linux.resources.cpu.realtimeRuntime: "),
        (OCI.Resources(cpu: .init(shares: 1)), "linux.resources.cpu.shares: "),
        (OCI.Resources(blockIO: .init(leafWeight: 10)), "linux.resources.blockIO.leafWeight: "),
        (OCI.Resources(blockIO: .init(weight: 5)), "linux.resources.blockIO.weight: "),
        (OCI.Resources(network: .init(classID: 1)), "linux.resources.network.classID: "),
        (OCI.Resources(unified: ["a/b.max": "1"]), "linux.resources.unified.a/b.max: "),
        (OCI.Resources(pids: .init(limit: 5)), "linux.resources.pids.limit: "),
        (OCI.Resources(hugepageLimits: [.init(pageSize: "../2MB", limit: 1)]), "linux.resources.hugepageLimits[0].pageSize: "),
    ])
    func whatV2CannotKeepIsNamed(resources: OCI.Resources, prefix: String) throws {
        #expect(try PlainCgroup.unified("cgroup.procs").message(resources).hasPrefix(prefix))
    }

    @Test func zeroAsksForNothing() throws {
        let plain = try PlainCgroup.unified()
        let zero = OCI.Resources(
            memory: .init(limit: 0, reservation: 0, swap: 0, swappiness: 0, disableOOMKiller: false),
            cpu: .init(shares: 0, quota: 0, period: 0, realtimeRuntime: 0, cpus: ""), pids: .init(limit: 0),
            blockIO: .init(weight: 0), network: .init(classID: 0))
        #expect(plain.message(zero).isEmpty)
    }
}
