import Linux
import Model

/// A namespace that is ready to be entered and belongs to nobody yet. It dies with this object unless it was handed over.
final class PreparedSandbox: Sendable {
    let namespace: Descriptor
    /// Nil where there is loopback only.
    let endpoint: EndpointRecord?

    init(namespace: consuming Descriptor, endpoint: EndpointRecord?) {
        self.namespace = namespace
        self.endpoint = endpoint
    }
}

/// Makes sandboxes and changes them, on the calling thread, which must be its own: the thread visits each namespace.
final class SandboxMaker {
    private let host: NetlinkSocket
    private let home: Descriptor
    private let watchman: BridgeGuard?
    private let detour: BridgeDetour

    init(_ watchman: BridgeGuard?, _ detour: BridgeDetour) throws {
        self.watchman = watchman
        self.detour = detour
        host = try NetlinkSocket(.route)
        home = try NetNamespace.current()
    }

    /// Loopback only.
    func makeBare() throws -> PreparedSandbox {
        let namespace = try NetNamespace.unshare()
        defer { goHome() }
        prepare()
        try NetlinkSocket(.route).transact([RouteRequest.set("lo", isUp: true)])
        return PreparedSandbox(namespace: namespace, endpoint: nil)
    }

    /// lo and the endpoint's interface up, addresses, default route. EEXIST when the address's link is still there.
    func make(_ endpoint: EndpointRecord, on stand: NetworkStand) throws -> PreparedSandbox {
        let namespace = try NetNamespace.unshare()
        defer { goHome() }
        prepare()
        let inner = try NetlinkSocket(.route)
        let route = DefaultRoute(
            ipv4: endpoint.ipv4?.gateway == nil ? nil : endpoint.id, ipv6: endpoint.ipv6?.gateway == nil ? nil : endpoint.id)
        try attach(endpoint, stand, namespace.raw, inner, route: route, first: [RouteRequest.set("lo", isUp: true)])
        return PreparedSandbox(namespace: namespace, endpoint: endpoint)
    }

    /// Whose endpoint has the default route of a family; nil for none.
    struct DefaultRoute: Sendable, Equatable {
        var ipv4: ObjectID?
        var ipv6: ObjectID?

        init(ipv4: ObjectID?, ipv6: ObjectID?) {
            self.ipv4 = ipv4
            self.ipv6 = ipv6
        }

        init(_ record: SandboxRecord) {
            ipv4 = record.gatewayIPv4?.id
            ipv6 = record.gatewayIPv6?.id
        }
    }

    /// Attaches further endpoints to a namespace, in order. On a fault those that were made are gone again.
    func attach(_ endpoints: [(EndpointRecord, NetworkStand)], to namespace: CInt, route: DefaultRoute) throws {
        try NetNamespace.enter(namespace)
        defer { goHome() }
        let inner = try NetlinkSocket(.route)
        var made: [EndpointRecord] = []
        do {
            for (endpoint, stand) in endpoints {
                made.append(endpoint)
                try attach(endpoint, stand, namespace, inner, route: route)
            }
        } catch {
            if (error as? KernelFault)?.isAlreadyThere == true { made.removeLast() }
            for endpoint in made { try? inner.transact([RouteRequest.delete(link: endpoint.interface)]) }
            throw error
        }
    }

    /// The thread is in the namespace.
    private func attach(
        _ endpoint: EndpointRecord, _ stand: NetworkStand, _ namespace: CInt, _ inner: NetlinkSocket, route: DefaultRoute,
        first: [NetlinkMessage] = []
    ) throws {
        // Before there is a link that could say anything.
        try watchman?.admit(endpoint)
        try host.transact(stand.driver.attachment(endpoint, to: stand.standing, namespace: namespace))
        guard let index = inner.index(ofLink: endpoint.interface) else {
            throw Fault(.system, "\(endpoint.interface) is missing in a network namespace", subject: endpoint.interface)
        }
        if BridgeDetour.isWanted(on: stand.record) { detour.lead(endpoint, on: stand.standing, host) }
        try settle(endpoint)
        try inner.transact(
            first + [RouteRequest.set(endpoint.interface, isUp: true)] + Self.addresses(endpoint, index)
                + Self.defaultRoutes(endpoint, index, route))
        try waitUntilReady(endpoint, stand.standing)
    }

    private static func addresses(_ endpoint: EndpointRecord, _ index: Int32) -> [NetlinkMessage] {
        var messages: [NetlinkMessage] = []
        if let ipv4 = endpoint.ipv4 {
            messages.append(RouteRequest.add(address: ipv4.address, prefix: ipv4.prefix, link: index))
        }
        if let ipv6 = endpoint.ipv6 {
            messages.append(RouteRequest.add(address: ipv6.address, prefix: ipv6.prefix, link: index))
        }
        return messages
    }

    private static func defaultRoutes(_ endpoint: EndpointRecord, _ index: Int32, _ route: DefaultRoute) -> [NetlinkMessage] {
        var messages: [NetlinkMessage] = []
        if route.ipv4 == endpoint.id, let gateway = endpoint.ipv4?.gateway {
            messages.append(
                RouteRequest.replace(route: nil, isIPv6: false, gateway: gateway == .any ? nil : .v4(gateway), link: index))
        }
        if route.ipv6 == endpoint.id, let gateway = endpoint.ipv6?.gateway {
            messages.append(
                RouteRequest.replace(route: nil, isIPv6: true, gateway: gateway == .any ? nil : .v6(gateway), link: index))
        }
        return messages
    }

