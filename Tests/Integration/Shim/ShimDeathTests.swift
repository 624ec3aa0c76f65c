import Glibc
import Linux
import Model
import Testing
import TestSupport

@Suite struct ShimDeathTests {
    @Test func aKilledShimIsSeenAndLeavesNoRecordButItsCgroup() throws {
        let shim = try ShimDriver(["/bin/sleep", "100"])
        let started = try shim.start()
        kill(shim.shimPid, SIGKILL)
        #expect(shim.waitForShim() == 137)
        // The connection ends without an exit event: an engine kills what is left through the cgroup
        #expect(throws: SetupFailure.self) { try shim.exit(timeout: 1) }
        #expect(shim.isClosed && shim.exitRecord == nil)
        #expect(kill(started.pid, 0) == 0)
        kill(started.pid, SIGKILL)
        #expect(eventually { !shim.exists("/proc/\(started.pid)/root/bin") })
    }

    @Test func anEngineFindsTheSocketOrTheRecordAtEveryMoment() throws {
        for _ in 0..<20 {
            let shim = try ShimDriver(["/bin/true"])
            try shim.post(.start)
            shim.disconnect()
            // As a new engine does, over and over while the container ends
            var sawRecord = false
            var sawSocket = false
            let deadline = monotonic() + 10
            while !sawRecord, monotonic() < deadline {
                if let socket = try? SeqPacket.connect(to: shim.bundle + "/shim.sock").release() {
                    close(socket)
                    sawSocket = true
                } else if shim.exists(shim.bundle + "/shim.sock") {
                    continue
                } else {
                    // Not made yet, or gone: gone only with a record
                    sawRecord = shim.exitRecord != nil
                    if sawSocket { #expect(sawRecord) }
                }
            }
            #expect(sawRecord)
            #expect(shim.waitForShim() != nil)
        }
    }
}
