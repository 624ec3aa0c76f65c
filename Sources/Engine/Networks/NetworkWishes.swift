import Model
import Networks

/// Checks a create request and turns it into a network to be made, in dockerd's words. Changes nothing.
package enum NetworkWishes {
    package static let predefined: Set<String> = ["bridge", "host", "none", "default"]

    /// - Parameter configuration: the network that `ConfigFrom` names, where there is one.
    /// - Throws: `invalid`, `forbidden`, `notFound` as dockerd answers.
    package static func spec(_ request: Docker.NetworkCreateRequest, configuration: NetworkRecord? = nil) throws -> NetworkSpec
    {
        let name = request.name ?? ""
        guard name.contains(where: { !$0.isWhitespace }) else { throw Fault(.invalid, "invalid name: \(name)", subject: name) }
        if predefined.contains(name) {
            throw Fault(.forbidden, "operation is not permitted on predefined \(name) network ", subject: name)
        }
        let driver = try self.driver(request)
        try operatorFields(request)
        var spec = NetworkSpec(name: name, driver: driver)
        spec.enablesIPv4 = try family(request.enableIPv4, "com.docker.network.enable_ipv4", request.options) ?? true
        spec.enablesIPv6 = try family(request.enableIPv6, "com.docker.network.enable_ipv6", request.options)
        spec.isInternal = request.internal ?? false
        spec.isAttachable = request.attachable ?? false
        if let source = request.configFrom?.network, !source.isEmpty {
            try copy(source, configuration, request, &spec)
        } else {
            try AddressWishes.check(request.ipam?.config ?? [], ignoresIPv6: spec.enablesIPv6 == false)
            spec.ranges = try AddressWishes.ranges(request.ipam?.config ?? [], spec)
            try ipamDriver(request.ipam?.driver)
            spec.ipamOptions = request.ipam?.options ?? [:]
            spec.options = request.options ?? [:]
            spec.labels = request.labels ?? [:]
        }
        if request.configOnly != true {
            try NetworkOptions.check(spec.options, driver: driver, isInternal: spec.isInternal)
            if !spec.enablesIPv4, spec.enablesIPv6 == false, driver != "cni" {
                throw Fault(.invalid, "IPv4 or IPv6 must be enabled", subject: name)
            }
        }
        return spec
    }

    private static func driver(_ request: Docker.NetworkCreateRequest) throws -> String {
        let driver = request.driver.flatMap { $0.isEmpty ? nil : $0 } ?? "bridge"
        switch driver {
        case "bridge", "macvlan", "ipvlan", "cni": return driver
        case "overlay":
            throw Fault(
                .forbidden,
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm "
                    + "and try again.")
        case "host", "null":
            throw Fault(.forbidden, "only one instance of \"\(driver)\" network is allowed", subject: driver)
        default: throw Fault(.notFound, "plugin \"\(driver)\" not found", subject: driver)
        }
    }

    /// What only a swarm has.
    private static func operatorFields(_ request: Docker.NetworkCreateRequest) throws {
        let scope = request.scope ?? ""
        if request.configOnly == true {
            if request.ingress == true || request.internal == true || request.attachable == true || !scope.isEmpty {
                throw Fault(
                    .forbidden,
                    "configuration network can only contain network specific fields. Network operator fields like "
                        + "[ ingress | internal | attachable | scope ] are not supported.")
            }
            if let source = request.configFrom?.network, !source.isEmpty {
                throw Fault(
                    .forbidden, "a configuration network cannot depend on another configuration network", subject: source)
            }
        }
        if scope == "swarm" {
            throw Fault(.forbidden, "cannot create a swarm scoped network when swarm is not active", subject: scope)
        }
        if request.ingress == true { throw Fault(.forbidden, "Ingress network can only be global scope network") }
    }

    private static func family(_ wish: Bool?, _ option: String, _ options: [String: String]?) throws -> Bool? {
        if let wish { return wish }
        guard let text = options?[option] else { return nil }
        guard let value = GoBool.parse(text) else {
            throw Fault(.invalid, "driver-opt \"\(option)\" is not a valid bool", subject: option)
        }
        return value
    }

    private static func ipamDriver(_ name: String?) throws {
        guard let name, !name.isEmpty, name != "default" else { return }
        throw Fault(.notFound, "plugin \"\(name)\" not found", subject: name)
    }

    /// A network that takes its settings from a configuration-only one.
    private static func copy(
        _ source: String, _ configuration: NetworkRecord?, _ request: Docker.NetworkCreateRequest, _ spec: inout NetworkSpec
    ) throws {
        let hasAddresses = !(request.ipam?.config ?? []).isEmpty || !(request.ipam?.options ?? [:]).isEmpty
        let hasDriver = !["", "default"].contains(request.ipam?.driver ?? "")
        if hasAddresses || hasDriver || !(request.labels ?? [:]).isEmpty || !spec.enablesIPv4 || spec.enablesIPv6 == true {
            throw Fault(
                .forbidden,
                "user specified configurations are not supported if the network depends on a configuration network",
                subject: source)
        }
        if !(request.options ?? [:]).isEmpty {
            throw Fault(
                .forbidden, "network driver options are not supported if the network depends on a configuration network",
                subject: source)
        }
        guard let configuration, configuration.isConfiguration else {
            throw Fault(.notFound, "configuration network \"\(source)\" does not exist", subject: source)
        }
        spec.configurationSource = source
        spec.ranges = configuration.ipv4 + configuration.ipv6
        spec.enablesIPv4 = configuration.enablesIPv4
        spec.enablesIPv6 = configuration.enablesIPv6
        spec.ipamOptions = configuration.ipamOptions
        spec.options = configuration.options
        spec.labels = configuration.labels
    }
}

