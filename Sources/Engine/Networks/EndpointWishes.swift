import Model
import Networks

/// Checks what a request says of one endpoint (docker's EndpointSettings) and turns it into a request to the networks. Changes nothing.
package enum EndpointWishes {
    /// Of an endpoint's driver options: sysctls of its interface.
    package static let sysctls = "com.docker.network.endpoint.sysctls"
    /// The interface's name in the container.
    package static let interfaceName = "com.docker.network.endpoint.ifname"

    /// `EndpointsConfig` of a new container. Networks need not exist yet.
    /// - Throws: `invalid` in dockerd's words.
    package static func check(
        _ endpoints: [String: Docker.EndpointSettings], find: (String) -> NetworkRecord?
    ) throws {
        var faults: [String] = []
        for (name, endpoint) in endpoints.sorted(by: { $0.key < $1.key }) {
            if let fault = self.fault(endpoint, on: find(name), named: name) {
                faults.append("invalid config for network \(name): \(fault)")
            }
        }
        if let text = FaultList.text(faults) { throw Fault(.invalid, text) }
    }

    /// What is wrong with an endpoint, or nil.
    /// - Parameter network: nil where it does not exist yet.
    package static func fault(_ endpoint: Docker.EndpointSettings, on network: NetworkRecord?, named name: String) -> String? {
        if let mac = text(endpoint.macAddress), MACAddress(mac)?.isMulticast ?? true { return "invalid MAC address \(mac)" }
        let name = network?.name ?? name
        let ipv4 = text(endpoint.ipamConfig?.iPv4Address)
        let ipv6 = text(endpoint.ipamConfig?.iPv6Address)
        var faults: [String] = []
        if !isUserDefined(name) {
            if ipv4 != nil || ipv6 != nil {
                faults.append("user specified IP address is supported on user defined networks only")
            }
            if !(endpoint.aliases ?? []).isEmpty {
                faults.append("network-scoped alias is supported only for containers in user defined networks")
            }
        }
        if let ipv4, IPv4Address(ipv4).map({ $0 == .any }) ?? true { faults.append("invalid IPv4 address: \(ipv4)") }
        if let ipv6, IPv6Address(ipv6).map({ $0 == .any }) ?? true { faults.append("invalid IPv6 address: \(ipv6)") }
        for address in endpoint.ipamConfig?.linkLocalIPs ?? [] where IPAddress(address).map(\.isUnspecified) ?? true {
            faults.append("invalid link-local IP address: \(address)")
        }
        if let network {
            faults += placeFault(ipv4, network.ipv4, network)
            faults += placeFault(ipv6, network.ipv6, network)
        }
        if let list = text(endpoint.driverOpts?[sysctls]) { faults += sysctlFaults(list) }
        if let name = text(endpoint.driverOpts?[interfaceName]), !isInterfaceName(name) {
            faults.append("invalid interface name: \(name)")
        }
        return FaultList.text(faults).map { "invalid endpoint settings:\n" + $0 }
    }

    private static func placeFault(_ address: String?, _ ranges: [AddressRange], _ network: NetworkRecord) -> [String] {
        guard let address else { return [] }
        guard !network.isPredefined, !ranges.isEmpty else {
            return ["user specified IP address is supported only when connecting to networks with user configured subnets"]
        }
        if let value = IPAddress(address), ranges.contains(where: { $0.subnet.contains(value) }) { return [] }
        return ["no configured subnet or ip-range contain the IP address \(address)"]
    }

    /// As the kernel takes names of links (dev_valid_name); `lo` is there already.
    private static func isInterfaceName(_ name: String) -> Bool {
        (1...15).contains(name.utf8.count) && !["lo", ".", ".."].contains(name)
            && name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F && $0 != 0x2F && $0 != 0x3A }
    }

    /// `net.ipv4.conf.IFNAME.log_martians=1`, several with commas between them.
    private static func sysctlFaults(_ list: String) -> [String] {
        list.split(separator: ",", omittingEmptySubsequences: false).compactMap { sysctl in
            let parts = sysctl.split(separator: ".", maxSplits: 4, omittingEmptySubsequences: false)
            let isKnown =
                parts.count == 5 && parts[0] == "net" && ["ipv4", "ipv6", "mpls"].contains(parts[1])
                && ["conf", "neigh"].contains(parts[2]) && ["IFNAME", "ifname"].contains(parts[3]) && isSetting(parts[4])
            if isKnown { return nil }
            return "unrecognised network interface sysctl '\(sysctl)'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', "
                + "'X' must be 'ipv4', 'ipv6' or 'mpls'"
        }
    }

    private static func isSetting(_ text: Substring) -> Bool {
        guard let mark = text.firstIndex(of: "=") else { return false }
        let name = text[..<mark].utf8
        return !name.isEmpty && name.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F }
    }

    /// Networks on which names, aliases and addresses of one's own are to be had.
    package static func isUserDefined(_ name: String) -> Bool {
        !["", "default", "bridge", "host", "none"].contains(name) && !name.hasPrefix("container:")
    }

    /// The names by which neighbours find a container: its own, its aliases, its short id, its host name; the first is for PTR.
    package static func names(
        container: String, id: ObjectID, hostname: String?, aliases: [String]
    ) -> [String] {
        var seen = Set<String>()
        return ([container] + aliases + [id.short] + (text(hostname).map { [$0] } ?? [])).filter {
            !$0.isEmpty && seen.insert($0).inserted
        }
    }

    /// The request of an endpoint that was checked.
    package static func attachment(_ endpoint: Docker.EndpointSettings, network: NetworkRecord) -> AttachmentRequest {
        var request = AttachmentRequest(network: network.id)
        request.ipv4 = text(endpoint.ipamConfig?.iPv4Address).flatMap { IPv4Address($0) }
        request.ipv6 = text(endpoint.ipamConfig?.iPv6Address).flatMap { IPv6Address($0) }
        request.mac = text(endpoint.macAddress).flatMap { MACAddress($0) }
        request.aliases = endpoint.aliases ?? []
        request.gatewayPriority = endpoint.gwPriority ?? 0
        request.interface = text(endpoint.driverOpts?[interfaceName])
        request.sysctls = (text(endpoint.driverOpts?[sysctls]) ?? "").split(separator: ",").map {
            // docker's CLI makes every letter small
            String($0).replacingFirst(".ifname.", with: ".IFNAME.")
        }
        return request
    }

    private static func text(_ value: String?) -> String? { value.flatMap { $0.isEmpty ? nil : $0 } }
}

extension String {
    fileprivate func replacingFirst(_ word: String, with other: String) -> String {
        let whole = Array(utf8)
        let part = Array(word.utf8)
        guard whole.count >= part.count,
            let start = (0...(whole.count - part.count)).first(where: { whole[$0...].starts(with: part) })
        else { return self }
        return String(decoding: whole[..<start] + Array(other.utf8) + whole[(start + part.count)...], as: UTF8.self)
    }
}
