import Client
import JSON
import Linux
import Model

/// `port audit`: who reaches each published port, and why.
enum PortAuditCommand {
    static let command = Command(
        "port audit", group: .hidden, "Show who reaches each published port, and which rule of the host decides",
        usage: "[OPTIONS]", .none,
        flags: [
            .string("format", nil, "Format output: 'table' (default) or 'json'", values: .words(["table", "json"])),
            .bool("rules", nil, "Show every rule that decides, in its order"),
        ],
        details: """
            Published ports obey the host's own rules for input (nftables, and iptables with its nf_tables back end, as ufw and
            firewalld write them): who could not reach a program of the host that listens on the port does not reach the
            container. This command reads the rules as they are now.

            REACHED BY is everybody, some or nobody besides this host itself. A rule that cannot be judged for published ports
            (a match with the socket's user, say) counts as closed, and is named. A port is taken out of the host's policy
            with the label dev.skiff.ports.exposure=open on its container.

            Below the ports are the chains of the host's firewall that drop by default what is forwarded, and the rules marked
            skiff that the engine has added there (skiffd --forward-rules).

            A container whose name is audit is asked about with 'skiff container port audit'.
            """, run: run)

    @Sendable private static func run(_ invocation: Invocation) throws -> CInt {
        let format = invocation.flags.string("format") ?? "table"
        guard ["table", "json"].contains(format) else { throw FlagFault("--format is table or json") }
        let client = try invocation.client()
        let audit = try client.get("/skiff/v1/ports/audit", as: JSONValue.self)
        if format == "json" {
            try Screen.out(audit.indented() + "\n")
            return 0
        }
        let ports = audit.array ?? []
        if invocation.flags.bool("rules") {
            try Screen.out(ports.map { rules($0) }.joined(separator: "\n"))
        } else {
            let lines = ["PORT\tCONTAINER\tEXPOSURE\tTHIS HOST\tREACHED BY\tDECIDED BY"] + ports.map { line($0) }
            try Screen.out(TabbedText.align(lines))
        }
        let forwarding = try client.get("/skiff/v1/ports/forwarding", as: JSONValue.self).array ?? []
        if !forwarding.isEmpty {
            let lines = ["CHAIN THAT DROPS\tBY\tCONTAINERS\tRULES"] + forwarding.map { chain($0) }
            try Screen.out("\n" + TabbedText.align(lines))
        }
        return 0
    }

    private static func chain(_ chain: JSONValue) -> String {
        let rules = (chain["rules"]?.array ?? []).compactMap(\.string)
        let isOpen = text(chain, "answer") == "added"
        let shown = rules.prefix(2).joined(separator: "; ") + (rules.count > 2 ? "; and \(rules.count - 2) more" : "")
        return [
            text(chain, "chain"), text(chain, "end"), isOpen ? "pass" : "dropped",
            isOpen ? "\(text(chain, "place")): \(shown)" : text(chain, "note"),
        ].joined(separator: "\t")
    }

    private static func text(_ port: JSONValue, _ key: String) -> String { port[key]?.string ?? "" }

    private static func name(_ port: JSONValue) -> String {
        let address = text(port, "hostAddress")
        let host = address.contains(":") ? "[\(address)]" : address
        return "\(host):\(port["hostPort"]?.int ?? 0)->\(port["containerPort"]?.int ?? 0)/\(text(port, "protocol"))"
    }

    private static func line(_ port: JSONValue) -> String {
        let others = port["others"]
        let cells = [
            name(port), text(port, "name"), text(port, "exposure"), port["host"]?["reach"]?.string == "nobody" ? "no" : "yes",
            others?["reach"]?.string ?? "", others.map { decisive($0) } ?? "",
        ]
        return cells.joined(separator: "\t")
    }

    /// The rule that lets some in, or keeps everybody out, and how many more there are.
    private static func decisive(_ side: JSONValue) -> String {
        if let reason = side["reason"]?.string { return reason }
        let answers = (side["chains"]?.array ?? []).flatMap { $0["answers"]?.array ?? [] }
        let closed = answers.filter { $0["verdict"]?.string == "closed" }
        let words: [String]
        switch side["reach"]?.string {
        case "some": words = answers.filter { $0["verdict"]?.string == "accept" }.map { answer($0) }
        case "everybody": words = answers.suffix(1).map { answer($0) }
        default: words = answers.filter { $0["verdict"]?.string != "accept" }.suffix(1).map { answer($0) }
        }
        let shown = words.prefix(2).joined(separator: "; ") + (words.count > 2 ? "; and \(words.count - 2) more" : "")
        return closed.isEmpty ? shown : shown + " (\(closed.count) rule\(closed.count == 1 ? "" : "s") not judged: closed)"
    }

    private static func answer(_ answer: JSONValue) -> String {
        let when = (answer["when"]?.array ?? []).compactMap(\.string).joined(separator: ", ")
        let place = text(answer, "chain") + (answer["handle"]?.int.map { " handle \($0)" } ?? " policy")
        return (when.isEmpty ? "" : when + ": ") + text(answer, "verdict") + " (" + place + ")"
    }

    private static func rules(_ port: JSONValue) -> String {
        var text = "\(name(port)) \(self.text(port, "name")) \(self.text(port, "exposure"))\n"
        for (key, words) in [("host", "this host"), ("others", "others")] {
            guard let side = port[key] else { continue }
            text += "  \(words): \(side["reach"]?.string ?? "")"
            text += side["reason"]?.string.map { " (\($0))" } ?? ""
            text += "\n"
            for chain in side["chains"]?.array ?? [] {
                for found in chain["answers"]?.array ?? [] {
                    text += "    " + answer(found) + (found["note"]?.string.map { "  # \($0)" } ?? "") + "\n"
                }
            }
        }
        return text
    }
}
