import Engine
import Model
import Testing

struct SecurityTests {
    @Test func `Fourteen capabilities by default`() throws {
        #expect(try CapabilitySet.granted(add: [], drop: [], privileged: false).count == 14)
        #expect(try !CapabilitySet.granted(add: [], drop: [], privileged: false).contains("CAP_SYS_ADMIN"))
    }

    @Test func `Capabilities are added and dropped in any spelling`() throws {
        let granted = try CapabilitySet.granted(add: ["net_admin"], drop: ["CAP_CHOWN", "mknod"], privileged: false)
        #expect(granted.contains("CAP_NET_ADMIN"))
        #expect(!granted.contains("CAP_CHOWN"))
        #expect(!granted.contains("CAP_MKNOD"))
        #expect(try CapabilitySet.granted(add: [], drop: ["all"], privileged: false).isEmpty)
        #expect(try CapabilitySet.granted(add: ["CHOWN"], drop: ["ALL"], privileged: false) == ["CAP_CHOWN"])
        #expect(try CapabilitySet.granted(add: ["ALL"], drop: ["SYS_ADMIN"], privileged: false).count == 40)
        #expect(try CapabilitySet.granted(add: [], drop: [], privileged: true).count == 41)
    }

    @Test func `An unknown capability is named`() {
        #expect {
            try CapabilitySet.granted(add: ["FOO"], drop: [], privileged: false)
        } throws: {
            ($0 as? Fault)?.message == "invalid CapAdd: unknown capability: \"CAP_FOO\""
        }
    }

    @Test func `Labels without SELinux are named, with it they are refused`() throws {
        let labelled = try SecurityOptions(["label=disable", "label=type:svirt_t"])
        #expect(
            try labelled.labelWarning(hasSELinux: false)
                == "This kernel has no SELinux: --security-opt label=type:svirt_t has no effect")
        #expect(throws: Fault.self) { try labelled.labelWarning(hasSELinux: true) }
        for options in [["label=disable"], [], ["no-new-privileges"]] {
            #expect(try SecurityOptions(options).labelWarning(hasSELinux: true) == nil)
        }
    }

    @Test func `Security options in both spellings`() throws {
        let options = try SecurityOptions(["no-new-privileges", "apparmor:mine", "systempaths=unconfined", "label=disable"])
        #expect(options.noNewPrivileges)
        #expect(options.apparmor == "mine")
        #expect(options.systemPathsUnconfined)
        #expect(options.labels == ["disable"])
        #expect(throws: Fault.self) { try SecurityOptions(["foo"]) }
        #expect(throws: Fault.self) { try SecurityOptions(["foo=bar"]) }
        #expect(throws: Fault.self) { try SecurityOptions(["seccomp={broken"]) }
    }

    @Test func `Device rules`() throws {
        let rule = try HostDevice.parseRule("c 1:* rwm")
        #expect(rule.type == "c")
        #expect(rule.major == 1)
        #expect(rule.minor == nil)
        for bad in ["", "c 1:3", "x 1:3 rwm", "c 1 rwm", "c 1:3 rwx"] {
            #expect(throws: Fault.self) { try HostDevice.parseRule(bad) }
        }
    }

    @Test func `Limits that contradict each other are refused in docker's words`() {
        func message(_ change: (inout Docker.HostConfig) -> Void) -> String? {
            var host = Docker.HostConfig()
            change(&host)
            do {
                try ResourceLimits.validate(host)
                return nil
            } catch { return Fault(error).message }
        }
        #expect(message { $0.memory = 1 << 20 } == "Minimum memory limit allowed is 6MB")
        #expect(
            message {
                $0.memory = 64 << 20
                $0.memorySwap = 32 << 20
            } == "Minimum memoryswap limit should be larger than memory limit, see usage")
        #expect(
            message { $0.memorySwap = 32 << 20 }
                == "You should always set the Memory limit when using Memoryswap limit, see usage")
        #expect(
            message {
                $0.nanoCpus = 1_000_000_000
                $0.cpuQuota = 5000
            } == "Conflicting options: Nano CPUs and CPU Quota cannot both be set")
        #expect(message { $0.memory = 64 << 20 } == nil)
    }
}
