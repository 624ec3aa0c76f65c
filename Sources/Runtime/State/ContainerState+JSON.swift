import JSON
import Model

extension ContainerState: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var version = 0
        var id = ""
        var bundle = ""
        var pid: CInt = 0
        var startTicks: UInt64 = 0
        var created = Timestamp(nanoseconds: 0)
        var owner: UInt32 = 0
        var cgroup: CgroupRecord?
        var spec: OCI.Spec?
        try reader.object { key, reader in
            switch key {
            case "version": try reader.assign(&version)
            case "id": try reader.assign(&id)
            case "bundle": try reader.assign(&bundle)
            case "pid": try reader.assign(&pid)
            case "startTicks": try reader.assign(&startTicks)
            case "created": try reader.assign(&created)
            case "owner": try reader.assign(&owner)
            case "cgroup": try reader.assign(&cgroup)
            case "spec": try reader.assign(&spec)
            default: try reader.skip()
            }
        }
        guard (1...Self.currentVersion).contains(version) else { throw reader.fault("state has version \(version)") }
        guard let spec, !id.isEmpty else { throw reader.fault("id or spec is missing") }
        self.init(
            id: id, bundle: bundle, pid: pid, startTicks: startTicks, created: created, owner: owner, cgroup: cgroup, spec: spec
        )
        self.version = version
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("version", version)
            writer.member("id", id)
            writer.member("bundle", bundle)
            writer.member("pid", pid)
            writer.member("startTicks", startTicks)
            writer.member("created", created)
            writer.member("owner", owner)
            writer.member("cgroup", ifPresent: cgroup)
            writer.member("spec", spec)
        }
    }
}
