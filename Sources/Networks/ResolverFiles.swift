import Linux
import Model

/// The wishes that shape a container's /etc/hosts, /etc/hostname and /etc/resolv.conf (docker's flags).
public struct ResolverOptions: Sendable, Hashable {
    /// `--dns`
    public var servers: [String] = []
    /// `--dns-search`; `.` alone means none.
    public var search: [String] = []
    /// `--dns-option`
    public var options: [String] = []
    /// `--add-host name:address` or `name=address`; the address may be `host-gateway`.
    public var extraHosts: [String] = []

    public init() {}

    /// With what the networks say (CNI) where the user says nothing.
    public func completed(by sandbox: SandboxRecord?) -> ResolverOptions {
        guard let resolver = sandbox?.endpoints.compactMap(\.resolver).first else { return self }
        var options = self
        if servers.isEmpty { options.servers = resolver.servers }
        if search.isEmpty { options.search = resolver.search }
        if self.options.isEmpty { options.options = resolver.options }
        return options
    }
}

/// Contents of the three files that an engine binds into a container. Pure functions, but for `hostNameServers`.
public enum ResolverFiles {
    /// docker's /etc/hosts: loopback, extra hosts, and the container's own names with its address.
    /// - Throws: `invalid` for an extra host that is none, in docker's words.
    public static func hosts(
        hostname: String, domain: String = "", address: IPv4Address?, gateway: IPv4Address?, options: ResolverOptions,
        linked: [(names: String, address: IPv4Address)] = []
    ) throws -> String {
        var text = """
            127.0.0.1\tlocalhost
            ::1\tlocalhost ip6-localhost ip6-loopback
            fe00::\tip6-localnet
            ff00::\tip6-mcastprefix
            ff02::1\tip6-allnodes
            ff02::2\tip6-allrouters

            """
        for extra in options.extraHosts {
            let (name, target) = try extraHost(extra, gateway: gateway)
            text += "\(target)\t\(name)\n"
        }
        for link in linked { text += "\(link.address)\t\(link.names)\n" }
        guard let address else { return text }
        let names = domain.isEmpty ? hostname : "\(hostname).\(domain) \(hostname)"
        return text + "\(address)\t\(names)\n"
    }

