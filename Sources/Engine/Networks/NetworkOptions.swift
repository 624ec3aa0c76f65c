import Model

/// The options of docker's network drivers (`-o`): those that are known are checked, others are kept and have no effect, as in docker.
package enum NetworkOptions {
    package static let icc = "com.docker.network.bridge.enable_icc"
    package static let masquerade = "com.docker.network.bridge.enable_ip_masquerade"
    package static let inhibitIPv4 = "com.docker.network.bridge.inhibit_ipv4"
    package static let defaultBridge = "com.docker.network.bridge.default_bridge"
    package static let bridgeName = "com.docker.network.bridge.name"
    package static let hostBinding = "com.docker.network.bridge.host_binding_ipv4"
    package static let gatewayModeIPv4 = "com.docker.network.bridge.gateway_mode_ipv4"
    package static let gatewayModeIPv6 = "com.docker.network.bridge.gateway_mode_ipv6"
    package static let mtu = "com.docker.network.driver.mtu"
    package static let hostIPv4 = "com.docker.network.host_ipv4"
    /// Shown by inspect: the Ethernet address that answers for an address which it does not have from the engine.
    package static let conflict = "dev.skiff.address-conflict."
    package static let hostIPv6 = "com.docker.network.host_ipv6"
    package static let interfacePrefix = "com.docker.network.container_iface_prefix"

    /// - Throws: `invalid` in dockerd's words.
    package static func check(_ options: [String: String], driver: String, isInternal: Bool) throws {
        switch driver {
        case "bridge": try bridge(options, isInternal)
        case "macvlan":
            try choice(options["macvlan_mode"], ["bridge", "private", "vepa", "passthru"]) {
                "requested macvlan mode '\($0)' is not valid, 'bridge' mode is the macvlan driver default"
            }
            try parent(options, driver)
        case "ipvlan":
            try choice(options["ipvlan_mode"], ["l2", "l3", "l3s"]) {
                "requested ipvlan mode '\($0)' is not valid, 'l2' mode is the ipvlan driver default"
            }
            try choice(options["ipvlan_flag"], ["bridge", "private", "vepa"]) {
                "requested ipvlan flag '\($0)' is not valid, 'bridge' is the ipvlan driver default"
            }
            try parent(options, driver)
        default: break
        }
        if driver != "bridge", let text = options[mtu] { try number(mtu, text) }
        if let prefix = options[interfacePrefix] { try interfaceName(prefix, limit: 12, "container interface prefix") }
    }

    private static func bridge(_ options: [String: String], _ isInternal: Bool) throws {
        for key in [icc, masquerade, inhibitIPv4, defaultBridge] {
            guard let text = options[key], GoBool.parse(text) == nil else { continue }
            throw unreadable(key, text, GoBool.fault(text))
        }
        if let text = options[mtu] { try number(mtu, text) }
        for key in [hostBinding, hostIPv4, hostIPv6] {
            guard let text = options[key], IPAddress(text) == nil else { continue }
            throw unreadable(key, text, "nil ip")
        }
        for key in [gatewayModeIPv4, gatewayModeIPv6] {
            guard let text = options[key] else { continue }
            guard GatewayMode(rawValue: text) != nil else { throw unreadable(key, text, "unknown gateway mode \(text)") }
            if text == GatewayMode.isolated.rawValue, !isInternal {
                throw Fault(.invalid, "gateway mode 'isolated' can only be used for an internal network", subject: key)
            }
        }
        if let name = options[bridgeName] { try interfaceName(name, limit: 15, "bridge name") }
    }

    private static func unreadable(_ key: String, _ value: String, _ reason: String) -> Fault {
        Fault(.invalid, "failed to parse \(key) value: \(value) (\(reason))", subject: key)
    }

    private static func number(_ key: String, _ text: String) throws {
        let digits = text.hasPrefix("-") || text.hasPrefix("+") ? text.dropFirst() : text[...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let value = Int(text) else {
            throw unreadable(key, text, "strconv.Atoi: parsing \"\(text)\": invalid syntax")
        }
        // The kernel's smallest (IPv4's) and the largest length of a packet.
        guard value == 0 || (68...65_535).contains(value) else {
            throw Fault(.invalid, "invalid MTU number: \(value)", subject: key)
        }
    }

    private static func choice(_ text: String?, _ known: Set<String>, _ words: (String) -> String) throws {
        guard let text, !text.isEmpty, !known.contains(text) else { return }
        throw Fault(.invalid, words(text), subject: text)
    }

    private static func parent(_ options: [String: String], _ driver: String) throws {
        guard let parent = options["parent"], !parent.isEmpty else { return }
        if parent == "lo" {
            throw Fault(.invalid, "loopback interface is not a valid \(driver) parent link", subject: parent)
        }
        try interfaceName(parent, limit: 15, "parent interface")
    }

    /// As the kernel takes names of links (dev_valid_name).
    private static func interfaceName(_ name: String, limit: Int, _ what: String) throws {
        let isFit =
            (1...limit).contains(name.utf8.count) && name != "." && name != ".."
            && name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F && $0 != 0x2F && $0 != 0x3A }
        guard isFit else {
            throw Fault(
                .invalid, "invalid \(what) \"\(name)\": at most \(limit) bytes, without spaces, slashes and colons",
                subject: name)
        }
    }
}
