import Glibc
import Linux
import Model
import Runtime
import TestSupport
import Testing

private let hasSystemd = CgroupFile.exists("/run/systemd/private")

@Suite struct CgroupSystemdTests {
    @Test(.enabled(if: !hasSystemd))
    func withoutSystemdTheDriverIsRefusedInWords() throws {
        let cgroup = try Cgroup.locate(path: nil, id: "x", layout: try CgroupLayout.detect(), driver: .systemd)
        #expect(throws: Fault.self) { try cgroup.adopt(getpid(), nil) }
    }

    @Test(.enabled(if: hasSystemd, "needs systemd"))
    func scopeIsMadeLimitedChangedAndStopped() throws {
        let name = "t\(getpid())"
        let cgroup = try Cgroup.locate(
            path: "machine.slice:skifftest:\(name)", id: name, layout: try CgroupLayout.detect(), driver: .systemd)
        let unit = "skifftest-\(name).scope"
        let process = try RunningProcess(["/bin/sleep", "300"])
        defer {
            process.signal(SIGKILL)
            _ = process.finish(timeout: 5)
        }
        let resources = OCI.Resources(
            memory: .init(limit: 64 << 20, swap: 96 << 20), cpu: .init(shares: 512, quota: 20_000, period: 100_000),
            pids: .init(limit: 50))
        try cgroup.adopt(process.pid, resources)
        defer { try? cgroup.remove() }
        #expect(cgroup.processes() == [process.pid])
        let shown = run(["/bin/systemctl", "show", unit]).output.split(separator: "\n")
        #expect(shown.contains("ActiveState=active"))
        #expect(shown.contains("Slice=machine.slice"))
        #expect(shown.contains("Delegate=yes"))
        #expect(shown.contains("MemoryMax=\(64 << 20)"))
        #expect(shown.contains("TasksMax=50"))
        #expect(shown.contains("CPUQuotaPerSecUSec=200ms"))
        // what systemd sets back, it sets back to this
        _ = run(["/bin/systemctl", "daemon-reload"])
        #expect(cgroup.stats(at: Timestamp(nanoseconds: 0)).memory.limit == 64 << 20)
        try cgroup.apply(.init(memory: .init(limit: 128 << 20, swap: 128 << 20), pids: .init(limit: 60)))
        _ = run(["/bin/systemctl", "daemon-reload"])
        let stats = cgroup.stats(at: Timestamp(nanoseconds: 0))
        #expect(stats.memory.limit == 128 << 20)
        #expect(stats.pids.limit == 60)
        try cgroup.killAll()
        _ = process.finish(timeout: 10)
        try cgroup.remove()
        #expect(!cgroup.exists)
        #expect(run(["/bin/systemctl", "is-active", unit]).status != 0)
    }
}
