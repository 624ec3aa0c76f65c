import Model
import Runtime
import TestSupport
import Testing

/// What a container gets by itself where the kernel has AppArmor.
@Suite(
    .serialized,
    .enabled(
        if: AppArmor.isEnabled && run(["/bin/sh", "-c", "PATH=$PATH:/usr/sbin:/sbin command -v apparmor_parser"]).status == 0,
        "needs CONFIG_SECURITY_APPARMOR, apparmor among the kernel's lsm=, and apparmor_parser"))
struct AppArmorTests {
    @Test func `Containers get the default profile, execs too`() throws {
        let engine = try EngineFixture("apparmor")
        defer { engine.clean() }
        try engine.importBusybox()
        let label = ["cat", "/proc/self/attr/current"]
        let confined = "\(DefaultAppArmor.name) (enforce)\n"
        func ran(_ flags: String...) -> ProcessResult {
            run(
                [binaries + "/skiff", "-H", "unix://" + engine.socket, "run", "--rm", "--network", "none"] + flags
                    + ["busybox:test"] + label)
        }
        let plain = ran()
        #expect(plain.output == confined, "\(plain.error)\(engine.log)")
        #expect(ran("--security-opt", "apparmor=unconfined").output == "unconfined\n")
        #expect(ran("--security-opt", "apparmor=\(DefaultAppArmor.name)").output == confined)
        #expect(ran("--privileged").output == "unconfined\n")
        #expect(ran("--security-opt", "no-new-privileges").output == confined)
        #expect(ran("--user", "1000").output == confined)
        let missing = ran("--security-opt", "apparmor=no-such-profile")
        // 127 for the kernel's "no such file or directory", as in docker
        #expect(missing.status >= 125 && missing.error.contains("no-such-profile"), "\(missing.status) \(missing.error)")

        engine.skiff("run", "-d", "--network", "none", "--name", "confined", "busybox:test", "sleep", "300")
        engine.skiff("run", "-d", "--network", "none", "--name", "privileged", "--privileged", "busybox:test", "sleep", "300")
        #expect(engine.skiff("exec", "confined", "cat", "/proc/self/attr/current").output == confined)
        #expect(engine.skiff("exec", "--privileged", "confined", "cat", "/proc/self/attr/current").output == confined)
        #expect(engine.skiff("inspect", "-f", "{{.AppArmorProfile}}", "confined").output == "\(DefaultAppArmor.name)\n")
        #expect(engine.skiff("inspect", "-f", "{{.AppArmorProfile}}", "privileged").output == "unconfined\n")
        #expect(engine.skiff("info", "-f", "{{.SecurityOptions}}").output.contains("name=apparmor"))
        // What the profile is for; and what it must leave alone
        #expect(engine.skiff("exec", "confined", "sh", "-c", "echo b >/proc/sysrq-trigger").status != 0)
        #expect(engine.skiff("exec", "confined", "sh", "-c", "echo x >/tmp-file && cat /tmp-file").output == "x\n")
        #expect(engine.skiff("stop", "-t", "1", "confined").status == 0)
    }

    @Test func `The profile is loaded once, and again when somebody has removed it`() throws {
        let engine = try EngineFixture("apparmor-again")
        defer { engine.clean() }
        try engine.importBusybox()
        func label() -> String {
            engine.skiff("run", "--rm", "--network", "none", "busybox:test", "cat", "/proc/self/attr/current").output
        }
        #expect(label() == "\(DefaultAppArmor.name) (enforce)\n")
        let record = engine.runRoot + "/apparmor-default"
        let made = run(["/usr/bin/stat", "-c", "%i %Y", record]).output
        engine.end()
        try engine.start()
        #expect(label() == "\(DefaultAppArmor.name) (enforce)\n")
        #expect(run(["/usr/bin/stat", "-c", "%i %Y", record]).output == made)
        engine.end()
        _ = run(["/bin/sh", "-c", "PATH=$PATH:/usr/sbin:/sbin apparmor_parser --remove '\(record)'"])
        try engine.start()
        #expect(label() == "\(DefaultAppArmor.name) (enforce)\n")
    }
}
