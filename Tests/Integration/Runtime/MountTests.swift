import Glibc
import Model
import TestSupport
import Testing

@Suite struct MountTests {
    @Test func tmpcopyupKeepsContentAndOwners() throws {
        let scene = try RuntimeScene("copyup")
        _ = run([
            "/bin/sh", "-c",
            "mkdir -p \(scene.root)/data/sub; echo hi >\(scene.root)/data/sub/f; chown 7:8 \(scene.root)/data/sub/f",
        ])
        let result = try scene.run("stat -c '%u:%g' /data/sub/f; cat /data/sub/f; touch /data/x") {
            $0.mounts.append(OCI.Mount(destination: "/data", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "ro"]))
        }
        #expect(result.output == "7:8\nhi\n")
        #expect(result.error.contains("Read-only file system"))
    }

    @Test func recursiveAttributesReachMountsBelow() throws {
        let scene = try RuntimeScene("rro")
        let source = scene.scratch.folder("source/below")
        #expect(run(["/bin/mount", "-t", "tmpfs", "below", source]).status == 0)
        scene.scratch.defer_ { _ = run(["/bin/umount", source]) }
        let outer = scene.scratch.path + "/source"
        let plain = try scene.run("touch /m/below/x && echo written") {
            $0.mounts.append(OCI.Mount(destination: "/m", source: outer, options: ["rbind", "ro"]))
        }
        #expect(plain.output == "written\n", "\(plain.error)")
        let recursive = try scene.run("touch /m/below/y || grep ' /m/below ' /proc/mounts") {
            $0.mounts.append(OCI.Mount(destination: "/m", source: outer, options: ["rbind", "rro", "rnosuid", "rnoatime"]))
        }
        #expect(recursive.error.contains("Read-only file system"))
        #expect(recursive.output.contains("ro,nosuid,noatime"))
    }

    @Test func aBindIsIdmapped() throws {
        let scene = try RuntimeScene("idmap")
        let source = scene.scratch.folder("source")
        _ = run(["/bin/sh", "-c", "touch \(source)/f; chown 5:6 \(source)/f"])
        let result = try scene.run("stat -c '%u:%g' /m/f") {
            $0.mounts.append(
                OCI.Mount(
                    destination: "/m", source: source, options: ["bind"],
                    uidMappings: [OCI.IDMapping(containerID: 0, hostID: 1000, size: 100)],
                    gidMappings: [OCI.IDMapping(containerID: 0, hostID: 2000, size: 100)]))
        }
        #expect(result.output == "1005:2006\n", "\(result.error)")
    }

    @Test func destinationsStayInsideTheRoot() throws {
        let scene = try RuntimeScene("inroot")
        _ = run(["/bin/ln", "-s", "/../../../../etc", scene.root + "/escape"])
        let source = try scene.scratch.file("source", "inside")
        let result = try scene.run("cat /etc/made/here") {
            $0.mounts.append(OCI.Mount(destination: "/escape/made/here", source: source, options: ["bind"]))
        }
        #expect(result.output == "inside", "\(result.error)")
        #expect(access("/etc/made", F_OK) != 0)
    }

    @Test func maskedAndReadOnlyPathsHold() throws {
        let scene = try RuntimeScene("masked")
        let result = try scene.run("cat /proc/keys | wc -c; ls /sys/firmware | wc -l; echo 1 >/proc/sys/kernel/domainname")
        #expect(result.output == "0\n0\n")
        #expect(result.error.contains("Read-only file system"))
    }

    @Test func aReadOnlyRootIsReadOnly() throws {
        let scene = try RuntimeScene("roroot")
        let result = try scene.run("touch /x; touch /dev/shm/y && echo shm") { $0.root?.readonly = true }
        #expect(result.output == "shm\n")
        #expect(result.error.contains("Read-only file system"))
    }

    @Test(arguments: ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable"])
    func rootPropagationIsSet(_ propagation: String) throws {
        let scene = try RuntimeScene("prop" + propagation)
        let result = try scene.run("grep ' / / ' /proc/self/mountinfo || grep ' / ' /proc/self/mountinfo | head -1") {
            $0.withLinux { $0.rootfsPropagation = propagation }
        }
        #expect(result.status == 0, "\(result.error)")
        if propagation.hasSuffix("shared") { #expect(result.output.contains("shared:")) }
        if propagation.hasSuffix("private") { #expect(!result.output.contains("shared:")) }
    }

    @Test func aFaultNamesTheMount() throws {
        let scene = try RuntimeScene("badmount")
        let missing = try scene.run("true") {
            $0.mounts.append(OCI.Mount(destination: "/m", source: "/nosuch", options: ["bind"]))
        }
        #expect(missing.status == 1)
        #expect(missing.error.contains("mounts[6].source: cannot bind /nosuch"))
        let option = try scene.run("true") {
            $0.mounts.append(OCI.Mount(destination: "/m", type: "tmpfs", options: ["nosuchoption"]))
        }
        #expect(option.error.contains("mounts[6]"))
        #expect(option.error.contains("nosuchoption"))
        #expect(scene.isClean())
    }

    @Test func nothingIsBoundInsideProc() throws {
        let scene = try RuntimeScene("inproc")
        let source = try scene.scratch.file("source", "x")
        let direct = try scene.run("true") {
            $0.mounts.append(OCI.Mount(destination: "/proc/sys/kernel/core_pattern", source: source, options: ["bind"]))
        }
        #expect(direct.error.contains("mounts[6].destination"))
        _ = run(["/bin/ln", "-s", "/proc/1", scene.root + "/link"])
        let byLink = try scene.run("true") {
            $0.mounts.append(OCI.Mount(destination: "/link/environ", source: source, options: ["bind"]))
        }
        #expect(byLink.status == 1)
        #expect(byLink.error.contains("lies on a procfs"))
    }
}
