import TestSupport
import Testing

struct SharedMemoryTests {
    @Test func `A joined IPC namespace brings the other's shared memory along`() throws {
        let engine = try EngineFixture("shm")
        defer { engine.clean() }
        try engine.importBusybox()
        func ran(_ words: String...) -> ProcessResult {
            run([binaries + "/skiff", "-H", "unix://" + engine.socket, "run", "--network", "none"] + words)
        }
        let keep = ["busybox:test", "sh", "-c", "echo from-donor >/dev/shm/note; sleep 300"]
        #expect(ran("-d", "--name", "donor", "--ipc", "shareable", keep[0], keep[1], keep[2], keep[3]).status == 0)
        #expect(eventually { engine.skiff("exec", "donor", "cat", "/dev/shm/note").output == "from-donor\n" })
        let guest = ran(
            "--rm", "--ipc", "container:donor", "busybox:test", "sh", "-c",
            "cat /dev/shm/note; echo back >/dev/shm/answer; grep ' /dev/shm ' /proc/self/mountinfo")
        #expect(guest.output.hasPrefix("from-donor\n"), "\(guest.error)")
        for flag in ["nosuid", "nodev", "noexec"] { #expect(guest.output.contains(flag)) }
        #expect(engine.skiff("exec", "donor", "cat", "/dev/shm/answer").output == "back\n")
        let spaces = ran("--rm", "--ipc", "container:donor", "busybox:test", "readlink", "/proc/self/ns/ipc").output
        #expect(engine.skiff("exec", "donor", "readlink", "/proc/self/ns/ipc").output == spaces)

        #expect(ran("-d", "--name", "alone", "busybox:test", "sleep", "300").status == 0)
        let refused = ran("--rm", "--ipc", "container:alone", "busybox:test", "true")
        #expect(refused.status == 125)
        #expect(refused.error.contains("non-shareable IPC (hint: use IpcMode:shareable for the donor container)"))
    }
}
