import Model
import Networks

extension DaemonOptions {
    /// `--ipv6`, `--bip6` and `--fixed-cidr-v6` as dockerd has them, but that IPv6 is on unless it is switched off.
    func configureIPv6(_ networks: inout NetworksConfiguration) {
        if let ipv6 { networks.enablesIPv6 = ipv6 }
        guard let (address, subnet) = bridgeAddress6 else {
            networks.subnet6 = fixedSubnet6
            return
        }
        networks.subnet6 = subnet
        networks.gateway6 = address == subnet.network ? nil : address
        networks.range6 = fixedSubnet6
    }

    /// For tests: what the default network gets.
    var summary6: String {
        var networks = NetworksConfiguration()
        configureIPv6(&networks)
        guard networks.enablesIPv6 else { return ", without IPv6" }
        return [
            networks.subnet6.map { "subnet \($0)" }, networks.gateway6.map { "gateway \($0)" },
            networks.range6.map { "range \($0)" },
        ]
        .compactMap { $0 }.map { ", \($0)" }.joined()
    }
}
