import JSON

extension OCI {
    /// `status` of the state (runtime.md); `paused` is runc's addition.
    public enum Status: String, Sendable, CaseIterable, JSONReadable, JSONWritable {
        case creating
        case created
        case running
        case stopped
        case paused
    }
}

extension OCI {
    /// What `state` answers and what hooks read from stdin (runtime.md, State).
    public struct State: Sendable, Equatable {
        public var ociVersion: String
        public var id: String
        public var status: Status
        /// As the runtime sees it; absent when there is no process.
        public var pid: Int?
        /// Absolute.
        public var bundle: String
        public var annotations: [String: String]

        public init(
            ociVersion: String, id: String, status: Status, pid: Int? = nil, bundle: String, annotations: [String: String] = [:]
        ) {
            self.ociVersion = ociVersion
            self.id = id
            self.status = status
            self.pid = pid
            self.bundle = bundle
            self.annotations = annotations
        }
    }
}

extension OCI.State: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var ociVersion: String?
        var id: String?
        var status: OCI.Status?
        var pid: Int?
        var bundle: String?
        var annotations: [String: String] = [:]
        try reader.object { key, reader in
            switch key {
            case "ociVersion": try reader.assign(&ociVersion)
            case "id": try reader.assign(&id)
            case "status": try reader.assign(&status)
            case "pid": try reader.assign(&pid)
            case "bundle": try reader.assign(&bundle)
            case "annotations": try reader.assign(&annotations)
            default: try reader.ignore()
            }
        }
        guard let ociVersion else { throw reader.fault("ociVersion is missing") }
        guard let id else { throw reader.fault("id is missing") }
        guard let status else { throw reader.fault("status is missing") }
        guard let bundle else { throw reader.fault("bundle is missing") }
        self.init(ociVersion: ociVersion, id: id, status: status, pid: pid, bundle: bundle, annotations: annotations)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("ociVersion", ociVersion)
            writer.member("id", id)
            writer.member("status", status)
            writer.member("pid", ifPresent: pid)
            writer.member("bundle", bundle)
            writer.member("annotations", unlessEmpty: annotations)
        }
    }
}
