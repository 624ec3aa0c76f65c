import Glibc
import Model
import Runtime
import TestSupport
import Testing

private let parser: String? = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"].first { (path: String) in
    access(path, X_OK) == 0
}

@Suite struct SecurityLabelTests {
    @Test(.enabled(if: AppArmor.isEnabled && parser != nil, "needs a kernel with AppArmor, and apparmor_parser"))
    func defaultProfileConfines() throws {
        let bundle = try RuntimeBundle()
        let name = "skiff-test-\(getpid())"
        let file = try bundle.scratch.file("profile", DefaultAppArmor.source(name: name))
        let loaded = run([parser ?? "", "--replace", "--skip-cache", file])
        #expect(loaded.status == 0, "\(loaded.error)")
        defer { _ = run([parser ?? "", "--remove", file]) }
        bundle.process =
            ",\"apparmorProfile\":\"\(name)\",\"capabilities\":{\"bounding\":[\"CAP_SYS_ADMIN\"],\"effective\":[\"CAP_SYS_ADMIN\"],\"permitted\":[\"CAP_SYS_ADMIN\"]}"
        let confined = try bundle.run(["/bin/cat", "/proc/self/attr/current"])
        #expect(confined.output == "\(name) (enforce)\n", "\(confined.error)")
        #expect(try bundle.run(["/bin/sh", "-c", "echo b >/proc/sysrq-trigger"]).status != 0)
        #expect(try bundle.run(["/bin/mount", "-t", "tmpfs", "x", "/tmp"]).status != 0)
        #expect(try bundle.run(["/bin/sh", "-c", "echo x >/tmp/f && cat /tmp/f"]).output == "x\n")
    }

    @Test(.enabled(if: AppArmor.isEnabled, "needs a kernel with AppArmor"))
    func missingProfileIsNamed() throws {
        let bundle = try RuntimeBundle()
        bundle.process = ",\"apparmorProfile\":\"no-such-profile\""
        let result = try bundle.run(["/bin/true"])
        #expect(result.status != 0)
        #expect(result.error.contains("process.apparmorProfile"))
    }

    @Test(.enabled(if: !AppArmor.isEnabled))
    func appArmorWithoutAppArmorNamesTheField() throws {
        let bundle = try RuntimeBundle()
        bundle.process = ",\"apparmorProfile\":\"skiff-default\""
        let result = try bundle.run(["/bin/true"])
        #expect(result.status != 0)
        #expect(result.error.contains("process.apparmorProfile"))
        bundle.process = ",\"apparmorProfile\":\"unconfined\""
        #expect(try bundle.run(["/bin/true"]).status == 0)
    }

    @Test(.enabled(if: !SELinux.isEnabled))
    func seLinuxWithoutSELinuxNamesTheField() throws {
        let bundle = try RuntimeBundle()
        bundle.process = ",\"selinuxLabel\":\"system_u:system_r:container_t:s0:c1,c2\""
        #expect(try bundle.run(["/bin/true"]).error.contains("process.selinuxLabel"))
        bundle.process = ""
        bundle.linux = ",\"mountLabel\":\"system_u:object_r:container_file_t:s0\""
        #expect(try bundle.run(["/bin/true"]).error.contains("linux.mountLabel"))
    }
}
