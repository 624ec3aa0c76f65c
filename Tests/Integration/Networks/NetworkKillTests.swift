import Glibc
import Testing
import TestSupport

/// The engine dies at every named place of what networks do; the next one finishes or undoes it.
@Suite(.serialized) struct NetworkKillTests {
    @Test(arguments: [
        "network.create.recorded", "network.create.raised", "network.connect.attached", "network.disconnect.detached",
        "network.remove.lowered", "network.remove.recorded",
    ])
    func `Killed at every step, networks are whole or gone`(place: String) throws {
        let engine = try EngineFixture("net-\(place)")
        defer { engine.clean() }
        try engine.importBusybox()
        engine.skiff("network", "create", "there")
        engine.skiff("run", "-d", "--network", "there", "--name", "lives", "busybox:test", "sleep", "300")
        engine.end()
        try engine.start(environment: ["SKIFFD_CRASH_AT": place])
        engine.skiff("network", "create", "--subnet", "10.66.0.0/24", "app", timeout: 5)
        engine.skiff("network", "connect", "app", "lives", timeout: 5)
        engine.skiff("network", "disconnect", "app", "lives", timeout: 5)
        engine.skiff("network", "rm", "app", timeout: 5)
        #expect(eventually { kill(engine.pid, 0) != 0 || Self.isZombie(engine.pid) }, "\(place) was not reached")
        engine.end(SIGKILL)

        try engine.start()
        // The same wish is fulfilled again, with the same addresses, whatever was left.
        engine.skiff("network", "disconnect", "app", "lives")
        engine.skiff("network", "rm", "app")
        let made = engine.skiff("network", "create", "--subnet", "10.66.0.0/24", "app")
        #expect(made.status == 0, "\(made.error)")
        let joined = engine.skiff("network", "connect", "--ip", "10.66.0.2", "app", "lives")
        #expect(joined.status == 0, "\(joined.error)")
        let addresses = engine.skiff("exec", "lives", "ip", "-o", "-4", "addr").output
        #expect(addresses.contains("10.66.0.2/24"), "\(addresses)")
        #expect(addresses.split(separator: "\n").count == 3, "\(addresses)")
        #expect(engine.skiff("network", "disconnect", "app", "lives").status == 0)
        #expect(engine.skiff("network", "rm", "app").status == 0)
        #expect(engine.skiff("rm", "-f", "lives").status == 0)
        #expect(engine.skiff("network", "rm", "there").status == 0)
    }

    private static func isZombie(_ pid: pid_t) -> Bool {
        run(["/bin/sh", "-c", "sed 's/.*) //' /proc/\(pid)/stat"]).output.hasPrefix("Z")
    }
}
