import JSON
import Model
import Testing

@Suite struct OCISpecTests {
    private func read(_ text: String) throws -> OCI.Spec { try OCI.Spec(json: Array(text.utf8)) }

    @Test func aSpecSurvivesARoundTrip() throws {
        let text = #"""
            {"ociVersion":"1.3.0","process":{"user":{"uid":1,"gid":2,"additionalGids":[5]},"args":["sh"],"cwd":"/",
            "rlimits":[{"type":"RLIMIT_CORE","hard":18446744073709551615,"soft":1}],
            "scheduler":{"policy":"SCHED_BATCH","nice":3},"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":4}},
            "root":{"path":"rootfs","readonly":true},"mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
            "linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/proc/self/fd/4"}],
            "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]},
            "timeOffsets":{"boottime":{"secs":-5,"nanosecs":7}}}}
            """#
        let spec = try read(text)
        #expect(try OCI.Spec(json: spec.json) == spec)
        #expect(spec.process?.rlimits.first?.hard == .max)
        #expect(spec.linux?.namespaces.last?.path == "/proc/self/fd/4")
        #expect(spec.linux?.seccomp?.syscalls.first?.args.first?.op == .equal)
    }

    @Test(arguments: [
        (#"{"ociVersion":"1","process":{"cwd":"/","user":{"uid":-1}}}"#, "process.user.uid"),
        (#"{"ociVersion":"1","process":{"cwd":"/","user":{"uid":4294967296}}}"#, "process.user.uid"),
        (#"{"ociVersion":"1","process":{"args":[]}}"#, "process"),
        (#"{"ociVersion":"1","mounts":[{"destination":"/a"},{"destination":7}]}"#, "mounts[1].destination"),
        (#"{"ociVersion":"1","linux":{"namespaces":[{"type":"nosuch"}]}}"#, "linux.namespaces[0].type"),
        (
            #"{"ociVersion":"1","linux":{"resources":{"hugepageLimits":[{"limit":1,"pageSize":"64kB"}]}}}"#,
            "linux.resources.hugepageLimits[0]"
        ),
    ])
    func aFaultNamesTheJSONPath(_ text: String, _ path: String) {
        let fault = #expect(throws: JSONFault.self) { try read(text) }
        #expect(fault?.path == path)
    }

    @Test func unknownMembersAreNotedByPath() throws {
        var reader = try JSONReader(
            #"{"ociVersion":"1","new":{"a":1},"mounts":[{"destination":"/a","x":[]}],"linux":{"y":{}}}"#)
        _ = try OCI.Spec(from: &reader)
        #expect(reader.ignored == ["new", "mounts[0].x", "linux.y"])
    }

    @Test func nullIsTheSameAsAbsent() throws {
        let spec = try read(#"{"ociVersion":"1","process":null,"mounts":null,"hostname":null,"linux":{"sysctl":null}}"#)
        #expect(spec == OCI.Spec(ociVersion: "1", linux: OCI.Linux()))
    }
}
