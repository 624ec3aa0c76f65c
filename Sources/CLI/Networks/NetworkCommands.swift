import Client
import JSON
import Linux
import Model

enum NetworkCommands {
    static let list = Command(
        "network ls", aliases: ["network list"], group: .hidden, "List networks", usage: "[OPTIONS]", .none,
        flags: [
            ListFlags.filter("f", "Provide filter values (e.g. \"driver=bridge\")"), ListFlags.format,
            .bool("no-trunc", nil, "Do not truncate the output"), .bool("quiet", "q", "Only display network IDs"),
        ]
    ) { invocation in
        let flags = invocation.flags
        let full = flags.bool("no-trunc")
        let listing = NetworkRows(full: full).listing
        let shape = try listing.shape(flags.string("format"))
        var query = Query()
        query.filters(try ListFlags.filters(flags))
        let networks: [Docker.NetworkSummary] = try invocation.client().get("/networks", query)
        let rows = networks.sorted { NaturalOrder.precedes($0.name ?? "", $1.name ?? "") }
        if flags.bool("quiet"), case .table = shape {
            try Screen.out(rows.map { Shortened.id($0.id ?? "", full: full) + "\n" }.joined())
        } else {
            try Screen.out(try listing.text(rows, shape))
        }
        return 0
    }

    static let remove = Command(
        "network rm", aliases: ["network remove"], group: .hidden, "Remove one or more networks",
        usage: "NETWORK [NETWORK...]", .atLeast(1),
        flags: [.bool("force", "f", "Do not error if the network does not exist")], completes: [.networks]
    ) { invocation in
        let client = try invocation.client()
        let force = invocation.flags.bool("force")
        var hasFailed = false
        for name in invocation.arguments {
            do {
                try client.call("DELETE", "/networks/\(Query.path(name))")
                try Screen.out(name + "\n")
            } catch let refusal as EngineRefusal {
                if force, refusal.isNotFound { continue }
                Screen.error(refusal.description + "\n")
                hasFailed = true
            }
        }
        return hasFailed ? 1 : 0
    }

    static let prune = Command(
        "network prune", group: .hidden, "Remove all unused networks", usage: "[OPTIONS]", .none,
        flags: [
            ListFlags.filter(nil, "Provide filter values (e.g. \"until=<timestamp>\")"),
            .bool("force", "f", "Do not prompt for confirmation"),
        ]
    ) { invocation in
        let question = "WARNING! This will remove all custom networks not used by at least one container."
        guard try PruneCommand.confirm(invocation.flags, question) else { return 0 }
        _ = try PruneCommand.prune(
            invocation.client(), "/networks/prune", try ListFlags.filters(invocation.flags), all: false, "NetworksDeleted",
            "Deleted Networks:")
        return 0
    }

    static let connect = Command(
        "network connect", group: .hidden, "Connect a container to a network", usage: "[OPTIONS] NETWORK CONTAINER",
        .exactly(2),
        flags: [
            .list("alias", nil, "Add network-scoped alias for the container", type: "strings"),
            .list("driver-opt", nil, "driver options for the network", type: "strings"),
            Flag(
                "gw-priority", nil, .int,
                "Highest gw-priority provides the default gateway. Accepts positive and negative values."),
            .string("ip", nil, "IPv4 address (e.g., \"172.30.100.104\")"),
            .string("ip6", nil, "IPv6 address (e.g., \"2001:db8::33\")"),
            .list("link", nil, "Add link to another container", values: .containers, check: { _ = try NetworkValues.link($0) }),
            .list("link-local-ip", nil, "Add a link-local address for the container", type: "strings"),
        ],
        details: """
            A running container has the network at once, another one with its next start.

            Examples:
              skiff network connect shop web
              skiff network connect --ip 10.7.0.9 --alias www shop web
            """, completes: [.networks, .containers]
    ) { invocation in
        let flags = invocation.flags
        var endpoint = Docker.EndpointSettings()
        var addresses = Docker.EndpointIPAMConfig()
        addresses.iPv4Address = flags.string("ip")
        addresses.iPv6Address = flags.string("ip6")
        let linkLocal = try flags.words("link-local-ip")
        if !linkLocal.isEmpty { addresses.linkLocalIPs = linkLocal }
        endpoint.ipamConfig = addresses
        let aliases = try flags.words("alias")
        if !aliases.isEmpty { endpoint.aliases = aliases }
        let links = flags.list("link")
        if !links.isEmpty { endpoint.links = links }
        let options = try driverOptions(flags.words("driver-opt"))
        if !options.isEmpty { endpoint.driverOpts = options }
        endpoint.gwPriority = flags.int("gw-priority")
        var body = Docker.NetworkConnectRequest()
        body.container = invocation.arguments[1]
        body.endpointConfig = endpoint
        try invocation.client().call(
            "POST", "/networks/\(Query.path(invocation.arguments[0]))/connect", body: .json(body.json))
        return 0
    }

