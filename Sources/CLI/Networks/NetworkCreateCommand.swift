import Client
import JSON
import Linux
import Model

enum NetworkCreateCommand {
    static let command = Command(
        "network create", group: .hidden, "Create a network", usage: "[OPTIONS] NETWORK", .exactly(1),
        flags: [
            .bool("attachable", nil, "Enable manual container attachment"),
            .list(
                "aux-address", nil, "Auxiliary IPv4 or IPv6 addresses used by Network driver", type: "map", shows: "map[]"),
            .string("config-from", nil, "The network from which to copy the configuration", values: .networks),
            .bool("config-only", nil, "Create a configuration only network"),
            .string(
                "driver", "d", "Driver to manage the Network", shows: "\"bridge\"",
                values: .words(["bridge", "ipvlan", "macvlan"])),
            .list("gateway", nil, "IPv4 or IPv6 Gateway for the master subnet", type: "strings"),
            .bool("ingress", nil, "Create swarm routing-mesh network"),
            .bool("internal", nil, "Restrict external access to the network"),
            .list("ip-range", nil, "Allocate container ip from a sub-range", type: "strings"),
            .string("ipam-driver", nil, "IP Address Management Driver", shows: "\"default\""),
            .list("ipam-opt", nil, "Set IPAM driver specific options", type: "map", shows: "map[]"),
            .bool("ipv4", nil, "Enable or disable IPv4 address assignment", shows: "true"),
            .bool("ipv6", nil, "Enable or disable IPv6 address assignment"),
            .list("label", nil, "Set metadata on a network", check: { _ = try KeyValues.label($0) }),
            .list("opt", "o", "Set driver specific options", type: "map", shows: "map[]"),
            .string("scope", nil, "Control the network's scope"),
            .list("subnet", nil, "Subnet in CIDR format that represents a network segment", type: "strings"),
        ],
        details: """
            Kinds, options and addresses are explained in docs/networking.md.

            Examples:
              skiff network create shop
              skiff network create --subnet 10.7.0.0/24 --gateway 10.7.0.1 --ip-range 10.7.0.128/25 shop
              skiff network create --ipv6 --subnet fd12:3456::/64 shop
              skiff network create --internal db
              skiff network create -d macvlan -o parent=eth0 --subnet 192.168.1.0/24 --gateway 192.168.1.1 lan
            """
    ) { invocation in
        let body = try NetworkCreation(invocation.flags).body
        let made: Docker.NetworkCreateResponse = try invocation.client().post("/networks/create", json: body.json)
        if let warning = made.warning, !warning.isEmpty { Screen.error("WARNING: \(warning)\n") }
        try Screen.out((made.id ?? "") + "\n")
        return 0
    }
}

/// What `network create` sends, from its flags. Refusals are in docker's words.
package struct NetworkCreation {
    package private(set) var body = Docker.NetworkCreateRequest()

    package init(_ flags: Parsed) throws {
        body.name = flags.arguments.first ?? ""
        body.driver = flags.string("driver") ?? "bridge"
        body.scope = flags.string("scope") ?? ""
        body.internal = flags.bool("internal")
        body.attachable = flags.bool("attachable")
        body.ingress = flags.bool("ingress")
        body.configOnly = flags.bool("config-only")
        if let source = flags.string("config-from"), !source.isEmpty {
            var reference = Docker.ConfigReference()
            reference.network = source
            body.configFrom = reference
        }
        if flags.has("ipv4") { body.enableIPv4 = flags.bool("ipv4") }
        if flags.has("ipv6") { body.enableIPv6 = flags.bool("ipv6") }
        body.options = try Self.map(flags.list("opt"))
        body.labels = KeyValues.dictionary(flags.list("label"))
        var ipam = Docker.IPAM()
        ipam.driver = flags.string("ipam-driver") ?? "default"
        ipam.options = try Self.map(flags.list("ipam-opt"))
        ipam.config = try SubnetFlags(flags).config
        body.ipam = ipam
    }

    /// docker's opts.MapOpts: `key=value`, or a key alone.
    private static func map(_ words: [String]) throws -> [String: String] { KeyValues.dictionary(words) }
}

