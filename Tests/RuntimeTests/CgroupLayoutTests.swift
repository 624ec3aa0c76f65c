import Model
import Runtime
import Testing

@Suite struct CgroupLayoutTests {
    private let hybrid = """
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
        50 31 0:40 / /mnt/my\\040disk rw - ext4 /dev/sda rw
        """

    private func layout(_ mounts: String, _ memberships: String) -> CgroupLayout {
        CgroupLayout.parse(mounts: Array(mounts.utf8), memberships: Array(memberships.utf8))
    }

    @Test func readsAHybridMachine() throws {
        let layout = layout(hybrid, "4:memory:/process/x\n2:cpu,cpuacct:/\n1:name=systemd:/user.slice\n0::/init\n")
        #expect(layout.mode == .hybrid)
        #expect(layout.hierarchies.map(\.controllers) == [["cpu", "cpuacct"], ["memory"], [], []])
        #expect(layout.hierarchies.map(\.own) == ["/", "/process/x", "/user.slice", "/init"])
        #expect(layout.hierarchy(with: "cpuacct")?.mountPoint == "/sys/fs/cgroup/cpu,cpuacct")
        #expect(layout.hierarchies[2].name == "systemd")
        #expect(layout.hierarchies[3].isUnified)
    }

    @Test func readsAPureMachine() {
        let layout = layout(
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n", "0::/system.slice/a.service\n")
        #expect(layout.mode == .unified)
        #expect(layout.hierarchies.map(\.own) == ["/system.slice/a.service"])
    }

    @Test func noCgroupsAreAbsent() {
        #expect(layout("22 1 0:21 / /proc rw - proc proc rw\n\n", "").mode == .absent)
        #expect(throws: Fault.self) { _ = try Cgroup.locate(path: nil, id: "a", layout: CgroupLayout(hierarchies: [])) }
    }

    /// In a container of another engine without a cgroup namespace, mounts show a part of the hierarchy.
    @Test func ownPathIsBelowWhatIsMounted() {
        let mounts = """
            1 2 0:3 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
            4 2 0:3 / /host/memory ro - cgroup cgroup rw,memory
            5 2 0:4 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids
            """
        let layout = layout(mounts, "2:memory:/docker/abc\n1:pids:/docker/abc/sub\n")
        #expect(layout.hierarchies.map(\.mountPoint) == ["/host/memory", "/sys/fs/cgroup/pids"])
        #expect(layout.hierarchies.map(\.own) == ["/docker/abc", "/sub"])
    }

    @Test func octalEscapesAreRead() {
        let layout = layout("1 2 0:3 / /mnt/a\\040b\\134c rw - cgroup2 cgroup2 rw\n", "")
        #expect(layout.hierarchies.first?.mountPoint == "/mnt/a b\\c")
    }

    @Test(arguments: [
        ("/a/b", "/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/unified/a/b"),
        ("a", "/sys/fs/cgroup/memory/process/x/a", "/sys/fs/cgroup/unified/a"),
        ("/../../etc", "/sys/fs/cgroup/memory/etc", "/sys/fs/cgroup/unified/etc"),
        ("//a/./b/", "/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/unified/a/b"),
    ])
    func pathCannotLeaveTheMount(path: String, memory: String, unified: String) throws {
        let layout = layout(hybrid, "4:memory:/process/x\n0::/init\n")
        let cgroup = try Cgroup.locate(path: path, id: "id", layout: layout)
        #expect(cgroup.record.pathsByController["memory"] == memory)
        #expect(cgroup.record.pathsByController[""] == unified)
        #expect(cgroup.record.pathsByController["name=systemd"]?.hasPrefix("/sys/fs/cgroup/systemd/") == true)
    }

    @Test func absentPathIsTheContainersId() throws {
        let cgroup = try Cgroup.locate(path: nil, id: "web", layout: layout(hybrid, ""))
        #expect(cgroup.record.pathsByController["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct/web")
    }

    @Test(arguments: ["/", "..", "/./", "a\nb", "a\0b"])
    func rootAndControlCharactersAreRefused(path: String) {
        #expect(throws: Fault.self) { _ = try Cgroup.locate(path: path, id: "a", layout: layout(hybrid, "")) }
    }

    @Test(arguments: [
        ("system.slice:runc:web", "/system.slice/runc-web.scope"),
        ("user-1000.slice:p:x", "/user.slice/user-1000.slice/p-x.scope"),
        (":runc:web", "/system.slice/runc-web.scope"), ("-.slice:a:b", "/a-b.scope"),
    ])
    func systemdPathsAreSliceAndScope(path: String, below: String) throws {
        let layout = layout("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/\n")
        let cgroup = try Cgroup.locate(path: path, id: "web", layout: layout, driver: .systemd)
        #expect(cgroup.record.pathsByController == ["": "/sys/fs/cgroup" + below])
        #expect(cgroup.isMadeBySystemd)
    }

    @Test func systemdRefusesPlainPaths() {
        let layout = layout("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/\n")
        #expect(throws: Fault.self) { _ = try Cgroup.locate(path: "/a/b", id: "a", layout: layout, driver: .systemd) }
    }

    @Test func recordSurvivesJSON() throws {
        let record = try Cgroup.locate(path: "/a", id: "a", layout: layout(hybrid, "")).record
        #expect(try CgroupRecord(json: record.json) == record)
        #expect(throws: (any Error).self) {
            _ = try CgroupRecord(json: Array(#"{"entries":[{"path":"/etc","mountPoint":"/sys/fs/cgroup"}]}"#.utf8))
        }
    }

    @Test func mountsShowWhatTheHostHas() throws {
        let mounts = try Cgroup.locate(path: "/a", id: "a", layout: layout(hybrid, "")).mounts
        #expect(mounts.map(\.folder) == ["cpu,cpuacct", "memory", "systemd", "unified"])
        #expect(mounts.map(\.data) == ["cpu,cpuacct", "memory", "none,name=systemd", ""])
        #expect(mounts[0].links == ["cpu", "cpuacct"])
        #expect(mounts[3].type == "cgroup2")
    }
}
