import Model
import Networks
import Testing

@Suite struct ResolverFilesTests {
    private func resolv(_ host: String?, _ resolved: String? = nil, _ change: (inout ResolverOptions) -> Void = { _ in })
        -> String
    {
        var options = ResolverOptions()
        change(&options)
        return ResolverFiles.resolv(host: host, resolved: resolved, options: options)
    }

    @Test func theHostsServersAreKept() {
        let host =
            "# comment\nsearch old.example\ndomain lan.example\nnameserver 192.0.2.53\nnameserver\t192.0.2.54 \noptions ndots:2 edns0\n"
        #expect(resolv(host) == "nameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch lan.example\noptions ndots:2 edns0\n")
    }

    @Test func loopbackServersAreLeftOut() {
        #expect(
            resolv("nameserver 127.0.0.1\nnameserver 192.0.2.53\nnameserver ::1\nnameserver fe80::1%eth0\n")
                == "nameserver 192.0.2.53\n")
    }

    @Test func resolvedsRealServersTakeTheStubsPlace() {
        let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n"
        #expect(resolv(stub, "nameserver 192.0.2.1\nsearch home\n") == "nameserver 192.0.2.1\nsearch home\n")
    }

    @Test func onlyWhenNothingIsLeftPublicServersAreNamed() {
        #expect(resolv("nameserver 127.0.0.53\nsearch lan\n") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch lan\n")
        #expect(resolv(nil) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n")
    }

    @Test func flagsReplaceTheHostsLines() {
        let host = "nameserver 192.0.2.53\nsearch lan\noptions ndots:2\n"
        #expect(
            resolv(host) { options in
                options.servers = ["198.51.100.1", "127.0.0.1"]
                options.search = ["a.example", "b.example"]
                options.options = ["timeout:1"]
            } == "nameserver 198.51.100.1\nnameserver 127.0.0.1\nsearch a.example b.example\noptions timeout:1\n")
        #expect(resolv(host) { $0.search = ["."] } == "nameserver 192.0.2.53\noptions ndots:2\n")
    }

    @Test func theHostsNetworkKeepsLoopbackServers() {
        let text = ResolverFiles.resolv(
            host: "nameserver 127.0.0.53\n", resolved: "nameserver 192.0.2.1\n", options: ResolverOptions(), sharesHost: true)
        #expect(text == "nameserver 127.0.0.53\n")
    }

    @Test func hostsAreDockers() throws {
        var options = ResolverOptions()
        options.extraHosts = ["db:192.0.2.7", "up:host-gateway", "six=[2001:db8::1]", "v6:2001:db8::2"]
        let text = try ResolverFiles.hosts(
            hostname: "web", domain: "example.org", address: IPv4Address("172.30.0.2"), gateway: IPv4Address("172.30.0.1"),
            options: options)
        #expect(
            text == """
                127.0.0.1\tlocalhost
                ::1\tlocalhost ip6-localhost ip6-loopback
                fe00::\tip6-localnet
                ff00::\tip6-mcastprefix
                ff02::1\tip6-allnodes
                ff02::2\tip6-allrouters
                192.0.2.7\tdb
                172.30.0.1\tup
                2001:db8::1\tsix
                2001:db8::2\tv6
                172.30.0.2\tweb.example.org web

                """)
        #expect(ResolverFiles.hostname("web") == "web\n")
    }

    @Test(arguments: ["", "db", ":1.2.3.4", "db:", "db:1.2.3", "db:x", "a b:1.2.3.4", "db:1.2.3.4\n5.6.7.8\tbank"])
    func anExtraHostThatIsNoneIsRefused(_ text: String) {
        var options = ResolverOptions()
        options.extraHosts = [text]
        #expect(throws: Fault.self) {
            try ResolverFiles.hosts(hostname: "web", address: nil, gateway: nil, options: options)
        }
    }
}