/// --subnet, --ip-range, --gateway and --aux-address: which of them belong together.
private struct SubnetFlags {
    private(set) var config: [Docker.IPAMConfig] = []

    /// A text with or without a prefix length, as the address that it begins with.
    private struct Block {
        let text: String
        let address: IPAddress
        let subnet: IPSubnet?

        init(subnet text: String) throws {
            guard let slash = text.firstIndex(of: "/"), let address = IPAddress(text[..<slash]), let subnet = IPSubnet(text)
            else { throw FlagFault("invalid subnet: invalid CIDR address: \(text)") }
            self.text = text
            self.address = address
            self.subnet = subnet
        }

        /// Nil where an address is wrong, which lies in no subnet.
        init?(part text: String) throws {
            self.text = text
            guard let slash = text.firstIndex(of: "/") else {
                guard let address = IPAddress(text) else { return nil }
                self.address = address
                subnet = nil
                return
            }
            guard let address = IPAddress(text[..<slash]), let subnet = IPSubnet(text) else {
                throw FlagFault("invalid CIDR address: \(text)")
            }
            self.address = address
            self.subnet = subnet
        }
    }

    init(_ flags: Parsed) throws {
        let subnets = try flags.words("subnet")
        let ranges = try flags.words("ip-range")
        let gateways = try flags.words("gateway")
        guard subnets.count >= ranges.count, subnets.count >= gateways.count else {
            throw FlagFault("every ip-range or gateway must have a corresponding subnet")
        }
        let auxiliary = KeyValues.dictionary(flags.list("aux-address"))
        let isCompared = subnets.count > 1 || !ranges.isEmpty || !gateways.isEmpty || !auxiliary.isEmpty
        config = subnets.map { text in
            var config = Docker.IPAMConfig()
            config.subnet = text
            return config
        }
        // A single subnet alone is judged by the engine.
        guard isCompared else { return }
        let blocks = try subnets.map { try Block(subnet: $0) }
        for (index, block) in blocks.enumerated() {
            for earlier in blocks[..<index] where Self.holds(block, earlier.address) || Self.holds(earlier, block.address) {
                throw FlagFault("multiple overlapping subnet configuration is not supported")
            }
        }
        for range in ranges {
            try place(range, blocks, "range", "cannot configure multiple ranges", "on", \.ipRange)
        }
        for gateway in gateways {
            try place(gateway, blocks, "gateway", "cannot configure multiple gateways", "for", \.gateway)
        }
        for (name, text) in auxiliary.sorted(by: { $0.key < $1.key }) {
            guard let address = try Block(part: text)?.address,
                let index = blocks.firstIndex(where: { Self.holds($0, address) })
            else { throw FlagFault("no matching subnet for aux-address \(text)") }
            config[index].auxiliaryAddresses = (config[index].auxiliaryAddresses ?? [:]).merging([name: text]) { $1 }
        }
    }

    private mutating func place(
        _ text: String, _ blocks: [Block], _ noun: String, _ complaint: String, _ preposition: String,
        _ path: WritableKeyPath<Docker.IPAMConfig, String?>
    ) throws {
        let address = try Block(part: text)?.address
        guard let address, let index = blocks.firstIndex(where: { Self.holds($0, address) }) else {
            throw FlagFault("no matching subnet for \(noun) \(text)")
        }
        if let other = config[index][keyPath: path] {
            throw FlagFault("\(complaint) (\(text), \(other)) \(preposition) the same subnet (\(blocks[index].text))")
        }
        config[index][keyPath: path] = text
    }

    private static func holds(_ block: Block, _ address: IPAddress) -> Bool { block.subnet?.contains(address) ?? false }
}
