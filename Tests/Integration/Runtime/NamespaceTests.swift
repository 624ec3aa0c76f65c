import Glibc
import Model
import TestSupport
import Testing

@Suite struct NamespaceTests {
    @Test func newNamespacesAreTheContainersOwn() throws {
        let scene = try RuntimeScene("newns")
        let result = try scene.run("hostname; echo $$; ip link | grep -c ': '")
        #expect(result.status == 0, "\(result.error)")
        #expect(result.output == "scene\n1\n1\n")
        #expect(scene.isClean())
    }

    @Test func aUserNamespaceMapsRoot() throws {
        let scene = try RuntimeScene("userns")
        let result = try scene.run("id -u; cat /proc/self/uid_map; echo x >/dev/null && echo wrote") { $0.withUserNamespace() }
        #expect(result.status == 0, "\(result.error)")
        #expect(result.output.hasPrefix("0\n"))
        #expect(result.output.contains("100000      65536"))
        #expect(result.output.hasSuffix("wrote\n"))
    }

    @Test func timeOffsetsCount() throws {
        let scene = try RuntimeScene("timens")
        let result = try scene.run("cut -d. -f1 /proc/uptime") {
            $0.withLinux {
                $0.namespaces.append(OCI.Namespace(type: .time))
                $0.timeOffsets = OCI.TimeOffsets(boottime: OCI.TimeOffset(secs: 10_000_000))
            }
        }
        #expect(result.status == 0, "\(result.error)")
        #expect(Int(result.output.dropLast()) ?? 0 >= 10_000_000)
    }

    @Test func timeOffsetsAndAUserNamespaceGoTogether() throws {
        let scene = try RuntimeScene("timeuser")
        let result = try scene.run("id -u; cut -d. -f1 /proc/uptime") {
            $0.withUserNamespace()
            $0.withLinux {
                $0.namespaces.append(OCI.Namespace(type: .time))
                $0.timeOffsets = OCI.TimeOffsets(boottime: OCI.TimeOffset(secs: 10_000_000))
            }
        }
        #expect(result.status == 0, "\(result.error)")
        #expect(result.output.hasPrefix("0\n100"))
    }

    @Test(arguments: [false, true])
    func aNetworkNamespaceIsJoinedByPath(withUserNamespace: Bool) throws {
        let scene = try RuntimeScene("joinnet\(withUserNamespace)")
        let holder = try RunningProcess(["/usr/bin/unshare", "-n", "/bin/sleep", "100"])
        defer {
            holder.signal(SIGKILL)
            _ = holder.finish()
        }
        let own = run(["/bin/readlink", "/proc/self/ns/net"]).output
        #expect(eventually { run(["/bin/readlink", "/proc/\(holder.pid)/ns/net"]).output != own })
        let wanted = run(["/bin/readlink", "/proc/\(holder.pid)/ns/net"]).output
        let result = try scene.run("readlink /proc/self/ns/net") {
            if withUserNamespace { $0.withUserNamespace() }
            $0.withLinux { linux in
                linux.namespaces = linux.namespaces.map {
                    $0.type == .network ? OCI.Namespace(type: .network, path: "/proc/\(holder.pid)/ns/net") : $0
                }
            }
        }
        #expect(result.status == 0, "\(result.error)")
        #expect(result.output == wanted)
    }

    @Test func aPathThatIsNoNamespaceIsNamed() throws {
        let scene = try RuntimeScene("badns")
        let result = try scene.run("true") {
            $0.withLinux { $0.namespaces[1] = OCI.Namespace(type: .network, path: "/proc/self/ns/pid") }
        }
        #expect(result.status == 1)
        #expect(result.error.contains("linux.namespaces[1].path: /proc/self/ns/pid is no network namespace"))
        #expect(scene.isClean())
    }
}
