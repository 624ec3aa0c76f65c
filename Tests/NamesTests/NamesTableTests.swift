import Model
import Names
import Testing

@Suite struct NamesTableTests {
    private static let network = String(repeating: "a", count: 64)
    private static let other = String(repeating: "b", count: 64)

    private func endpoint(_ network: String, _ networkName: String, _ addresses: [String], _ names: [String]) -> NamesEndpoint {
        NamesEndpoint(
            network: network, networkName: networkName,
            addresses: addresses.compactMap { text in
                IPAddress(text).map { NamesAddress($0, prefix: text.contains(":") ? 64 : 24) }
            }, names: names)
    }

    private func sandbox(_ endpoints: NamesEndpoint...) -> NamesSandbox {
        var sandbox = NamesSandbox(id: .random())
        sandbox.endpoints = endpoints
        return sandbox
    }

    private func ask(
        _ table: NamesTable, _ sandbox: NamesSandbox, _ name: String, _ type: UInt16 = DNSQuestion.a, turn: UInt64 = 0
    )
        throws -> NamesTable.Verdict
    {
        let name = try #require(DNSName(name))
        return table.verdict(DNSQuestion(name: name, type: type, class: 1), for: sandbox.id, turn: turn)
    }

    private func known(_ addresses: String...) -> NamesTable.Verdict {
        .known(addresses.compactMap { IPAddress($0).map { .address($0) } })
    }

    @Test func containersOfANetworkKnowOneAnother() throws {
        let web = sandbox(endpoint(Self.network, "front", ["10.1.0.2"], ["web", "w", "0123456789ab"]))
        let db = sandbox(endpoint(Self.network, "front", ["10.1.0.3", "fd00::3"], ["db"]))
        let stranger = sandbox(endpoint(Self.other, "back", ["10.2.0.2"], ["db"]))
        var table = NamesTable()
        for one in [web, db, stranger] { table.put(one) }
        #expect(try ask(table, web, "db") == known("10.1.0.3"))
        #expect(try ask(table, web, "DB.front") == known("10.1.0.3"))
        #expect(try ask(table, web, "db", DNSQuestion.aaaa) == known("fd00::3"))
        #expect(try ask(table, db, "w") == known("10.1.0.2"))
        #expect(try ask(table, db, "0123456789ab") == known("10.1.0.2"))
        #expect(try ask(table, web, "web") == known("10.1.0.2"))
        #expect(try ask(table, stranger, "db") == known("10.2.0.2"))
        #expect(try ask(table, stranger, "web") == .foreign)
        #expect(try ask(table, web, "db.back") == .foreign)
        #expect(try ask(table, web, "example.org") == .foreign)
    }