/// Subnets, ranges, gateways and auxiliary addresses, as moby's ValidateIPAM judges them.
package enum AddressWishes {
    /// Says everything that is wrong at once.
    /// - Throws: `invalid`.
    package static func check(_ configs: [Docker.IPAMConfig], ignoresIPv6: Bool) throws {
        var faults: [String] = []
        for config in configs {
            let text = config.subnet ?? ""
            guard let block = AddressBlock(text) else {
                faults.append("invalid subnet \(text): invalid CIDR block notation")
                continue
            }
            if ignoresIPv6, block.subnet.v6 != nil { continue }
            if !block.isMasked { faults.append("invalid subnet \(block): it should be \(block.subnet)") }
            faults += rangeFaults(config.ipRange ?? "", block)
            if let fault = addressFault(config.gateway ?? "", block) {
                faults.append("invalid gateway \(config.gateway ?? ""): \(fault)")
            }
            for (name, address) in (config.auxiliaryAddresses ?? [:]).sorted(by: { $0.key < $1.key }) {
                if let fault = addressFault(address, block) { faults.append("invalid auxiliary address \(name): \(fault)") }
            }
        }
        if let text = FaultList.text(faults) { throw Fault(.invalid, "invalid network config:\n" + text) }
    }

    /// What was checked, as values. IPv6 subnets of a network without IPv6 are left out, as docker does.
    static func ranges(_ configs: [Docker.IPAMConfig], _ spec: NetworkSpec) throws -> [AddressRange] {
        var ranges: [AddressRange] = []
        for config in configs {
            guard let subnet = config.subnet.flatMap({ IPSubnet($0) }) else { continue }
            if subnet.v6 != nil, spec.enablesIPv6 == false { continue }
            if subnet.v4 != nil, !spec.enablesIPv4 { continue }
            if ranges.contains(where: { $0.subnet.overlaps(subnet) }) { throw poolOverlap(subnet) }
            ranges.append(
                AddressRange(
                    subnet: subnet, range: config.ipRange.flatMap { IPSubnet($0) },
                    gateway: config.gateway.flatMap { IPAddress($0) },
                    auxiliary: (config.auxiliaryAddresses ?? [:]).compactMapValues { IPAddress($0) }))
        }
        return ranges
    }

    package static func poolOverlap(_ subnet: IPSubnet) -> Fault {
        Fault(
            .forbidden, "invalid pool request: Pool overlaps with other one on this address space", subject: subnet.description)
    }

    private static func rangeFaults(_ text: String, _ subnet: AddressBlock) -> [String] {
        if text.isEmpty { return [] }
        guard let range = AddressBlock(text) else { return ["invalid ip-range \(text): invalid CIDR block notation"] }
        guard range.family == subnet.family else {
            return ["invalid ip-range \(text): parent subnet is an \(subnet.family) block"]
        }
        var faults: [String] = []
        if range.subnet.prefix < subnet.subnet.prefix {
            faults.append("invalid ip-range \(text): CIDR block is bigger than its parent subnet \(subnet)")
        }
        if !range.isMasked { faults.append("invalid ip-range \(range): it should be \(range.subnet)") }
        if !subnet.subnet.overlaps(range.subnet) {
            faults.append("invalid ip-range \(text): parent subnet \(subnet) doesn't contain ip-range")
        }
        return faults
    }

    private static func addressFault(_ text: String, _ subnet: AddressBlock) -> String? {
        if text.isEmpty { return nil }
        guard let address = IPAddress(text), !text.hasPrefix("[") else { return "invalid address" }
        guard (address.v4 != nil) == (subnet.subnet.v4 != nil) else { return "parent subnet is an \(subnet.family) block" }
        guard subnet.subnet.contains(address) else { return "parent subnet \(subnet) doesn't contain this address" }
        return nil
    }
}

/// `address/length`, whose host part may be set.
struct AddressBlock: CustomStringConvertible {
    let address: IPAddress
    let subnet: IPSubnet

    init?(_ text: String) {
        guard let slash = text.firstIndex(of: "/"), !text.hasPrefix("["), let address = IPAddress(text[..<slash]),
            let subnet = IPSubnet(text)
        else { return nil }
        self.address = address
        self.subnet = subnet
    }

    var family: String { subnet.v4 != nil ? "IPv4" : "IPv6" }
    var isMasked: Bool { subnet.description == description }
    var description: String { "\(address)/\(subnet.prefix)" }
}

/// Several complaints in one text, as moby joins them.
enum FaultList {
    /// Nil where there is none.
    static func text(_ faults: [String]) -> String? {
        guard let first = faults.first else { return nil }
        if faults.count == 1 { return first }
        return "* " + faults.joined(separator: "\n* ")
    }
}

/// Go's strconv.ParseBool.
enum GoBool {
    static func parse(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T", "TRUE", "true", "True": true
        case "0", "f", "F", "FALSE", "false", "False": false
        default: nil
        }
    }

    static func fault(_ text: String) -> String { "strconv.ParseBool: parsing \"\(text)\": invalid syntax" }
}
