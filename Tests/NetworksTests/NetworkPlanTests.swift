import Model
import Networks
import Testing

@Suite struct NetworkPlanTests {
    private func plan(
        _ existing: [NetworkRecord] = [], choice: SubnetChoice = SubnetChoice(), links: Set<String> = ["eth0", "lo"],
        globalID: UInt64? = 0x12_3456_789A, _ change: (inout NetworkSpec) -> Void = { _ in }
    ) throws -> NetworkRecord {
        var spec = NetworkSpec(name: "app")
        change(&spec)
        let plan = NetworkPlan(
            spec, existing: existing, choice: choice, configuration: NetworksConfiguration(), globalID: globalID, links: links)
        return try plan.record(owner: .root, now: Timestamp(nanoseconds: 1))
    }

    private func message(_ body: () throws -> NetworkRecord) -> String {
        do { return "made \(try body().name)" } catch { return (error as? Fault)?.message ?? "\(error)" }
    }

    private func range(_ subnet: String, _ part: String? = nil, _ gateway: String? = nil) throws -> AddressRange {
        AddressRange(
            subnet: try #require(IPSubnet(subnet)), range: part.flatMap { IPSubnet($0) },
            gateway: gateway.flatMap { IPAddress($0) })
    }

    @Test func aPlainNetworkIsABridgeWithBothFamilies() throws {
        let record = try plan()
        #expect(record.bridge?.bridge == "br-" + record.id.short)
        #expect(record.ipv4.map(\.subnet.description) == ["172.18.0.0/24"])
        #expect(record.ipv4.first?.gateway?.description == "172.18.0.1")
        #expect(record.ipv6.map(\.subnet.description) == ["fd12:3456:789a:1::/64"])
        #expect(record.ipv6.first?.gateway?.description == "fd12:3456:789a:1::1")
        #expect(try plan(globalID: nil).ipv6.isEmpty)
        #expect(try plan { $0.enablesIPv6 = false }.ipv6.isEmpty)
        #expect(try plan { $0.enablesIPv4 = false }.ipv4.isEmpty)
    }

    @Test func hundredsOfNetworksFit() throws {
        var existing: [NetworkRecord] = []
        for number in 0..<1000 {
            existing.append(try plan(existing) { $0.name = "n\(number)" })
        }
        let subnets = existing.flatMap(\.subnets)
        #expect(Set(subnets).count == 2000)
        #expect(existing.last?.ipv4.first?.subnet.description == "172.21.231.0/24")
    }

    @Test func routesOfTheHostAndOtherNetworksAreAvoided() throws {
        let choice = SubnetChoice(
            routes: [IPv4Subnet("172.16.0.0/14"), IPv4Subnet("0.0.0.0/0")].compactMap { $0 },
            hosts: [IPv4Address("172.20.0.53")].compactMap { $0 })
        let first = try plan(choice: choice)
        #expect(first.ipv4.first?.subnet.description == "172.20.1.0/24")
        #expect(try plan([first], choice: choice) { $0.name = "b" }.ipv4.first?.subnet.description == "172.20.2.0/24")
    }

    @Test func givenRangesAreKeptAndCompleted() throws {
        let given = try range("10.9.0.0/16", "10.9.5.0/24")
        let record = try plan { $0.ranges = [given] }
        #expect(record.ipv4.first?.gateway?.description == "10.9.0.1")
        #expect(record.ipv4.first?.range?.description == "10.9.5.0/24")
        #expect(record.ipv6.count == 1)
    }