    @Test func aKnownNameWithoutThatTypeIsKnown() throws {
        let web = sandbox(endpoint(Self.network, "n", ["10.1.0.2"], ["web"]))
        var table = NamesTable()
        table.put(web)
        for type in [DNSQuestion.aaaa, 15, 16, 33, 65] as [UInt16] { #expect(try ask(table, web, "web", type) == .known([])) }
        #expect(try ask(table, web, "web", DNSQuestion.any) == known("10.1.0.2"))
    }

    @Test func severalOfAServiceTakeTurns() throws {
        var table = NamesTable()
        let all = (2...4).map { sandbox(endpoint(Self.network, "n", ["10.1.0.\($0)"], ["c\($0)", "service"])) }
        for one in all { table.put(one) }
        #expect(try ask(table, all[0], "service", turn: 0) == known("10.1.0.2", "10.1.0.3", "10.1.0.4"))
        #expect(try ask(table, all[0], "service", turn: 1) == known("10.1.0.3", "10.1.0.4", "10.1.0.2"))
        #expect(try ask(table, all[0], "service", turn: 5) == known("10.1.0.4", "10.1.0.2", "10.1.0.3"))
        table.remove(all[1].id)
        #expect(try ask(table, all[0], "service", turn: 0) == known("10.1.0.2", "10.1.0.4"))
    }

    @Test func theFirstNetworkThatKnowsANameDecides() throws {
        let client = sandbox(
            endpoint(Self.other, "back", ["10.2.0.9"], ["client"]), endpoint(Self.network, "front", ["10.1.0.9"], ["client"]))
        let a = sandbox(endpoint(Self.network, "front", ["10.1.0.2"], ["db"]))
        let b = sandbox(endpoint(Self.other, "back", ["10.2.0.2"], ["db"]))
        var table = NamesTable()
        for one in [a, b, client] { table.put(one) }
        #expect(try ask(table, client, "db") == known("10.2.0.2"))
        #expect(try ask(table, client, "db.front") == known("10.1.0.2"))
        table.remove(b.id)
        #expect(try ask(table, client, "db") == known("10.1.0.2"))
    }

    @Test func linksAreKnownToTheirOwnerAlone() throws {
        let db = sandbox(endpoint(Self.network, "n", ["10.1.0.3"], ["db"]))
        var web = sandbox(endpoint(Self.network, "n", ["10.1.0.2"], ["web"]))
        web.links = [NamesAlias(alias: "postgres", target: "db")]
        web.hosts = [NamesHost(name: "host.docker.internal", address: try #require(IPAddress("10.1.0.1")))]
        var table = NamesTable()
        for one in [db, web] { table.put(one) }
        #expect(try ask(table, web, "postgres") == known("10.1.0.3"))
        #expect(try ask(table, db, "postgres") == .foreign)
        #expect(try ask(table, web, "host.docker.internal") == known("10.1.0.1"))
        table.remove(db.id)
        #expect(try ask(table, web, "postgres") == .foreign)
    }

    @Test func addressesHaveNames() throws {
        let web = sandbox(endpoint(Self.network, "front", ["10.1.0.2", "fd00::2"], ["web"]))
        var table = NamesTable()
        table.put(web)
        let name = try #require(DNSName("web.front"))
        #expect(try ask(table, web, "2.0.1.10.in-addr.arpa", DNSQuestion.ptr) == .known([.pointer(name)]))
        let six = "2." + String(repeating: "0.", count: 27) + "0.0.d.f.ip6.arpa"
        #expect(try ask(table, web, six, DNSQuestion.ptr) == .known([.pointer(name)]))
        // of the network, but nobody's: nobody outside is asked
        #expect(try ask(table, web, "77.0.1.10.in-addr.arpa", DNSQuestion.ptr) == .noSuchName)
        #expect(try ask(table, web, "7" + six.dropFirst(), DNSQuestion.ptr) == .noSuchName)
        #expect(try ask(table, web, "2.0.9.10.in-addr.arpa", DNSQuestion.ptr) == .foreign)
        #expect(try ask(table, web, "1.10.in-addr.arpa", DNSQuestion.ptr) == .foreign)
    }

    @Test func localhostStaysHere() throws {
        let web = sandbox(endpoint(Self.network, "n", ["10.1.0.2"], ["web"]))
        var table = NamesTable()
        table.put(web)
        #expect(try ask(table, web, "localhost") == known("127.0.0.1"))
        #expect(try ask(table, web, "a.localhost", DNSQuestion.aaaa) == known("::1"))
    }

    @Test func aRecordReplacesItsForerunner() throws {
        var web = sandbox(endpoint(Self.network, "n", ["10.1.0.2"], ["web"]))
        var table = NamesTable()
        table.put(web)
        web.endpoints[0].names = ["renamed"]
        table.put(web)
        #expect(try ask(table, web, "web") == .foreign)
        #expect(try ask(table, web, "renamed") == known("10.1.0.2"))
        #expect(table.count == 1)
        table.remove(web.id)
        table.remove(web.id)
        #expect(table.count == 0)
        #expect(try ask(table, web, "renamed") == .foreign)
    }

    @Test func aTakenOverAddressKeepsItsNewName() throws {
        let old = sandbox(endpoint(Self.network, "n", ["10.1.0.2"], ["old"]))
        let new = sandbox(endpoint(Self.network, "n", ["10.1.0.2"], ["new"]))
        var table = NamesTable()
        table.put(old)
        table.put(new)
        table.remove(old.id)
        let name = try #require(DNSName("new.n"))
        #expect(try ask(table, new, "2.0.1.10.in-addr.arpa", DNSQuestion.ptr) == .known([.pointer(name)]))
    }
}

@Suite struct NamesRecordTests {
    @Test func aRecordTravels() throws {
        var sandbox = NamesSandbox(id: .random())
        sandbox.endpoints = [
            NamesEndpoint(
                network: "n", networkName: "net", addresses: [NamesAddress(try #require(IPAddress("10.0.0.2")), prefix: 24)],
                names: ["a", "b"])
        ]
        sandbox.links = [NamesAlias(alias: "x", target: "y")]
        sandbox.hosts = [NamesHost(name: "h", address: .v4(.loopback))]
        sandbox.servers = ["10.0.0.53"]
        sandbox.forwards = false
        for action in [.put(sandbox), .remove(sandbox.id), .list, .end] as [NamesRequest.Action] {
            let request = NamesRequest(serial: 7, action: action)
            #expect(try NamesRequest(json: request.json) == request)
        }
        var answer = NamesAnswer(serial: 9)
        answer.serving = [sandbox.id]
        answer.counters.queries = 5
        #expect(try NamesAnswer(json: answer.json) == answer)
    }

    @Test func serversAreRead() {
        let text =
            "# c\nnameserver 127.0.0.53\nsearch a b\nnameserver  10.0.0.1 # x\nnameserver nonsense\nnameserver 10.0.0.1\n"
        #expect(NameServer.list(text).map(\.description) == ["127.0.0.53", "10.0.0.1"])
    }
}
