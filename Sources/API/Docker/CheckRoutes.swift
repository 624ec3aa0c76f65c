import Engine
import JSON
import Model

extension Router<Route> {
    /// Our own: `GET /skiff/v1/system/check` looks, `POST` with `repair=1` mends. One JSON object a line: `{"progress":…}`, at the
    /// end `{"report":…}`. `GET /skiff/v1/system/host`: what the kernel has and lacks.
    mutating func addCheck(_ ready: @escaping Ready) {
        get("/skiff/v1/system/check") { request in
            Self.stream(try await ready().system.check(repair: false, caller: request.caller))
        }
        post("/skiff/v1/system/check") { request in
            let credentials = try Self.credentials(request.fields["x-registry-config"])
            return Self.stream(
                try await ready().system.check(
                    repair: request.query.bool("repair"), credentials: credentials, caller: request.caller))
        }
        get("/skiff/v1/system/host") { _ in .json(HostDocument(features: try await ready().system.hostFeatures())) }
    }

    /// `X-Registry-Config`, as docker's build sends it: base64url of a JSON object, a credential by each registry's address. Answers them
    /// by host, the Hub's under its domain.
    private static func credentials(_ header: String?) throws -> [String: RegistryCredential] {
        guard let header, !header.isEmpty else { return [:] }
        guard let bytes = Base64Text.decode(header) else {
            throw Fault(.invalid, "the header X-Registry-Config is not base64 of JSON")
        }
        var found: [String: RegistryCredential] = [:]
        do {
            var reader = try JSONReader(bytes)
            try reader.object { address, reader in
                let credential = try RegistryCredential(from: &reader)
                let bare = address.hasPrefix("https://") ? address.dropFirst(8) : address[...]
                let host = String(bare.prefix { $0 != "/" })
                found[host == "index.docker.io" ? Reference.defaultDomain : host] = credential
            }
        } catch let fault as JSONFault { throw Fault(.invalid, "the header X-Registry-Config: \(fault)") }
        return found
    }

    private static func stream(_ messages: PullStream<CheckMessage>) -> Answer {
        .stream("application/json") { out in
            do {
                for try await message in messages { try await out.write(line: CheckDocument(message: message)) }
            } catch { try await out.write(line: CheckFault(fault: Fault(error))) }
        }
    }
}

private struct CheckFault: JSONWritable {
    let fault: Fault
    func write(to writer: inout JSONWriter) { writer.object { $0.member("error", fault.description) } }
}

private struct CheckDocument: JSONWritable {
    let message: CheckMessage

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            switch message {
            case .progress(let progress):
                writer.key("progress")
                writer.object { writer in
                    writer.member("what", progress.what)
                    writer.member("done", progress.done)
                    writer.member("total", progress.total)
                }
            case .report(let report):
                writer.key("report")
                Self.write(report, to: &writer)
            }
        }
    }

    private static func write(_ report: CheckReport, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("sound", report.isSound)
            writer.key("checked")
            writer.object { writer in
                writer.member("blobs", report.blobs)
                writer.member("layers", report.layers)
                writer.member("images", report.images)
                writer.member("containers", report.containers)
                writer.member("volumes", report.volumes)
                writer.member("bytes", report.bytes)
            }
            writer.key("damages")
            writer.array { writer in for damage in report.damages { write(damage, report, to: &writer) } }
        }
    }

    private static func write(_ damage: CheckReport.Damage, _ report: CheckReport, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("kind", damage.kind.rawValue)
            writer.member("subject", damage.subject)
            if !damage.path.isEmpty { writer.member("path", damage.path) }
            writer.member("problem", damage.problem)
            writer.member("images", damage.images.map { report.names[$0] ?? $0.short })
            writer.member("imageIDs", damage.images.map(\.description))
            writer.member("containers", damage.containers)
            writer.member("remedy", damage.remedy)
            writer.member("repaired", ifPresent: damage.repair)
        }
    }
}

private struct HostDocument: JSONWritable {
    let features: [HostFeature]

    func write(to writer: inout JSONWriter) {
        writer.array { writer in
            for feature in features {
                writer.object { writer in
                    writer.member("name", feature.name)
                    writer.member("status", feature.status.rawValue)
                    writer.member("detail", feature.detail)
                    writer.member("without", feature.without)
                }
            }
        }
    }
}
