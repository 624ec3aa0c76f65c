import Client
import JSON
import Linux
import Model

enum InspectCommand {
    static let command = Command(
        "inspect", "Return low-level information on Docker objects".replacing("Docker", "Skiff"),
        usage: "[OPTIONS] NAME|ID [NAME|ID...]",
        .atLeast(1),
        flags: [
            format, .bool("size", "s", "Display total file sizes if the type is container"),
            .string(
                "type", nil, "Only inspect objects of the given type",
                values: .words(["container", "image", "network", "volume"])),
        ], completes: [.containers]
    ) { invocation in
        let type = invocation.flags.string("type") ?? ""
        guard type.isEmpty || kinds.contains(where: { $0.type == type }) else {
            let known = kinds.map { GoText.quote($0.type) }.joined(separator: ", ")
            throw FlagFault("unknown type: \(GoText.quote(type)): must be one of \(known)")
        }
        return try run(invocation, type.isEmpty ? kinds : kinds.filter { $0.type == type }, isAny: type.isEmpty)
    }

    static func of(_ noun: String, _ summary: String, completes: Flag.Values) -> Command {
        Command(
            noun + " inspect", group: .hidden, summary, usage: "[OPTIONS] \(noun.uppercased()) [\(noun.uppercased())...]",
            .atLeast(1),
            flags: [format] + (noun == "container" ? [.bool("size", "s", "Display total file sizes")] : [])
                + (noun == "network" ? [.bool("verbose", "v", "Verbose output for diagnostics")] : []),
            completes: [completes]
        ) { try run($0, kinds.filter { $0.type == noun }, isAny: false) }
    }

    private static var format: Flag {
        .string(
            "format", "f",
            "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template."
        )
    }

    struct Kind {
        let type: String
        let path: (String) -> String
    }

    private static var kinds: [Kind] {
        [
            Kind(type: "container") { "/containers/\(Query.path($0))/json" },
            Kind(type: "image") { "/images/\(Query.path($0))/json" },
            Kind(type: "network") { "/networks/\(Query.path($0))" }, Kind(type: "volume") { "/volumes/\(Query.path($0))" },
        ]
    }

    private static func run(_ invocation: Invocation, _ kinds: [Kind], isAny: Bool) throws -> CInt {
        let format = invocation.flags.string("format") ?? ""
        let template = format.isEmpty || format == "json" ? nil : try Template(Listing<Int>.unescaped(format))
        var found: [JSONValue] = []
        var faults: [String] = []
        for name in invocation.arguments {
            do { found.append(try object(invocation, name, kinds, isAny: isAny)) } catch let refusal as EngineRefusal {
                faults.append(refusal.description)
            } catch let fault as FlagFault { faults.append(fault.message) }
        }
        if let template {
            for value in found { try Screen.out(try template.run(TemplateValue(value)) + "\n") }
        } else if format == "json" {
            try Screen.out(JSONValue.array(found).jsonText + "\n")
        } else {
            try Screen.out(JSONValue.array(found).indented() + "\n")
        }
        if !faults.isEmpty { Screen.error(faults.joined(separator: "\n") + "\n") }
        return faults.isEmpty ? 0 : 1
    }

    private static func object(_ invocation: Invocation, _ name: String, _ kinds: [Kind], isAny: Bool) throws -> JSONValue {
        let client = try invocation.client()
        for kind in kinds {
            var query = Query()
            if kind.type == "container" { query.flag("size", invocation.flags.bool("size")) }
            if kind.type == "network" { query.flag("verbose", invocation.flags.bool("verbose")) }
            do { return try EngineClient.decode(try client.call("GET", kind.path(name), query)) } catch let refusal
                as EngineRefusal
            {
                guard isAny, refusal.isNotFound || refusal.status == 501 || (refusal.status == 400 && kind.type == "image")
                else { throw refusal }
            }
        }
        throw FlagFault("Error: No such object: \(name)")
    }
}

extension String {
    /// Every `text` replaced by `other`.
    func replacing(_ text: String, _ other: String) -> String {
        var result = ""
        var rest = self
        while let found = rest.range(of: text) {
            result += rest[..<found.lowerBound] + other
            rest = String(rest[found.upperBound...])
        }
        return result + rest
    }
}
