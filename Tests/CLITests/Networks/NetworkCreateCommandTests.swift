import JSON
import Model
import Testing

import CLI

@Suite struct NetworkCreateCommandTests {
    private static func body(_ words: String...) throws -> Docker.NetworkCreateRequest {
        let command = try #require(CommandTable.standard.find(["network", "create"])?.0)
        return try NetworkCreation(try FlagParser.parse(words, command.flags(), mixesFlags: true)).body
    }

    private static func fault(_ words: String...) -> String? {
        guard let command = CommandTable.standard.find(["network", "create"])?.0 else { return nil }
        do {
            _ = try NetworkCreation(try FlagParser.parse(words, command.flags(), mixesFlags: true))
            return nil
        } catch { return (error as? FlagFault)?.message }
    }

    @Test func aNameAloneTakesTheDefaults() throws {
        let body = try Self.body("mine")
        #expect(body.name == "mine" && body.driver == "bridge" && body.enableIPv4 == nil && body.enableIPv6 == nil)
        #expect(body.ipam?.driver == "default" && body.ipam?.config?.isEmpty == true)
    }

    @Test func addressesGoToTheSubnetsThatHoldThem() throws {
        let body = try Self.body(
            "--subnet", "10.1.0.0/16,fd12::/64", "--gateway=fd12::9", "--gateway", "10.1.0.9", "--ip-range", "10.1.9.0/24",
            "--aux-address", "a=10.1.0.7", "--aux-address", "b=fd12::7", "--ipv6", "mine")
        let config = try #require(body.ipam?.config)
        #expect(config.map(\.subnet) == ["10.1.0.0/16", "fd12::/64"])
        #expect(config.map(\.gateway) == ["10.1.0.9", "fd12::9"])
        #expect(config.map(\.ipRange) == ["10.1.9.0/24", nil])
        #expect(config.map(\.auxiliaryAddresses) == [["a": "10.1.0.7"], ["b": "fd12::7"]])
        #expect(body.enableIPv6 == true)
    }

    @Test func optionsAndLabels() throws {
        let body = try Self.body(
            "-o", "a=b", "--opt", "c", "--label", "k=v", "--label", "l", "--ipam-opt", "x=y", "-d", "macvlan", "--internal",
            "--attachable", "--config-from", "conf", "--ipv4=false", "mine")
        #expect(body.options == ["a": "b", "c": ""] && body.labels == ["k": "v", "l": ""] && body.ipam?.options == ["x": "y"])
        #expect(body.driver == "macvlan" && body.internal == true && body.attachable == true && body.enableIPv4 == false)
        #expect(body.configFrom?.network == "conf")
    }

    @Test func whatDoesNotFitIsRefusedInDockersWords() {
        #expect(
            Self.fault("--gateway", "10.1.0.1", "mine") == "every ip-range or gateway must have a corresponding subnet")
        #expect(
            Self.fault("--subnet", "10.1.0.0/16", "--subnet", "10.1.2.0/24", "mine")
                == "multiple overlapping subnet configuration is not supported")
        #expect(
            Self.fault("--subnet", "10.1.0.0/16", "--ip-range", "10.2.0.0/24", "mine")
                == "no matching subnet for range 10.2.0.0/24")
        #expect(
            Self.fault("--subnet", "10.1.0.0/16", "--gateway", "10.2.0.1", "mine") == "no matching subnet for gateway 10.2.0.1")
        #expect(
            Self.fault("--subnet", "10.1.0.0/16", "--aux-address", "a=10.2.0.1", "mine")
                == "no matching subnet for aux-address 10.2.0.1")
        #expect(
            Self.fault(
                "--subnet", "10.1.0.0/16", "--subnet", "10.2.0.0/16", "--gateway", "10.1.0.1", "--gateway", "10.1.0.2", "mine")
                == "cannot configure multiple gateways (10.1.0.2, 10.1.0.1) for the same subnet (10.1.0.0/16)")
        #expect(
            Self.fault(
                "--subnet", "10.1.0.0/16", "--subnet", "10.2.0.0/16", "--ip-range", "10.1.1.0/24", "--ip-range", "10.1.2.0/24",
                "mine") == "cannot configure multiple ranges (10.1.2.0/24, 10.1.1.0/24) on the same subnet (10.1.0.0/16)")
        #expect(Self.fault("--subnet", "x", "--gateway", "10.1.0.1", "mine") == "invalid subnet: invalid CIDR address: x")
    }

    @Test(arguments: [
        ("net2", "net10"), ("a", "b"), ("a", "aa"), ("net01", "net2"), ("net1", "net01"), ("1", "a"), ("net", "net1"),
    ]) func namesAreSortedAsPeopleDo(_ first: String, _ second: String) {
        #expect(NaturalOrder.precedes(first, second))
        #expect(!NaturalOrder.precedes(second, first))
    }

    @Test func rowsShowWhatDockerShows() throws {
        var network = Docker.NetworkSummary()
        network.name = "mine"
        network.id = String(repeating: "ab", count: 32)
        network.driver = "bridge"
        network.scope = "local"
        network.enableIPv4 = true
        network.created = "2026-01-02T15:04:05.123456789Z"
        network.labels = ["b": "2", "a": "1"]
        let listing = NetworkRows(full: false).listing
        #expect(
            try listing.text([network], listing.shape(nil))
                == "NETWORK ID     NAME      DRIVER    SCOPE\nabababababab   mine      bridge    local\n")
        #expect(
            try listing.text([network], listing.shape("{{.Labels}} {{.Label \"a\"}} {{.IPv4}} {{.IPv6}} {{.CreatedAt}}"))
                == "a=1,b=2 1 true false 2026-01-02 15:04:05.123456789 +0000 UTC\n")
    }
}
