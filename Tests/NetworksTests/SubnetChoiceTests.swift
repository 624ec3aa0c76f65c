import Model
import Networks
import Testing

@Suite struct SubnetChoiceTests {
    private let pools = ["172.30.0.0/16", "172.31.0.0/16", "10.213.0.0/16"].compactMap { IPv4Subnet($0) }

    private func subnets(_ texts: String...) -> [IPv4Subnet] { texts.compactMap { IPv4Subnet($0) } }

    @Test func theFirstPoolIsTakenWhereNothingIsInTheWay() throws {
        #expect(try SubnetChoice(routes: subnets("192.0.2.0/24")).first(of: pools).description == "172.30.0.0/16")
    }

    @Test func routesAddressesAndNameServersAreAvoided() throws {
        let choice = SubnetChoice(
            routes: subnets("172.30.77.0/24"), addresses: subnets("172.16.0.0/12"),
            hosts: [IPv4Address("10.9.9.9")].compactMap { $0 })
        #expect(try choice.first(of: pools).description == "10.213.0.0/16")
        let server = SubnetChoice(hosts: [IPv4Address("172.30.0.53")].compactMap { $0 })
        #expect(try server.first(of: pools).description == "172.31.0.0/16")
        #expect(try server.objection(to: #require(IPv4Subnet("172.30.0.0/16"))) == "the host uses 172.30.0.53")
    }

    @Test func whenNothingIsFreeTheFaultNamesThePools() {
        do {
            _ = try SubnetChoice(routes: subnets("0.0.0.0/0")).first(of: pools)
            Issue.record("a subnet was found")
        } catch let fault as Fault {
            #expect(fault.kind == .conflict)
            #expect(fault.message.contains("172.30.0.0/16, 172.31.0.0/16, 10.213.0.0/16 all overlap"))
        } catch {
            Issue.record("\(error)")
        }
    }
}
