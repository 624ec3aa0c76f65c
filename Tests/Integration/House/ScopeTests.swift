import Glibc
import Testing
import TestSupport

/// The integration tests must not see or touch the machine's own network and mounts.
@Suite struct ScopeTests {
    @Test func testsRunInANetworkNamespaceOfTheirOwn() {
        #expect(run(["/usr/bin/readlink", "/proc/self/ns/net"]).output != run(["/usr/bin/readlink", "/proc/1/ns/net"]).output)
        #expect(run(["/usr/bin/readlink", "/proc/self/ns/mnt"]).output != run(["/usr/bin/readlink", "/proc/1/ns/mnt"]).output)
    }
}
