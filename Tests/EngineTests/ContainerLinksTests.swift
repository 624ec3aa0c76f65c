import Engine
import Model
import Networks
import Testing

@Suite struct ContainerLinksTests {
    private func link(_ ports: [String], _ environment: [String] = []) -> ContainerLink {
        ContainerLink(
            alias: "my-db", name: "postgres", hostname: "0123456789ab", address: IPv4Address(number: 0xAC11_0003), ports: ports,
            environment: environment, owner: "web")
    }

    @Test func linksAreNamesWithOrWithoutAlias() {
        #expect(ContainerLink.parse("db:database") == ("db", "database"))
        #expect(ContainerLink.parse("db") == ("db", "db"))
        // as docker shows them in inspect, which clients send back
        #expect(ContainerLink.parse("/db:/web/database") == ("db", "database"))
    }

    @Test func variablesAreDockers() {
        #expect(
            link(["5432/tcp"], ["PGDATA=/d", "HOME=/root", "PATH=/bin", "broken"]).variables == [
                "MY_DB_PORT=tcp://172.17.0.3:5432", "MY_DB_PORT_5432_TCP=tcp://172.17.0.3:5432",
                "MY_DB_PORT_5432_TCP_ADDR=172.17.0.3", "MY_DB_PORT_5432_TCP_PORT=5432", "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_NAME=/web/my-db", "MY_DB_ENV_PGDATA=/d",
            ])
    }

    @Test func withoutPortsThereIsTheNameAlone() { #expect(link([]).variables == ["MY_DB_NAME=/web/my-db"]) }

    @Test func neighbouringPortsAreARangeToo() {
        let variables = link(["81/tcp", "80/tcp", "53/udp", "443/tcp"]).variables
        #expect(variables.first == "MY_DB_PORT=tcp://172.17.0.3:80")
        #expect(variables.contains("MY_DB_PORT_80_TCP_START=tcp://172.17.0.3:80"))
        #expect(variables.contains("MY_DB_PORT_80_TCP_END=tcp://172.17.0.3:81"))
        #expect(variables.contains("MY_DB_PORT_80_TCP_PORT_END=81"))
        #expect(variables.contains("MY_DB_PORT_53_UDP=udp://172.17.0.3:53"))
        #expect(!variables.contains { $0.hasPrefix("MY_DB_PORT_443_TCP_START") })
    }

    @Test func hostsNamesAreAliasHostNameAndName() {
        #expect(link([]).hostsNames == "my-db 0123456789ab postgres")
        var same = link([])
        same.name = "my-db"
        #expect(same.hostsNames == "my-db 0123456789ab")
    }

    @Test func aNewAddressReplacesTheOldOneAndNothingElse() {
        let old = "127.0.0.1\tlocalhost\n172.17.0.3\tmy-db 0123456789ab postgres\n172.17.0.9\tother\n"
        let new = ResolverFiles.relinked(old, [("my-db 0123456789ab postgres", IPv4Address(number: 0xAC11_0007))])
        #expect(new == old.replacing("172.17.0.3", with: "172.17.0.7"))
    }
}