    /// Takes an endpoint's link away and gives its default route to whom it belongs now.
    func detach(_ endpoint: EndpointRecord, from namespace: CInt, rest: SandboxRecord) throws {
        try NetNamespace.enter(namespace)
        defer { goHome() }
        let inner = try NetlinkSocket(.route)
        // A link that is gone already, with its container's last will, is fine.
        if let index = inner.index(ofLink: endpoint.interface) {
            do { try inner.transact([RouteRequest.delete(link: index)]) } catch let fault as KernelFault
                where fault.isNoSuchDevice
            {}
        }
        try reroute(rest, inner)
    }

    /// Makes the default routes those that the record asks for.
    func reroute(_ record: SandboxRecord, in namespace: CInt) throws {
        try NetNamespace.enter(namespace)
        defer { goHome() }
        try reroute(record, NetlinkSocket(.route))
    }

    private func reroute(_ record: SandboxRecord, _ inner: NetlinkSocket) throws {
        let route = DefaultRoute(record)
        for endpoint in [record.gatewayIPv4, record.gatewayIPv6].compactMap({ $0 }) {
            guard let index = inner.index(ofLink: endpoint.interface) else { continue }
            let messages = Self.defaultRoutes(endpoint, index, route)
            do { try inner.transact(messages) } catch let fault as KernelFault where fault.isAlreadyThere {
                // A CNI plugin has put another one before it
                for isIPv6 in [false, true] where (isIPv6 ? route.ipv6 : route.ipv4) == endpoint.id {
                    for _ in 0..<8 {
                        guard (try inner.results([RouteRequest.removeDefaultRoute(isIPv6: isIPv6)]).first ?? nil) == nil else {
                            break
                        }
                    }
                }
                try inner.transact(messages)
            }
        }
    }

    /// Sysctls of the new interface, before it goes up.
    private func settle(_ endpoint: EndpointRecord) throws {
        if endpoint.ipv6 != nil {
            for (key, value) in [("disable_ipv6", "0"), ("accept_dad", "0")] {
                try? NetSysctl.write("ipv6/conf/\(endpoint.interface)/\(key)", value)
            }
        }
        for text in endpoint.sysctls {
            let setting = try EndpointSysctl(text)
            let key = setting.key(of: endpoint.interface)
            do { try NetSysctl.write(key, setting.value) } catch let fault as KernelFault {
                throw Fault(.invalid, "cannot set sysctl \(text) of \(endpoint.interface)", subject: text, cause: fault)
            }
        }
    }

    /// The kernel notices a carrier in its own time (linkwatch); until then it drops what is sent, and a lost first packet
    /// costs the container a second. Usually a fraction of a millisecond; never waits longer than 50. Being asked by message
    /// makes newer kernels look at once (6.8, "synchronize link-watch when carrier is queried").
    private func waitUntilReady(_ endpoint: EndpointRecord, _ network: StandingNetwork) throws {
        guard let name = endpoint.hostInterface else { return }
        try waitUntilRunning(link: name)
        // The bridge has a carrier since its first port, and none after its last.
        if let bridge = network.record.bridge?.bridge { try waitUntilRunning(link: bridge) }
    }

    private func waitUntilRunning(link name: String) throws {
        for _ in 0..<250 {
            if try host.link(named: name)?.isRunning ?? true { return }
            NetClock.sleep(microseconds: 200)
        }
    }

    /// docker's defaults: no privilege is needed for low ports and for ping; no IPv6 on interfaces whose network has none; and
    /// nobody plays router for a container. Where /proc/sys is read-only they are left out: the container then has the kernel's
    /// defaults.
    private func prepare() {
        try? NetSysctl.write("ipv6/conf/default/disable_ipv6", "1")
        try? NetSysctl.write("ipv6/conf/default/accept_ra", "0")
        try? NetSysctl.write("ipv4/ip_unprivileged_port_start", "0")
        try? NetSysctl.write("ipv4/ping_group_range", "0 2147483647")
    }

    /// A thread that stayed would keep the container's namespace alive.
    private func goHome() { try? NetNamespace.enter(home.raw) }
}

/// `net.ipv4.conf.IFNAME.log_martians=1`: only settings of the interface itself (docker's com.docker.network.endpoint.sysctls).
package struct EndpointSysctl: Sendable, Hashable {
    package let value: String
    private let words: [String]

    /// A path below /proc/sys/net.
    package func key(of interface: String) -> String { "\(words[1])/\(words[2])/\(interface)/\(words[4])" }

    package init(_ text: String) throws {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let words = parts[0].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, words.count == 5, words[0] == "net", ["ipv4", "ipv6", "mpls"].contains(words[1]),
            ["IFNAME", "ifname"].contains(words[3]), words[2] == "conf" || words[2] == "neigh", !words[4].isEmpty,
            words[4].utf8.allSatisfy({ (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F })
        else {
            throw Fault(
                .invalid,
                "invalid endpoint settings: unrecognised network interface sysctl '\(text)'; represent 'net.X.Y.ethN.Z=V' as "
                    + "'net.X.Y.IFNAME.Z=V'", subject: text)
        }
        self.words = words
        value = parts[1]
    }

    /// A comma-separated list, as docker has it.
    package static func list(_ text: String) throws -> [String] {
        let texts = text.split(separator: ",").map(String.init)
        for text in texts { _ = try EndpointSysctl(text) }
        return texts
    }
}
