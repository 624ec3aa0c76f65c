import Linux
import Model
import Networks
import TestSupport
import Testing

/// What every network driver keeps, whatever its links are.
struct NetworkDriverContract {
    let driver: any NetworkDriver
    let record: NetworkRecord
    /// The namespace in which the network is made.
    let host: NamespaceThread

    private func endpoint(_ standing: StandingNetwork, _ last: UInt32) throws -> EndpointRecord {
        let subnet = try #require(record.ipv4.first?.subnet.v4)
        var endpoint = EndpointRecord(id: .random(), network: record.id, networkName: record.name)
        endpoint.interface = "eth7"
        endpoint.ipv4 = InterfaceIPv4(address: IPv4Address(number: subnet.network.number + last), prefix: subnet.prefix)
        return driver.named(endpoint, on: standing)
    }

    /// Making twice is making once; taking away twice is too; and what was taken away can be made again.
    func check() throws {
        let driver = driver
        let record = record
        let first = try host.run { try driver.raise(record, HostLinks(NetlinkSocket(.route))) { _ in } }
        let again = try host.run { try driver.raise(record, HostLinks(NetlinkSocket(.route), dump: true)) { _ in } }
        #expect(first.index == again.index)
        #expect(first.mtu == again.mtu)
        #expect(first.mtu >= 576)

        // A sandbox's link is made in its namespace under its name; a name is a function of the address.
        let endpoint = try endpoint(first, 20)
        #expect(try self.endpoint(first, 20).hostInterface == endpoint.hostInterface)
        let sandbox = try NamespaceThread()
        let namespace = sandbox.namespace.raw
        try host.run {
            try NetlinkSocket(.route).transact(driver.attachment(endpoint, to: first, namespace: namespace))
        }
        try sandbox.run {
            let link = try #require(try NetlinkSocket(.route).link(named: "eth7"))
            if let mac = endpoint.mac { #expect(link.mac == mac) }
        }
        // The kernel itself refuses the same a second time.
        let second = try host.run {
            try NetlinkSocket(.route).results(driver.attachment(endpoint, to: first, namespace: namespace))
        }
        #expect((second.first ?? nil) != nil)

        for _ in 0..<2 { _ = try host.run { try driver.lower(record, HostLinks(NetlinkSocket(.route))) } }
        _ = try host.run { try driver.raise(record, HostLinks(NetlinkSocket(.route))) { _ in } }
        _ = try host.run { try driver.lower(record, HostLinks(NetlinkSocket(.route))) }
    }
}

@Suite struct NetworkDriverTests {
    private func record(_ driver: NetworkDriverSettings, ipv6: Bool = false) throws -> NetworkRecord {
        var record = NetworkRecord(id: .random(), name: "contract", created: Timestamp(nanoseconds: 0), driver: driver)
        let isRouted = if case .ipvlan(let settings) = driver { settings.mode != .l2 } else { false }
        record.ipv4 = [
            AddressRange(subnet: try #require(IPSubnet("10.77.0.0/24")), gateway: isRouted ? nil : IPAddress("10.77.0.1"))
        ]
        if ipv6 {
            record.ipv6 = [AddressRange(subnet: try #require(IPSubnet("fd77::/64")), gateway: IPAddress("fd77::1"))]
        }
        return record
    }

    private func check(_ settings: NetworkDriverSettings, ipv6: Bool = false) throws {
        let scene = try NetworkScene()
        let driver = try #require(settings.driver)
        try NetworkDriverContract(driver: driver, record: try record(settings, ipv6: ipv6), host: scene.host).check()
        #expect(try scene.host.run { try NetlinkSocket(.route).link(named: "lan0") } != nil)
    }

    @Test func aBridgeKeepsTheContract() throws {
        try check(.bridge(BridgeSettings(bridge: "contract0")))
        try check(.bridge(BridgeSettings(bridge: "contract0")), ipv6: true)
    }

    @Test(arguments: MacvlanSettings.Mode.allCases)
    func macvlanKeepsTheContract(_ mode: MacvlanSettings.Mode) throws {
        var settings = MacvlanSettings(parent: "lan0")
        settings.mode = mode
        try check(.macvlan(settings))
    }

    static let lacksIpvlan: Comment = "this kernel lacks CONFIG_IPVLAN"
    static let hasIpvlan: Bool = {
        let probe = try? NamespaceThread()
        let faults = try? probe?.run {
            let socket = try NetlinkSocket(.route)
            let lo = socket.index(ofLink: "lo") ?? 1
            let namespace = try NetNamespace.current()
            return try socket.results([
                RouteRequest.createIpvlan("probe", parent: lo, mode: .l2, flag: .bridge, mtu: nil, namespace: namespace.raw)
            ])
        }
        // EOPNOTSUPP: the kind is unknown
        return (faults?.first ?? nil)?.errno != 95
    }()

    @Test(.enabled(if: hasIpvlan, lacksIpvlan), arguments: IpvlanSettings.Mode.allCases)
    func ipvlanKeepsTheContract(_ mode: IpvlanSettings.Mode) throws {
        var settings = IpvlanSettings(parent: "lan0")
        settings.mode = mode
        try check(.ipvlan(settings))
    }
}
