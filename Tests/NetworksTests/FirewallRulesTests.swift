import Linux
import Model
import Networks
import Testing

@Suite struct FirewallRulesTests {
    private func rules() throws -> FirewallRules {
        FirewallRules(
            table: "skiff",
            networks: [
                FirewallRules.Network(id: .random(), bridge: "skiff0", subnets: [try #require(IPSubnet("172.30.0.0/16"))])
            ])
    }

    private func port(_ address: String, _ host: UInt16, _ container: UInt16, _ proto: PortProtocol = .tcp) throws
        -> PublishedPort
    {
        PublishedPort(
            binding: PortBinding(
                hostAddress: try #require(IPAddress(address)), hostPort: host, containerPort: container, proto: proto),
            target: try #require(IPAddress("172.30.0.2")))
    }

    @Test func aPortOnEveryAddressIsKeyedByProtocolAndPort() throws {
        let element = try port("0.0.0.0", 8080, 80).element
        //                      tcp, padded   8080, padded
        #expect(element.key == [6, 0, 0, 0, 0x1F, 0x90, 0, 0])
        //                        172.30.0.2       80, padded
        #expect(element.value == [172, 30, 0, 2, 0, 80, 0, 0])
    }

    @Test func aPortOnOneAddressIsKeyedByItToo() throws {
        let element = try port("127.0.0.1", 53, 5353, .udp).element
        #expect(element.key == [127, 0, 0, 1, 17, 0, 0, 0, 0, 53, 0, 0])
        #expect(element.value == [172, 30, 0, 2, 0x14, 0xE9, 0, 0])
    }

    @Test func anElementIsReadBack() throws {
        for (port, isEverywhere) in [(try port("0.0.0.0", 8080, 80), true), (try port("127.0.0.1", 53, 5353, .udp), false)] {
            #expect(PublishedPort(port.element, isEverywhere: isEverywhere) == port)
            #expect(PublishedPort(port.element, isEverywhere: !isEverywhere) == nil)
        }
        #expect(PublishedPort(TablesElement(key: [1, 0, 0, 0, 0, 80, 0, 0], value: nil), isEverywhere: true) == nil)
    }

    @Test func aPortIsOneElementAndNoRule() throws {
        let rules = try rules()
        let none = rules.replacement(ports: [PublishedPort]())
        let fifty = rules.replacement(ports: try (0..<50).map { try port("0.0.0.0", 9000 + $0, 80) })
        // The map, and the set of those that the host's policy is asked about.
        #expect(fifty.count == none.count + 2)
        #expect(rules.add([try port("0.0.0.0", 1, 2), try port("127.0.0.1", 1, 2)]).count == 4)
        #expect(rules.remove([try port("0.0.0.0", 1, 2)]).count == 2)
        var open = try port("0.0.0.0", 1, 2)
        open.binding.exposure = .open
        #expect(rules.add([open]).count == 1)
        #expect(rules.add([PublishedPort]()).isEmpty)
    }

    /// More elements than one attribute's 64 KiB hold are spread over messages.
    @Test func manyPortsStayWithinTheLengthOfAnAttribute() throws {
        let messages = try rules().add(try (0..<5000).map { try port("0.0.0.0", 1000 + $0, 80) })
        #expect(messages.count == 34)
        #expect(!messages.contains { $0.payload.count >= 65_536 })
    }

    /// The replacement deletes and makes in one batch, so that there is no moment without rules.
    @Test func aReplacementBeginsByMakingSureThatDeletingCannotFail() throws {
        let messages = try rules().replacement(ports: [PublishedPort]())
        #expect(messages.prefix(3).map(\.subject) == ["create table skiff", "delete table skiff", "create table skiff"])
    }

    /// moby's CVE-2025-54388 and its kin: whatever is made later, what comes to 127.0.0.0/8 from outside meets a drop.
    @Test func theGuardOfLoopbackIsPartOfEveryTable() throws {
        let messages = try rules().replacement(ports: [PublishedPort]())
        #expect(
            messages.contains { $0.subject == "append to chain early" && $0.payload.containsText("127.0.0.0/8 is reached") })
    }
}

extension [UInt8] {
    func containsText(_ text: String) -> Bool { String(decoding: self, as: UTF8.self).contains(text) }
}
