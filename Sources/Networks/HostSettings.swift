import Linux
import Model

/// Settings of the host itself that networks need. Each says what it changed, or that it could not.
enum HostSettings {
    /// Lets packets pass between containers and the world.
    static func enableForwarding(warn: (String) -> Void) {
        do {
            guard try NetSysctl.read("ipv4/ip_forward") == "0" else { return }
            try NetSysctl.write("ipv4/ip_forward", "1")
            warn("switched on IPv4 forwarding (net.ipv4.ip_forward=1) so that containers reach other networks")
        } catch {
            warn(
                "net.ipv4.ip_forward is off and cannot be changed (\(error)): containers reach this host only; "
                    + "set it to 1 on the host")
        }
    }

    /// The same for IPv6. A host that forwards no longer listens to its routers unless it is told to (accept_ra=2): links that
    /// listen now go on.
    static func enableForwarding6(_ links: () throws -> [String], warn: (String) -> Void) {
        do {
            guard try NetSysctl.read("ipv6/conf/all/forwarding") == "0" else { return }
            for link in try links() where (try? NetSysctl.read("ipv6/conf/\(link)/accept_ra")) == "1" {
                try NetSysctl.write("ipv6/conf/\(link)/accept_ra", "2")
            }
            try NetSysctl.write("ipv6/conf/all/forwarding", "1")
            warn("switched on IPv6 forwarding (net.ipv6.conf.all.forwarding=1) so that containers reach other networks")
        } catch {
            warn(
                "net.ipv6.conf.all.forwarding is off and cannot be changed (\(error)): containers reach this host only over "
                    + "IPv6; set it to 1 on the host")
        }
    }

    /// Whether this kernel has IPv6 and lets links have it.
    static var hasIPv6: Bool { (try? NetSysctl.read("ipv6/conf/all/disable_ipv6")) == "0" }

    /// Lets connections to 127.0.0.1 be redirected to containers. Only with our table in place: its first chain drops what
    /// comes to 127.0.0.0/8 from outside, and from containers, which this setting alone would let in (CVE-2020-8558).
    static func enableLoopbackPublishing(_ bridge: String, warn: (String) -> Void) {
        let key = "ipv4/conf/\(bridge)/route_localnet"
        guard (try? NetSysctl.read(key)) != "1" else { return }
        do {
            try NetSysctl.write(key, "1")
        } catch {
            warn("cannot set net/\(key) to 1 (\(error)): ports published on 127.0.0.1 do not answer")
        }
    }
}