    /// An /etc/hosts in which the lines of linked containers bear their addresses of now; all other lines stay as they are.
    public static func relinked(_ text: String, _ linked: [(names: String, address: IPv4Address)]) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            guard let tab = line.firstIndex(of: "\t"),
                let link = linked.first(where: { line[line.index(after: tab)...] == $0.names })
            else { return String(line) }
            return "\(link.address)\t\(link.names)"
        }.joined(separator: "\n")
    }

    /// An /etc/hosts without the line of a linked container that has these names there.
    public static func unlinked(_ text: String, names: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).filter { line in
            line.firstIndex(of: "\t").map { line[line.index(after: $0)...] != names } ?? true
        }.joined(separator: "\n")
    }

    /// The host's own file and the extra hosts: what docker gives a container with `--network host`.
    public static func hosts(ofHost text: String?, gateway: IPv4Address?, options: ResolverOptions) throws -> String {
        var text = text ?? "127.0.0.1\tlocalhost\n"
        if !text.isEmpty, !text.hasSuffix("\n") { text += "\n" }
        for extra in options.extraHosts {
            let (name, target) = try extraHost(extra, gateway: gateway)
            text += "\(target)\t\(name)\n"
        }
        return text
    }

    /// The names and addresses of `--add-host`; what hosts(5) would refuse is left out.
    public static func extraHosts(_ extras: [String], gateway: IPv4Address?) -> [(name: String, address: IPAddress)] {
        extras.compactMap { extra in
            guard let (name, text) = try? extraHost(extra, gateway: gateway), let address = IPAddress(text) else { return nil }
            return (name, address)
        }
    }

    /// docker accepts `name:address` and `name=address`, IPv6 with or without brackets.
    private static func extraHost(_ extra: String, gateway: IPv4Address?) throws -> (name: String, address: String) {
        let bad = Fault(.invalid, "bad format for add-host: \"\(extra)\"", subject: extra)
        guard let at = extra.firstIndex(where: { $0 == "=" }) ?? extra.firstIndex(where: { $0 == ":" }) else { throw bad }
        let name = extra[..<at]
        let target = String(extra[extra.index(after: at)...])
        guard !name.isEmpty, !extra.contains(where: { $0.isWhitespace }) else { throw bad }
        if target == "host-gateway" {
            guard let gateway else {
                throw Fault(
                    .invalid, "unable to derive the IP value for host-gateway: the container has no bridge network",
                    subject: extra)
            }
            return (String(name), gateway.description)
        }
        guard let address = IPAddress(target) else {
            throw Fault(.invalid, "invalid IP address in add-host: \"\(target)\"", subject: extra)
        }
        return (String(name), address.description)
    }

    public static func hostname(_ hostname: String) -> String { hostname + "\n" }

    /// What a resolv.conf says (resolv.conf(5)). Later `search` and `domain` lines replace earlier ones.
    public struct Content: Sendable, Hashable {
        public var servers: [String] = []
        public var search: [String] = []
        public var options: [String] = []

        public init() {}

        public init(_ text: String) {
            for line in text.split(whereSeparator: { $0 == "\n" || $0 == "\r\n" }) {
                let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
                guard let key = words.first, !key.hasPrefix("#"), !key.hasPrefix(";"), words.count > 1 else { continue }
                switch key {
                case "nameserver": servers.append(words[1])
                case "search": search = Array(words.dropFirst())
                case "domain": search = [words[1]]
                case "options": options += words.dropFirst()
                default: break
                }
            }
        }

        public var text: String {
            var lines = servers.map { "nameserver \($0)" }
            if !search.isEmpty { lines.append("search " + search.joined(separator: " ")) }
            if !options.isEmpty { lines.append("options " + options.joined(separator: " ")) }
            return lines.map { $0 + "\n" }.joined()
        }
    }

    /// docker's /etc/resolv.conf for a container on a network without a resolver of its own.
    ///
    /// `host` is the host's file; where that names only loopback servers (systemd-resolved's stub, dnsmasq), which a container
    /// cannot reach, `resolved` (/run/systemd/resolve/resolv.conf) takes its place. `sharesHost` is `--network host`: loopback
    /// servers then work. Only when no server is left, public ones are named.
    public static func resolv(host: String?, resolved: String?, options: ResolverOptions, sharesHost: Bool = false) -> String {
        var content = Content(host ?? "")
        if !sharesHost {
            func reachable(_ content: Content) -> [String] { content.servers.filter { !isUnreachable($0) } }
            let own = reachable(content)
            if own.isEmpty, !content.servers.isEmpty, let resolved {
                content = Content(resolved)
                content.servers = reachable(content)
            } else {
                content.servers = own
            }
        }
        if !options.servers.isEmpty { content.servers = options.servers }
        if !options.search.isEmpty { content.search = options.search == ["."] ? [] : options.search }
        if !options.options.isEmpty { content.options = options.options }
        if content.servers.isEmpty, !sharesHost { content.servers = ["8.8.8.8", "8.8.4.4"] }
        return content.text
    }

    /// docker's /etc/resolv.conf for a container whose names are answered at 127.0.0.11: the host's search list and options, and
    /// names with however few dots are asked for as they are.
    public static func resolv(host: String?, asking server: IPv4Address, options: ResolverOptions) -> String {
        var content = Content(host ?? "")
        content.servers = [server.description]
        if !options.search.isEmpty { content.search = options.search == ["."] ? [] : options.search }
        if !options.options.isEmpty { content.options = options.options }
        if !content.options.contains(where: { $0.hasPrefix("ndots:") }) { content.options.append("ndots:0") }
        return content.text
    }

    /// Loopback, or an IPv6 address that means nothing outside its link (zone) or without IPv6 in the container.
    private static func isUnreachable(_ server: String) -> Bool {
        guard let address = IPAddress(server) else { return true }
        if case .v6 = address { return true }
        return address.isLoopback || address.isUnspecified
    }

    /// The host's name servers that are no loopback, for keeping subnets away from them.
    package static func hostNameServers() -> [IPv4Address] {
        ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"].flatMap { path in
            Content(NetSysctl.text(path) ?? "").servers.compactMap { IPv4Address($0) }.filter { !$0.isLoopback }
        }
    }
}