    static let disconnect = Command(
        "network disconnect", group: .hidden, "Disconnect a container from a network", usage: "[OPTIONS] NETWORK CONTAINER",
        .exactly(2), flags: [.bool("force", "f", "Force the container to disconnect from a network")],
        completes: [.networks, .containers]
    ) { invocation in
        var body = Docker.NetworkDisconnectRequest()
        body.container = invocation.arguments[1]
        body.force = invocation.flags.bool("force")
        try invocation.client().call(
            "POST", "/networks/\(Query.path(invocation.arguments[0]))/disconnect", body: .json(body.json))
        return 0
    }

    private static func driverOptions(_ words: [String]) throws -> [String: String] {
        var options: [String: String] = [:]
        for word in words {
            guard let (key, value) = GoText.cut(word, "="), !key.trimmingSpaces().isEmpty else {
                throw FlagFault("invalid key/value pair format in driver options")
            }
            options[key.trimmingSpaces()] = value.trimmingSpaces()
        }
        return options
    }
}

/// Networks as rows.
package struct NetworkRows {
    let full: Bool

    package init(full: Bool) { self.full = full }

    package var listing: Listing<Docker.NetworkSummary> {
        Listing(
            type: "*network.networkContext",
            columns: [
                .init("ID", "NETWORK ID") { Shortened.id($0.id ?? "", full: full) }, .init("Name", "NAME") { $0.name ?? "" },
                .init("Driver", "DRIVER") { $0.driver ?? "" }, .init("Scope", "SCOPE") { $0.scope ?? "" },
                .init("IPv4", "IPV4") { String($0.enableIPv4 ?? false) },
                .init("IPv6", "IPV6") { String($0.enableIPv6 ?? false) },
                .init("Internal", "INTERNAL") { String($0.internal ?? false) },
                .init("Labels", "LABELS") { row in
                    (row.labels ?? [:]).map { "\($0.key)=\($0.value)" }.sorted().joined(separator: ",")
                },
                .init("Label", "LABEL") { (row: Docker.NetworkSummary) -> TemplateValue in
                    .map((row.labels ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
                },
                .init("CreatedAt", "CREATED AT") { Self.goTime($0.created ?? "") },
            ], standard: ["ID", "Name", "Driver", "Scope"])
    }

    /// `2026-01-02 15:04:05.123456789 +0000 UTC`: Go's Time.String of a time that came in UTC.
    private static func goTime(_ text: String) -> String {
        guard text.hasSuffix("Z"), let mark = text.firstIndex(of: "T") else { return text }
        return text[..<mark] + " " + text[text.index(after: mark)...].dropLast() + " +0000 UTC"
    }
}

/// Names with numbers in them as people sort them (docker's sortorder.NaturalLess): `net2` before `net10`.
package enum NaturalOrder {
    package static func precedes(_ left: String, _ right: String) -> Bool {
        var left = Array(left.utf8)[...]
        var right = Array(right.utf8)[...]
        func digits(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> { text.prefix { (0x30...0x39).contains($0) } }
        while let first = left.first, let second = right.first {
            let one = digits(left)
            let other = digits(right)
            guard !one.isEmpty, !other.isEmpty else {
                if first != second { return first < second }
                left = left.dropFirst()
                right = right.dropFirst()
                continue
            }
            let bare = one.drop { $0 == 0x30 }
            let otherBare = other.drop { $0 == 0x30 }
            if bare.count != otherBare.count { return bare.count < otherBare.count }
            if !bare.elementsEqual(otherBare) { return bare.lexicographicallyPrecedes(otherBare) }
            if one.count != other.count { return one.count < other.count }
            left = left.dropFirst(one.count)
            right = right.dropFirst(other.count)
        }
        return left.isEmpty && !right.isEmpty
    }
}

extension Parsed {
    /// The values of a flag that takes several words with commas between them, too (pflag's StringSlice).
    func words(_ name: String) throws -> [String] { try list(name).flatMap { $0.isEmpty ? [] : try GoText.csv($0) } }
}
