import Model

/// The wishes that shape a container's /etc/hosts, /etc/hostname and /etc/resolv.conf (docker's flags).
public struct ResolverOptions: Sendable, Hashable {
    /// `--dns`
    public var servers: [String] = []
    /// `--dns-search`; `.` alone means none.
    public var search: [String] = []
    /// `--dns-option`
    public var options: [String] = []
    /// `--add-host name:address`, address may be `host-gateway`.
    public var extraHosts: [String] = []

    public init() {}
}

/// Contents of the three files that an engine binds into a container. Pure functions.
public enum ResolverFiles {
    /// docker's /etc/hosts. Throws `invalid` for an extra host that is none.
    public static func hosts(
        hostname: String, domain: String, address: IPv4Address?, gateway: IPv4Address?, options: ResolverOptions
    ) throws -> String { "" }

    public static func hostname(_ hostname: String) -> String { hostname + "\n" }

    /// docker's /etc/resolv.conf from the host's (`host`, and `resolved` = /run/systemd/resolve/resolv.conf where it exists).
    public static func resolv(host: String?, resolved: String?, options: ResolverOptions) -> String { "" }
}
