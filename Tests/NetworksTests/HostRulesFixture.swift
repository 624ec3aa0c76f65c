import Linux
import Model
import Networks
import Testing

/// The host's rules as `Tests/Support/capture-rules.py` wrote them down: what ufw and firewalld make, and a script of nft's.
struct HostRulesFixture {
    let rules: HostRules

    init(_ name: String) throws {
        let file = "\(#filePath)".split(separator: "/").dropLast().joined(separator: "/")
        let text = String(decoding: try SmallFile.read("/\(file)/HostRules/\(name).txt"), as: UTF8.self)
        var replies: [NetlinkReply] = []
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            replies += try NetlinkReply.parse(Self.bytes(line)[...])
        }
        func table(_ reply: NetlinkReply) throws -> TablesName {
            let attributes = try NetlinkAttributes(reply.payload.dropFirst(4))
            return TablesName(family: reply.payload.first ?? 0, name: attributes.text(1) ?? "")
        }
        var rules = HostRules(chains: try replies.compactMap { try TablesChain($0) })
        for name in Set(rules.gates.map(\.table)) {
            let own = try replies.filter { try table($0) == name }
            try rules.add(
                name, rules: try own.compactMap { try TablesRule($0) }, sets: try own.compactMap { try TablesSet($0) },
                members: { set in
                    try own.filter { try NetlinkAttributes($0.payload.dropFirst(4)).text(2) == set }
                        .flatMap { try TablesMember.parse($0) }
                })
        }
        self.rules = rules
    }

    private static func bytes(_ line: Substring) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = line.utf8[...]
        while rest.count >= 2 {
            bytes.append(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) ?? 0)
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    func audit(_ port: UInt16, _ proto: PortProtocol = .tcp, on address: String = "0.0.0.0") throws -> PortAudit {
        let host = try #require(IPAddress(address))
        let target = try #require(IPAddress(host.v4 == nil ? "fd00::2" : "172.30.0.2"))
        return PortAudit(
            PublishedPort(
                binding: PortBinding(hostAddress: host, hostPort: port, containerPort: 80, proto: proto), target: target), rules
        )
    }

    /// Who else than the host itself gets through, as lines: conditions, verdict, chain.
    func others(_ port: UInt16, _ proto: PortProtocol = .tcp, on address: String = "0.0.0.0") throws -> [String] {
        try audit(port, proto, on: address).others.gates.flatMap(\.answers).map { answer in
            (answer.when + [answer.verdict.rawValue, "by", answer.chain]).joined(separator: " ")
        }
    }
}
