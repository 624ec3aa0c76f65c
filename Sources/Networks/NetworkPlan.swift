import Linux
import Model

/// Turns a wish for a network into a record that is complete. Changes nothing.
package struct NetworkPlan {
    package let spec: NetworkSpec
    package let existing: [NetworkRecord]
    package let choice: SubnetChoice
    package let configuration: NetworksConfiguration
    /// The 40 bits of the engine's own that its IPv6 networks have in common (RFC 4193 3.2); nil where the kernel has no IPv6.
    package let globalID: UInt64?
    package let parents: Set<String>

    /// - Parameter links: names of the links that the host has.
    package init(
        _ spec: NetworkSpec, existing: [NetworkRecord], choice: SubnetChoice, configuration: NetworksConfiguration,
        globalID: UInt64?, links: Set<String> = []
    ) {
        self.spec = spec
        self.existing = existing
        self.choice = choice
        self.configuration = configuration
        self.globalID = globalID
        parents = links
    }

    package func record(id: ObjectID = .random(), owner: Owner, now: Timestamp) throws -> NetworkRecord {
        try checkName()
        var record = NetworkRecord(
            id: id, name: spec.name, owner: owner, created: now, driver: try driver(id))
        record.isInternal = spec.isInternal
        record.isAttachable = spec.isAttachable
        record.options = spec.options
        record.ipamOptions = spec.ipamOptions
        record.labels = spec.labels
        record.configurationSource = spec.configurationSource
        record.mtu = try mtu()
        record.interfacePrefix = try interfacePrefix()
        try assignAddresses(&record)
        return record
    }

    private func checkName() throws {
        if spec.name.allSatisfy(\.isWhitespace) {
            throw Fault(.invalid, "invalid name: name is empty", subject: spec.name)
        }
        if ["bridge", "host", "none", "default"].contains(spec.name) || spec.name.hasPrefix("container:") {
            throw Fault(.forbidden, "operation is not permitted on predefined \(spec.name) network", subject: spec.name)
        }
        // `--network cni:NAME` is a plugin chain.
        if spec.name.hasPrefix("cni:") {
            throw Fault(.invalid, "network names that begin with cni: are those of plugin chains", subject: spec.name)
        }
        if existing.contains(where: { $0.name == spec.name }) {
            throw Fault(.conflict, "network with name \(spec.name) already exists", subject: spec.name)
        }
    }

    // MARK: Options

    private func option(_ key: String) -> String? { spec.options[key].flatMap { $0.isEmpty ? nil : $0 } }

    /// As Go's strconv.ParseBool.
    private func flag(_ key: String, _ otherwise: Bool) throws -> Bool {
        guard let text = spec.options[key] else { return otherwise }
        switch text {
        case "1", "t", "T", "TRUE", "true", "True": return true
        case "0", "f", "F", "FALSE", "false", "False": return false
        // docker's `-o com.docker.network.internal` without a value
        case "": return true
        default: throw Fault(.invalid, "invalid value for option \(key): \"\(text)\" is neither true nor false", subject: key)
        }
    }

    private func mtu() throws -> UInt32? {
        guard let text = option("com.docker.network.driver.mtu") else { return nil }
        guard let value = UInt32(text), value == 0 || (68...65535).contains(value) else {
            throw Fault(.invalid, "invalid MTU number: \(text)", subject: text)
        }
        if value > 0, value < 1280, !ranges(.v6).isEmpty || hasIPv6 {
            throw Fault(.invalid, "MTU \(value) is less than 1280, which IPv6 needs: use --ipv6=false", subject: text)
        }
        return value == 0 ? nil : value
    }

    private func interfacePrefix() throws -> String? {
        guard let text = option("com.docker.network.container_iface_prefix") else { return nil }
        guard Self.isLinkName(text), text.utf8.count <= 12 else {
            throw Fault(.invalid, "invalid interface prefix \"\(text)\"", subject: text)
        }
        return text
    }

    /// What dev_valid_name of the kernel lets pass, 15 bytes at most.
    static func isLinkName(_ text: String) -> Bool {
        (1...15).contains(text.utf8.count) && text != "." && text != ".."
            && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x2F && $0 != 0x3A }
    }

    private func driver(_ id: ObjectID) throws -> NetworkDriverSettings {
        switch spec.driver {
        case "", "default", "bridge": .bridge(try bridge(id))
        case "macvlan": .macvlan(try macvlan(id))
        case "ipvlan": .ipvlan(try ipvlan(id))
        case "host", "null":
            throw Fault(.forbidden, "only one instance of \"\(spec.driver)\" network is allowed", subject: spec.driver)
        default:
            throw Fault(
                .notFound, "could not find plugin \(spec.driver) in v1 plugin registry: plugin not found", subject: spec.driver)
        }
    }

    private func bridge(_ id: ObjectID) throws -> BridgeSettings {
        let prefix = "com.docker.network.bridge."
        var settings = BridgeSettings(bridge: "br-" + id.short)
        if let name = option(prefix + "name") {
            guard Self.isLinkName(name) else {
                throw Fault(.invalid, "invalid bridge name \"\(name)\": 1 to 15 bytes without slash or colon", subject: name)
            }
            if let other = existing.first(where: { $0.bridge?.bridge == name }) {
                throw Fault(
                    .forbidden, "conflicts with network \(other.id) (\(other.name)): networks have same bridge name",
                    subject: name)
            }
            settings.bridge = name
            settings.isForeign = parents.contains(name)
        }
        settings.allowsNeighbours = try flag(prefix + "enable_icc", true)
        settings.masquerades = try flag(prefix + "enable_ip_masquerade", true)
        settings.inhibitsIPv4 = try flag(prefix + "inhibit_ipv4", false)
        if let text = option(prefix + "host_binding_ipv4") {
            guard let address = IPv4Address(text) else { throw Self.noAddress(text, prefix + "host_binding_ipv4") }
            settings.hostBindingIPv4 = address == .any ? nil : address
        }
        if let text = option(prefix + "host_binding_ipv6") {
            guard let address = IPv6Address(text) else { throw Self.noAddress(text, prefix + "host_binding_ipv6") }
            settings.hostBindingIPv6 = address == .any ? nil : address
        }
        settings.gatewayModeIPv4 = try mode(prefix + "gateway_mode_ipv4")
        settings.gatewayModeIPv6 = try mode(prefix + "gateway_mode_ipv6")
        settings.trustedInterfaces = try (option(prefix + "trusted_host_interfaces") ?? "").split(separator: ":").map {
            guard Self.isLinkName(String($0)) else { throw Fault(.invalid, "invalid interface name \"\($0)\"") }
            return String($0)
        }
        return settings
    }

    private static func noAddress(_ text: String, _ key: String) -> Fault {
        Fault(.invalid, "invalid value for option \(key): \"\(text)\" is no such address", subject: text)
    }

    private func mode(_ key: String) throws -> GatewayMode {
        guard let text = option(key) else { return .nat }
        guard let mode = GatewayMode(rawValue: text) else {
            throw Fault(.invalid, "unknown gateway mode \(text)", subject: text)
        }
        if mode == .isolated, !spec.isInternal {
            throw Fault(.invalid, "gateway mode 'isolated' can only be used for an internal network", subject: text)
        }
        return mode
    }

    private func parent(_ id: ObjectID) throws -> (name: String, isOurs: Bool) {
        guard let name = option("parent") else {
            // Nothing to hang on: a link of its own, and no way out.
            return ("dm-" + id.short, true)
        }
        guard Self.isLinkName(name) else { throw Fault(.invalid, "invalid parent interface \"\(name)\"", subject: name) }
        if name == "lo" { throw Fault(.invalid, "loopback interface is not a valid parent link", subject: name) }
        if parents.contains(name) {
            // A link that was made for another network stays as long as one of them does
            return (name, existing.contains { $0.parent == name && $0.ownsParent })
        }
        guard let vlan = ParentDriver.vlan(name), parents.contains(vlan.parent) else {
            throw Fault(.invalid, "invalid subinterface vlan name \(name), example formatting is eth0.10", subject: name)
        }
        return (name, true)
    }

    private static func inUse(_ other: NetworkRecord, _ parent: String) -> Fault {
        Fault(.forbidden, "network \(other.id.short) is already using parent interface \(parent)", subject: parent)
    }

    /// A link takes macvlan links or ipvlan links, and passthru takes the whole of it.
    private func checkNeighbours(_ settings: MacvlanSettings) throws {
        for other in existing where other.parent == settings.parent {
            guard case .macvlan(let theirs) = other.driver else { throw Self.inUse(other, settings.parent) }
            if settings.mode == .passthru {
                throw Fault(
                    .forbidden,
                    "cannot use mode passthru, macvlan network \(other.id.short) is already using parent interface \(settings.parent)",
                    subject: settings.parent)
            }
            if theirs.mode == .passthru {
                throw Fault(
                    .forbidden,
                    "macvlan network \(other.id.short) is already using parent interface \(settings.parent) in mode passthru",
                    subject: settings.parent)
            }
        }
    }

    /// All ipvlan links of a parent are of one mode: the kernel would change that of the others.
    private func checkNeighbours(_ settings: IpvlanSettings) throws {
        for other in existing where other.parent == settings.parent {
            guard case .ipvlan(let theirs) = other.driver else { throw Self.inUse(other, settings.parent) }
            guard theirs.mode == settings.mode, theirs.flag == settings.flag else {
                throw Fault(
                    .forbidden,
                    "network \(other.id.short) is already using parent interface \(settings.parent) in mode \(theirs.mode.rawValue), "
                        + "\(theirs.flag.rawValue): a second network there needs the same", subject: settings.parent)
            }
        }
    }

    private func macvlan(_ id: ObjectID) throws -> MacvlanSettings {
        let parent = try parent(id)
        var settings = MacvlanSettings(parent: parent.name)
        settings.ownsParent = parent.isOurs
        if let text = option("macvlan_mode") {
            guard let mode = MacvlanSettings.Mode(rawValue: text) else {
                throw Fault(
                    .invalid, "requested macvlan mode '\(text)' is not valid, 'bridge' mode is the macvlan driver default")
            }
            settings.mode = mode
        }
        try checkNeighbours(settings)
        return settings
    }

    private func ipvlan(_ id: ObjectID) throws -> IpvlanSettings {
        let parent = try parent(id)
        var settings = IpvlanSettings(parent: parent.name)
        settings.ownsParent = parent.isOurs
        if let text = option("ipvlan_mode") {
            guard let mode = IpvlanSettings.Mode(rawValue: text) else {
                throw Fault(.invalid, "requested ipvlan mode '\(text)' is not valid, 'l2' mode is the ipvlan driver default")
            }
            settings.mode = mode
        }
        if let text = option("ipvlan_flag") {
            guard let flag = IpvlanSettings.Flag(rawValue: text) else {
                throw Fault(.invalid, "requested ipvlan flag '\(text)' is not valid, 'bridge' is the ipvlan driver default")
            }
            settings.flag = flag
        }
        try checkNeighbours(settings)
        return settings
    }

    // MARK: Addresses

    private enum Family { case v4, v6 }

    private func ranges(_ family: Family) -> [AddressRange] {
        spec.ranges.filter { ($0.subnet.v4 != nil) == (family == .v4) }
    }

    private var hasIPv6: Bool { spec.enablesIPv6 ?? (globalID != nil && configuration.enablesIPv6) }

    private func assignAddresses(_ record: inout NetworkRecord) throws {
        record.ipv4 = spec.enablesIPv4 ? ranges(.v4) : []
        record.ipv6 = hasIPv6 ? ranges(.v6) : []
        if !spec.enablesIPv4, !ranges(.v4).isEmpty {
            throw Fault(.invalid, "IPv4 subnets are given for a network without IPv4")
        }
        if spec.enablesIPv6 == false, !ranges(.v6).isEmpty {
            throw Fault(.invalid, "IPv6 subnets are given for a network without IPv6")
        }
        if spec.enablesIPv4, record.ipv4.isEmpty { record.ipv4 = [AddressRange(subnet: .v4(try freeSubnet()))] }
        if hasIPv6, record.ipv6.isEmpty { record.ipv6 = [AddressRange(subnet: .v6(try freeSubnet6()))] }
        if case .bridge = record.driver, record.ipv4.count > 1 || record.ipv6.count > 1 {
            throw Fault(.invalid, "a bridge network has one subnet of each family")
        }
        for range in record.ipv4 + record.ipv6 { try check(range, record) }
        let isWithoutGateway = record.isRoutedByLink
        for index in record.ipv4.indices where record.ipv4[index].gateway == nil && !isWithoutGateway {
            if record.bridge?.gatewayModeIPv4 == .isolated { continue }
            record.ipv4[index].gateway = record.ipv4[index].subnet.v4.map { .v4(Self.first($0, not: record.ipv4[index])) }
        }
        for index in record.ipv6.indices where record.ipv6[index].gateway == nil && !isWithoutGateway {
            if record.bridge?.gatewayModeIPv6 == .isolated { continue }
            record.ipv6[index].gateway = record.ipv6[index].subnet.v6.map { .v6($0.gateway) }
        }
    }

    /// The first address that nobody else has.
    private static func first(_ subnet: IPv4Subnet, not range: AddressRange) -> IPv4Address {
        var address = subnet.prefix > 30 ? subnet.network : subnet.gateway
        while range.auxiliary.values.contains(.v4(address)), address < subnet.broadcast {
            address = IPv4Address(number: address.number + 1)
        }
        return address
    }

    private func check(_ range: AddressRange, _ record: NetworkRecord) throws {
        for other in existing where !other.isConfiguration {
            if let subnet = other.subnets.first(where: { $0.overlaps(range.subnet) }) {
                throw Fault(
                    .forbidden,
                    "invalid pool request: Pool overlaps with other one on this address space: \(range.subnet) with \(subnet) of "
                        + "network \(other.name)", subject: range.subnet.description)
            }
        }
        let own = record.ipv4 + record.ipv6
        if own.count(where: { $0.subnet.overlaps(range.subnet) }) > 1 {
            throw Fault(.invalid, "subnet \(range.subnet) overlaps with another one of the same network")
        }
        func inside(_ address: IPAddress, _ what: String) throws {
            guard range.subnet.contains(address) else {
                throw Fault(
                    .invalid, "invalid \(what) \(address): parent subnet \(range.subnet) doesn't contain it",
                    subject: address.description)
            }
        }
        if let gateway = range.gateway { try inside(gateway, "gateway") }
        for address in range.auxiliary.values { try inside(address, "auxiliary address") }
        if let part = range.range, !part.overlaps(range.subnet) || part.prefix < range.subnet.prefix {
            throw Fault(
                .invalid, "invalid ip-range \(part): it is not part of subnet \(range.subnet)", subject: part.description)
        }
    }

    /// The first subnet of the pools that neither the host nor another network uses.
    private func freeSubnet() throws -> IPv4Subnet {
        var choice = choice
        choice.routes += existing.filter { !$0.isConfiguration }.flatMap(\.ipv4).compactMap(\.subnet.v4)
        if let subnet = choice.first(of: configuration.userPools, size: configuration.userPrefix) { return subnet }
        throw Fault(
            .invalid,
            "all predefined address pools have been fully subnetted: name a subnet, or more pools in the configuration")
    }

    private func freeSubnet6() throws -> IPv6Subnet {
        guard let globalID else {
            throw Fault(.invalid, "this kernel has IPv6 switched off: use --ipv6=false", subject: spec.name)
        }
        let used = existing.filter { !$0.isConfiguration }.flatMap(\.ipv6).compactMap(\.subnet.v6)
        // Number 0 is the default network's.
        for number in 1...UInt16.max {
            let subnet = IPv6Subnet(globalID: globalID, number: number)
            if !used.contains(where: { $0.overlaps(subnet) }) { return subnet }
        }
        throw Fault(.invalid, "all IPv6 networks of this engine are in use")
    }
}

extension NetworkRecord {
    /// The parent goes with the last network on it.
    package var ownsParent: Bool {
        switch driver {
        case .macvlan(let settings): settings.ownsParent
        case .ipvlan(let settings): settings.ownsParent
        default: false
        }
    }

    /// The host's link that sandboxes hang on; nil for bridges.
    package var parent: String? {
        switch driver {
        case .macvlan(let settings): settings.parent
        case .ipvlan(let settings): settings.parent
        default: nil
        }
    }
}
