import Model
import Networks
import Testing

@Suite struct AddressPoolTests {
    private func pool(_ subnet: String) throws -> AddressPool {
        let subnet = try #require(IPv4Subnet(subnet))
        return AddressPool(subnet: subnet, gateway: subnet.gateway)
    }

    @Test func gatewayNetworkAndBroadcastAreNeverHandedOut() throws {
        var pool = try pool("10.0.0.0/29")
        let all = try (0..<5).map { _ in try pool.take().description }
        #expect(all == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"])
        #expect(throws: Fault.self) { try pool.take() }
        #expect(pool.usedCount == 5)
    }

    @Test func aFreedAddressComesAgainAfterAllOthers() throws {
        var pool = try pool("10.0.0.0/29")
        let first = try pool.take()
        pool.free(first)
        #expect(try (0..<4).map { _ in try pool.take().description } == ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"])
        #expect(try pool.take() == first)
    }

    @Test func restoredAddressesAreTaken() throws {
        var pool = try pool("10.0.0.0/24")
        for text in ["10.0.0.2", "10.0.0.9", "10.1.0.9"] { pool.restore(try #require(IPv4Address(text))) }
        #expect(try pool.take().description == "10.0.0.10")
    }

    @Test func anAddressThatSomebodyElseHasIsGivenOnlyToWhoAsksForIt() throws {
        var pool = try pool("10.0.0.0/29")
        let taken = try #require(IPv4Address("10.0.0.3"))
        pool.avoid(taken)
        #expect(try (0..<4).map { _ in try pool.take().description } == ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"])
        #expect(throws: Fault.self) { try pool.take() }
        try pool.take(taken)
        pool.free(taken)
        pool.admit(taken)
        #expect(try pool.take() == taken)
    }

    @Test func aCertainAddressIsGivenOnce() throws {
        var pool = try pool("10.0.0.0/24")
        let wish = try #require(IPv4Address("10.0.0.77"))
        try pool.take(wish)
        #expect(throws: Fault.self) { try pool.take(wish) }
        for text in ["10.0.0.0", "10.0.0.255", "10.0.1.1", "10.0.0.1"] {
            let address = try #require(IPv4Address(text))
            #expect(throws: Fault.self) { try pool.take(address) }
        }
        pool.free(wish)
        try pool.take(wish)
    }

    @Test func everyAddressOfALargeNetworkIsDifferent() throws {
        var pool = try pool("172.30.0.0/16")
        var seen: Set<IPv4Address> = []
        for _ in 0..<65_533 { seen.insert(try pool.take()) }
        #expect(seen.count == 65_533)
        #expect(throws: Fault.self) { try pool.take() }
    }

    @Test func aRangeBoundsWhatIsHandedOutButNotWhatIsWished() throws {
        let subnet = try #require(IPv4Subnet("10.0.0.0/24"))
        let aux = try #require(IPv4Address("10.0.0.17"))
        var pool = AddressPool(
            subnet: subnet, range: IPv4Subnet("10.0.0.16/30"), gateway: subnet.gateway, reserved: [aux])
        #expect(try (0..<3).map { _ in try pool.take().description } == ["10.0.0.16", "10.0.0.18", "10.0.0.19"])
        #expect(throws: Fault.self) { try pool.take() }
        try pool.take(#require(IPv4Address("10.0.0.200")))
        #expect(throws: Fault.self) { try pool.take(aux) }
    }

    @Test func anIPv6AddressHasItsCompanionsNumber() throws {
        let subnet = try #require(IPv6Subnet("fd00::/64"))
        var pool = AddressPool6(subnet: subnet, gateway: subnet.gateway)
        #expect(try pool.take(number: 7).description == "fd00::7")
        #expect(try pool.take(number: 7).description == "fd00::2")
        #expect(try pool.take(number: 1).description == "fd00::3")
        #expect(throws: Fault.self) { try pool.take(subnet.gateway) }
    }

    @Test func bothFamiliesAreTakenOrNone() throws {
        var record = NetworkRecord(id: .random(), name: "n", created: Timestamp(nanoseconds: 0), driver: .null)
        let four = try #require(IPSubnet("10.0.0.0/29"))
        let six = try #require(IPSubnet("fd00::/64"))
        record.ipv4 = [AddressRange(subnet: four, gateway: IPAddress("10.0.0.1"))]
        record.ipv6 = [AddressRange(subnet: six, gateway: IPAddress("fd00::1"))]
        var addresses = NetworkAddresses(record)
        let taken = try addresses.take()
        #expect(taken.ipv4?.address.description == "10.0.0.2")
        #expect(taken.ipv6?.address.description == "fd00::2")
        #expect(throws: Fault.self) { try addresses.take(IPv4Address("10.0.0.3"), IPv6Address("fd00::2")) }
        #expect(addresses.usedCount == (1, 1))
        addresses.free(taken)
        #expect(addresses.usedCount == (0, 0))
        #expect(throws: Fault.self) { try addresses.take(IPv4Address("10.0.1.3"), nil) }
    }
}
