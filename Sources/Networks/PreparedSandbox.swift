import Linux
import Model

/// A namespace that is ready to be entered and belongs to nobody yet. It dies with this object unless it was handed over.
final class PreparedSandbox: Sendable {
    struct Interface: Sendable {
        var name: String
        var address: IPv4Address
        var mac: MACAddress
    }

    let namespace: Descriptor
    /// Nil where there is loopback only.
    let interface: Interface?

    init(namespace: consuming Descriptor, interface: Interface?) {
        self.namespace = namespace
        self.interface = interface
    }
}

/// Makes sandboxes on the calling thread, which must be its own: the thread visits each namespace that it makes.
final class SandboxMaker {
    /// Links of one group can be deleted in one request ("skif" as a number).
    static let group: UInt32 = 0x736B_6966

    private let host: NetlinkSocket
    private let home: Descriptor
    private let bridge: BridgeNetwork
    private let keepsShelf: Bool
    private var hasSeenBridge = false

    init(_ bridge: BridgeNetwork, keepsShelf: Bool) throws {
        self.bridge = bridge
        self.keepsShelf = keepsShelf
        host = try NetlinkSocket(.route)
        home = try NetNamespace.current()
    }

    /// The host's end of the pair for an address. One address, one name: while a dying sandbox still has its link, the kernel
    /// refuses the name (EEXIST), so that an address never has two owners, whatever our records say.
    static func hostInterface(_ address: IPv4Address) -> String {
        let digits = String(address.number, radix: 16)
        return "veth" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// Loopback only.
    func makeBare() throws -> PreparedSandbox {
        let namespace = try NetNamespace.unshare()
        defer { goHome() }
        prepare(isBridged: false)
        let inner = try NetlinkSocket(.route)
        try inner.transact([RouteRequest.set("lo", isUp: true)])
        return PreparedSandbox(namespace: namespace, interface: nil)
    }

    /// lo and eth0 up, address, default route by way of the bridge. EEXIST when the address's link is still there.
    func makeBridged(_ address: IPv4Address, mac: MACAddress) throws -> PreparedSandbox {
        let name = Self.hostInterface(address)
        let namespace = try NetNamespace.unshare()
        defer { goHome() }
        prepare(isBridged: true)
        let inner = try NetlinkSocket(.route)
        try host.transact([
            VethRequest(
                name: name, master: bridge.index, mtu: bridge.mtu, group: Self.group, peerName: "eth0", peerMAC: mac,
                namespace: namespace.raw
            ).message,
            // A container that connects to its own published port: where bridged packets pass the firewall
            // (bridge-nf-call-iptables), the bridge itself sends them back.
            RouteRequest.setHairpin(name),
        ])
        guard let index = inner.index(ofLink: "eth0") else {
            throw Fault(.system, "eth0 is missing in a new network namespace", subject: name)
        }
        try inner.transact([
            RouteRequest.set("lo", isUp: true),
            RouteRequest.set("eth0", isUp: true),
            RouteRequest.add(address: address, prefix: bridge.subnet.prefix, link: index),
            RouteRequest.add(route: nil, gateway: bridge.gateway, link: index),
        ])
        try waitUntilReady(name)
        return PreparedSandbox(
            namespace: namespace, interface: PreparedSandbox.Interface(name: name, address: address, mac: mac))
    }

    /// The kernel notices a carrier in its own time (linkwatch); until then it drops what is sent, and a lost first packet
    /// costs the container a second. Usually a fraction of a millisecond; never waits longer than 50. Being asked by message
    /// makes newer kernels look at once (6.8, "synchronize link-watch when carrier is queried").
    private func waitUntilReady(_ name: String) throws {
        try waitUntilRunning(link: name)
        // The bridge loses its carrier with its last port only, and a shelf that is kept filled holds some.
        if hasSeenBridge, keepsShelf { return }
        try waitUntilRunning(link: bridge.name)
        hasSeenBridge = true
    }

    private func waitUntilRunning(link name: String) throws {
        for _ in 0..<250 {
            if try host.link(named: name)?.isRunning ?? true { return }
            NetClock.sleep(microseconds: 200)
        }
    }

    /// docker's defaults: no privilege is needed for low ports and for ping; no IPv6 on eth0 while the network has none. Where
    /// /proc/sys is read-only they are left out: the container then has the kernel's defaults.
    private func prepare(isBridged: Bool) {
        if isBridged { try? NetSysctl.write("ipv6/conf/default/disable_ipv6", "1") }
        try? NetSysctl.write("ipv4/ip_unprivileged_port_start", "0")
        try? NetSysctl.write("ipv4/ping_group_range", "0 2147483647")
    }

    /// A thread that stayed would keep the container's namespace alive.
    private func goHome() { try? NetNamespace.enter(home.raw) }
}