    @Test func wishesThatMakeNoSenseAreNamed() throws {
        let first = try plan { $0.options["com.docker.network.bridge.name"] = "mybr" }
        let overlapping = try range("172.18.0.128/25")
        let outside = try range("10.9.0.0/16", nil, "10.10.0.1")
        let cases: [(String, (inout NetworkSpec) -> Void)] = [
            ("already exists", { $0.name = "app" }),
            ("predefined", { $0.name = "host" }),
            ("same bridge name", { $0.options["com.docker.network.bridge.name"] = "mybr" }),
            ("invalid bridge name", { $0.options["com.docker.network.bridge.name"] = "a/b" }),
            ("Pool overlaps", { $0.ranges = [overlapping] }),
            ("invalid gateway", { $0.ranges = [outside] }),
            ("neither true nor false", { $0.options["com.docker.network.bridge.enable_icc"] = "perhaps" }),
            ("invalid MTU", { $0.options["com.docker.network.driver.mtu"] = "9" }),
            ("1280", { $0.options["com.docker.network.driver.mtu"] = "1000" }),
            ("could not find plugin", { $0.driver = "overlay" }),
            ("only one instance", { $0.driver = "host" }),
            (
                "eth0.10",
                {
                    $0.driver = "macvlan"
                    $0.options["parent"] = "eth9"
                }
            ),
            (
                "not valid",
                {
                    $0.driver = "ipvlan"
                    $0.options = ["parent": "eth0", "ipvlan_mode": "l4"]
                }
            ),
            ("isolated", { $0.options["com.docker.network.bridge.gateway_mode_ipv4"] = "isolated" }),
        ]
        for (words, change) in cases {
            let text = message {
                try plan([first]) { spec in
                    spec.name = "other"
                    change(&spec)
                }
            }
            #expect(text.contains(words), "\(words): \(text)")
        }
    }

    @Test func parentsAreFoundOrMade() throws {
        func parent(_ driver: String, _ options: [String: String]) throws -> NetworkDriverSettings {
            try plan { spec in
                spec.driver = driver
                spec.options = options
            }.driver
        }
        guard case .macvlan(let plain) = try parent("macvlan", ["parent": "eth0"]),
            case .macvlan(let vlan) = try parent("macvlan", ["parent": "eth0.30", "macvlan_mode": "private"]),
            case .ipvlan(let alone) = try parent("ipvlan", ["ipvlan_mode": "l3"])
        else {
            Issue.record("another driver")
            return
        }
        #expect(plain.parent == "eth0")
        #expect(!plain.ownsParent)
        #expect(vlan.ownsParent)
        #expect(vlan.mode == .private)
        #expect(alone.parent.hasPrefix("dm-"))
        #expect(alone.ownsParent)
    }

    @Test func severalNetworksShareAParentWhereTheKernelLetsThem() throws {
        func on(_ parent: String, _ driver: String, _ options: [String: String], beside: [NetworkRecord]) throws
            -> NetworkRecord
        {
            try plan(beside) { spec in
                spec.name = driver + "\(beside.count)"
                spec.driver = driver
                spec.options = options.merging(["parent": parent]) { first, _ in first }
            }
        }
        let first = try on("eth0.30", "macvlan", [:], beside: [])
        #expect(first.ownsParent)
        let second = try on("eth0", "macvlan", ["macvlan_mode": "vepa"], beside: [first])
        #expect(!second.ownsParent)
        #expect(throws: Fault.self) { try on("eth0", "macvlan", ["macvlan_mode": "passthru"], beside: [second]) }
        let whole = try on("eth0", "macvlan", ["macvlan_mode": "passthru"], beside: [])
        #expect(throws: Fault.self) { try on("eth0", "macvlan", [:], beside: [whole]) }
        #expect(throws: Fault.self) { try on("eth0", "ipvlan", [:], beside: [second]) }
        let routed = try on("eth0", "ipvlan", ["ipvlan_mode": "l3"], beside: [])
        #expect(throws: Fault.self) { try on("eth0", "ipvlan", ["ipvlan_mode": "l2"], beside: [routed]) }
        #expect(try on("eth0", "ipvlan", ["ipvlan_mode": "l3"], beside: [routed]).parent == "eth0")
    }

    @Test func routedNetworksHaveNoGateway() throws {
        let record = try plan { spec in
            spec.driver = "ipvlan"
            spec.options["ipvlan_mode"] = "l3"
        }
        #expect(record.ipv4.first?.gateway == nil)
        #expect(record.ipv6.first?.gateway == nil)
    }

    @Test(arguments: [
        "", "net.ipv4.conf.eth0.log_martians=1", "net.ipv4.ip_forward=1", "net.ipv4.conf.IFNAME.a/b=1", "IFNAME=1",
    ])
    func onlySysctlsOfTheInterfaceAreAccepted(_ text: String) throws {
        #expect(throws: Fault.self) { try EndpointSysctl(text) }
        let setting = try EndpointSysctl("net.ipv4.conf.IFNAME.log_martians=1")
        #expect(setting.key(of: "eth1") == "ipv4/conf/eth1/log_martians")
        #expect(setting.value == "1")
        #expect(try EndpointSysctl.list("net.ipv4.conf.IFNAME.a=1,net.ipv6.neigh.IFNAME.b=2").count == 2)
    }
}
