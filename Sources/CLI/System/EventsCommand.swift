import Client
import JSON
import Linux
import Model

enum EventsCommand {
    static let command = Command(
        "events", aliases: ["system events"], "Get real time events from the server", usage: "[OPTIONS]", .none,
        flags: [
            ListFlags.filter,
            .string(
                "format", nil,
                "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template."
            ),
            .string("since", nil, "Show all events created since timestamp"),
            .string("until", nil, "Stream events until this timestamp"),
        ]
    ) { invocation in
        let flags = invocation.flags
        let now = FileCalls.now
        var query = Query()
        query.add(ifSet: "since", try TimeArgument.parse(flags.string("since") ?? "", now: now))
        query.add(ifSet: "until", try TimeArgument.parse(flags.string("until") ?? "", now: now))
        query.filters(try ListFlags.filters(flags))
        let format = flags.string("format") ?? ""
        let template = format.isEmpty || format == "json" ? nil : try Template(Listing<Int>.unescaped(format))
        let stream = try invocation.client().stream("GET", "/events", query)
        var documents = JSONLines()
        while true {
            let more: Void? = try stream.readBody { bytes in
                try documents.feed(bytes) { document in
                    if format == "json" { return try Screen.out(String(decoding: document, as: UTF8.self) + "\n") }
                    let event = try EngineClient.decode(document, as: JSONValue.self)
                    if let template {
                        try Screen.out(try template.run(TemplateValue(withTypes(event))) + "\n")
                    } else {
                        try Screen.out(line(event) + "\n")
                    }
                }
            }
            if more == nil { return 0 }
        }
    }

    /// The names that docker's older event fields have in templates.
    private static func withTypes(_ event: JSONValue) -> JSONValue {
        guard case .object(var members) = event else { return event }
        for (old, new) in [("time", "Time"), ("timeNano", "TimeNano"), ("scope", "Scope")] {
            if let value = event[old] { members.append(.init(key: new, value: value)) }
        }
        return .object(members)
    }

    package static func line(_ event: JSONValue) -> String {
        let nanoseconds = event["timeNano"]?.int ?? (event["time"]?.int ?? 0) * 1_000_000_000
        let words = [
            HumanTime.local(Timestamp(nanoseconds: Int64(nanoseconds))), event["Type"]?.string ?? "",
            event["Action"]?.string ?? "",
            event["Actor"]?["ID"]?.string ?? "",
        ]
        let attributes = (event["Actor"]?["Attributes"]?.members ?? []).sorted { $0.key < $1.key }
        let tail =
            attributes.isEmpty
            ? "" : " (" + attributes.map { "\($0.key)=\($0.value.string ?? $0.value.jsonText)" }.joined(separator: ", ") + ")"
        return words.joined(separator: " ") + tail
    }
}

/// A stream of JSON documents, one a line.
struct JSONLines {
    private var line: [UInt8] = []

    mutating func feed(_ bytes: UnsafeRawBufferPointer, _ use: ([UInt8]) throws -> Void) throws {
        var rest = bytes
        while let end = rest.firstIndex(of: 0x0A) {
            line.append(contentsOf: rest[..<end])
            if line.contains(where: { $0 > 0x20 }) { try use(line) }
            line.removeAll(keepingCapacity: true)
            rest = UnsafeRawBufferPointer(rebasing: rest[(end + 1)...])
        }
        line.append(contentsOf: rest)
        guard line.count <= 4 << 20 else { throw Fault(.system, "a message of the engine is too long") }
    }
}
