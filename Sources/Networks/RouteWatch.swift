import Linux
import Model

/// A route of the host's that leads elsewhere what is meant for a network of ours, or from which our network takes a part.
struct RouteOverlap: Sendable, Hashable {
    var destination: IPv4Subnet
    /// The link that it leads to; empty for one that refuses.
    var link: String
    var table: UInt32
    var network: String
    var subnet: IPv4Subnet
    /// It wins against the bridge's own.
    var isStronger: Bool

    var text: String {
        let way = link.isEmpty ? "that refuses" : "by \(link)"
        let place = table == RouteWatch.mainTable ? "" : " (table \(table))"
        let what =
            isStronger
            ? "packets for containers may take it" : "nobody at \(subnet) behind it is reached from this host"
        return "the route to \(destination) \(way)\(place) overlaps network \(network), \(subnet): \(what). Give the network "
            + "another subnet (network create --subnet; skiffd --bip for the default one)"
    }
}

/// Hears of routes that come while networks stand: a VPN's, say. Subnets are chosen beside the routes that there are; one that
/// comes later cannot be evaded, but it can be told of.
final class RouteWatch: Sendable {
    private let stop: SharedEnd

    /// RT_TABLE_MAIN
    static let mainTable: UInt32 = 254
    /// RTNLGRP_IPV4_ROUTE
    private static let group: CInt = 7
    /// A VPN sets many routes at once; they are looked at together.
    private static let pause: CInt = 500

    /// For the network namespace of the calling thread.
    init(_ networks: NetworkDirectory, warn: @escaping @Sendable (String) -> Void) throws {
        let listener = try NetlinkSocket(.route)
        try listener.subscribe(Self.group)
        let socket = try NetlinkSocket(.route)
        let ends = try StreamCalls.pipe().split()
        stop = SharedEnd(Descriptor(owning: ends.write))
        let box = Handover((listener, socket))
        try startThread {
            let end = Descriptor(owning: ends.read)
            guard let (listener, socket) = box.take() else { return }
            var told = Set((try? Self.overlaps(networks, socket)) ?? [])
            while SharedEnd.waits(for: listener.raw, end.raw) {
                guard Self.hasNews(listener) else { continue }
                if SharedEnd.isOver(end.raw, Self.pause) { return }
                _ = Self.hasNews(listener)
                guard let found = try? Self.overlaps(networks, socket) else { continue }
                for overlap in found where !told.contains(overlap) { warn(overlap.text) }
                told = Set(found)
            }
        }
    }

    func close() { stop.close() }

    /// Whether a route was made (RTM_NEWROUTE) among all that has come; losses count.
    private static func hasNews(_ listener: NetlinkSocket) -> Bool {
        var isNew = false
        while true {
            guard let events = try? listener.events() else { return true }
            if events.isEmpty { return isNew }
            for event in events { if ((try? RouteInfo(event)) ?? nil) != nil { isNew = true } }
        }
    }

    /// As things are now.
    static func overlaps(_ networks: NetworkDirectory, _ socket: NetlinkSocket) throws -> [RouteOverlap] {
        let stands = networks.all.compactMap { networks.stand($0.id) }.filter { $0.record.bridge != nil }
        let links = try socket.links()
        return overlaps(
            stands.map { ($0.record, $0.standing.index) }, routes: try socket.routes(),
            names: Dictionary(links.map { ($0.index, $0.name) }) { first, _ in first })
    }

    static func overlaps(
        _ networks: [(record: NetworkRecord, link: Int32)], routes: [RouteInfo], names: [Int32: String]
    ) -> [RouteOverlap] {
        let bridges = Set(networks.map(\.link))
        // As in `SubnetChoice`: unicast routes and those that refuse, without default routes and their halves.
        let others = routes.filter {
            ($0.type == 1 || $0.type >= 6) && $0.destination.prefix > 1 && !bridges.contains($0.link)
        }
        return networks.flatMap { record, _ in
            record.ipv4.compactMap(\.subnet.v4).flatMap { subnet in
                others.filter { $0.destination.overlaps(subnet) }.map { route in
                    RouteOverlap(
                        destination: route.destination, link: names[route.link] ?? "", table: route.table, network: record.name,
                        subnet: subnet,
                        isStronger: route.table != mainTable || route.destination.prefix > subnet.prefix)
                }
            }
        }
    }
}
