import JSON
import Model
import Networks

/// A published port of a container, and who reaches it.
public struct AuditedPort: Sendable {
    public var audit: PortAudit
    /// Of the container; nil when it has ended meanwhile.
    public var container: ObjectID?
    public var name: String?
}

extension NetworkService {
    /// Every published port, with the rules as they are now.
    public func auditPorts() async throws -> [AuditedPort] {
        let audits = try await core.sandboxes.auditPorts()
        let owners = core.registry.all.map(\.snapshot).flatMap { snapshot in
            (snapshot.sandbox?.bindings ?? []).map { ($0, snapshot) }
        }
        let byBinding = Dictionary(owners) { first, _ in first }
        return audits.map { audit in
            let owner = byBinding[audit.binding]
            return AuditedPort(audit: audit, container: owner?.id, name: owner?.name)
        }
    }

    /// Chains of other programs that drop by default what is forwarded, and what was done about each.
    public func forwarding() async -> [ForwardDefault] { await core.sandboxes.forwarding() }
}

extension ForwardDefault: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("chain", chain)
            writer.member("end", end)
            writer.member("answer", answer.rawValue)
            writer.member("place", place)
            writer.member("rules", rules)
            writer.member("note", ifPresent: note)
        }
    }

    /// For people, where packets are dropped.
    var warning: String? {
        guard answer == .closed else { return nil }
        return "chain \(chain) drops what containers send and receive by default (\(end)): \(note ?? "")"
    }
}

extension AuditedPort: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        let binding = audit.binding
        writer.object { writer in
            writer.member("hostAddress", binding.hostAddress)
            writer.member("hostPort", binding.hostPort)
            writer.member("protocol", binding.proto)
            writer.member("containerPort", binding.containerPort)
            writer.member("target", audit.target)
            writer.member("container", ifPresent: container)
            writer.member("name", ifPresent: name)
            writer.member("exposure", binding.exposure)
            writer.key("host")
            Self.write(audit.host, to: &writer)
            writer.key("others")
            Self.write(audit.others, to: &writer)
        }
    }

    private static func write(_ side: PortAudit.Side, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("reach", side.reach.rawValue)
            writer.member("reason", ifPresent: side.reason)
            writer.key("chains")
            writer.array { writer in
                for gate in side.gates {
                    writer.object { writer in
                        writer.member("chain", gate.chain)
                        writer.key("answers")
                        writer.array { writer in for answer in gate.answers { write(answer, to: &writer) } }
                    }
                }
            }
        }
    }

    private static func write(_ answer: PortAudit.Answer, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("when", answer.when)
            writer.member("verdict", answer.verdict.rawValue)
            writer.member("chain", answer.chain)
            writer.member("handle", ifPresent: answer.handle)
            writer.member("note", ifPresent: answer.note)
        }
    }
}
