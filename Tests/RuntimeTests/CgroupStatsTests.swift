import Glibc
import Model
import Runtime
import Testing

/// Statistics from files as kernels write them, in a folder of the test's own.
@Suite struct CgroupStatsTests {
    private func cgroup(_ files: [String: String]) throws -> (Cgroup, String) {
        var template = Array("/tmp/cgroup-stats.XXXXXX".utf8CString)
        let folder = String(cString: try #require(mkdtemp(&template)))
        for (name, text) in files {
            let file = try #require(fopen(folder + "/" + name, "w"))
            fputs(text, file)
            fclose(file)
        }
        let entry = CgroupRecord.Entry(
            controllers: ["memory", "pids"], name: nil, isUnified: true, path: folder, mountPoint: folder)
        return (Cgroup(record: CgroupRecord(entries: [entry])), folder)
    }

    private func remove(_ folder: String, _ names: [String]) {
        for name in names { unlink(folder + "/" + name) }
        rmdir(folder)
    }

    @Test(arguments: [true, false]) func aKernelWithoutMemoryPeakHasNoMaximum(_ hasPeak: Bool) throws {
        var files = [
            "memory.current": "4096\n", "memory.max": "max\n", "memory.stat": "anon 1024\nfile 2048\n",
            "memory.events": "low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\n", "pids.current": "2\n", "pids.max": "10\n",
        ]
        if hasPeak { files["memory.peak"] = "8192\n" }
        let (cgroup, folder) = try cgroup(files)
        defer { remove(folder, Array(files.keys)) }
        let stats = cgroup.stats(at: Timestamp(nanoseconds: 0))
        #expect(stats.memory.usage == 4096)
        #expect(stats.memory.maximumUsage == (hasPeak ? 8192 : nil))
        #expect(stats.memory.failures == 3)
        #expect(stats.pids.current == 2)
    }
}
