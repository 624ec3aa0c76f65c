import Linux
import Model
import Synchronization

/// Keeps containers on our bridges from posing as their neighbours, or as the host: a table of the bridge family of its own.
///
/// Of each endpoint the table has the link, the Ethernet address and the IP addresses. A frame that comes from one of our links
/// with the address of somebody else is dropped, be it the frame's source, the sender of an ARP packet, the source of an IP
/// packet or the target of a neighbour advertisement; router advertisements and redirects of containers are dropped whatever they say. Addresses
/// that nobody has may be used (virtual addresses that move, bridges in containers).
final class BridgeGuard: Sendable {
    let table: TablesRequest
    /// By which the kernel's notifications name our own changes.
    let port: UInt32
    private let content: Mutex<Content>

    private struct Content {
        let socket: GuardSocket
        var entries: [String: Entry] = [:]
        /// Addresses of the bridges themselves.
        var hosts: [ObjectID: Entry] = [:]
    }

    /// Unchecked: reached only through the mutex of the guard.
    private final class GuardSocket: @unchecked Sendable {
        let netlink: NetlinkSocket
        init(_ netlink: NetlinkSocket) { self.netlink = netlink }
    }

    /// Who may use which addresses. Without a link nobody may.
    struct Entry: Sendable, Hashable {
        var link: String?
        var macs: [MACAddress] = []
        var ipv4: [IPv4Address] = []
        var ipv6: [IPv6Address] = []
    }

    /// For the network namespace of the calling thread. Throws where this kernel has no nf_tables for bridges.
    init(table name: String) throws {
        table = TablesRequest(table: name, family: .bridge)
        let socket = try NetlinkSocket(.netfilter)
        port = socket.port
        content = Mutex(Content(socket: GuardSocket(socket)))
        try rebuild()
    }

    static func entry(_ endpoint: EndpointRecord) -> Entry? {
        guard let link = endpoint.hostInterface else { return nil }
        var entry = Entry(link: link)
        if let mac = endpoint.mac {
            entry.macs = [mac]
            if endpoint.ipv6 != nil { entry.ipv6 = [mac.linkLocal] }
        }
        entry.ipv4 = [endpoint.ipv4?.address].compactMap { $0 }
        entry.ipv6 += [endpoint.ipv6?.address].compactMap { $0 }
        return entry
    }

    /// The endpoint's link, which need not be there yet, may use its addresses from now on, and nobody else.
    func admit(_ endpoint: EndpointRecord) throws {
        guard let entry = Self.entry(endpoint), let link = entry.link else { return }
        try content.withLock { content in
            let old = content.entries.updateValue(entry, forKey: link)
            if old == entry { return }
            try send(content, (old.map { elements($0, remove: true) } ?? []) + elements(entry, remove: false))
        }
    }

    /// Of sandboxes that live, in one transaction.
    func admit(all endpoints: [EndpointRecord]) throws {
        let entries = endpoints.compactMap(Self.entry)
        try content.withLock { content in
            for entry in entries { if let link = entry.link { content.entries[link] = entry } }
            try send(content, entries.flatMap { elements($0, remove: false) })
        }
    }

    /// Its addresses are anybody's again.
    func forget(_ endpoints: [EndpointRecord]) {
        content.withLock { content in
            let gone = endpoints.compactMap(\.hostInterface).compactMap { content.entries.removeValue(forKey: $0) }
            try? send(content, gone.flatMap { elements($0, remove: true) })
        }
    }

    /// A bridge's own addresses, which are no container's.
    func protect(_ network: StandingNetwork, _ host: HostLinks) throws {
        guard let bridge = network.record.bridge?.bridge else { return }
        let mac = try host.link(bridge)?.mac
        var entry = Entry(link: nil, macs: [mac].compactMap { $0 })
        entry.ipv4 = network.record.ipv4.compactMap(\.gateway?.v4)
        entry.ipv6 = network.record.ipv6.compactMap(\.gateway?.v6) + [mac?.linkLocal].compactMap { $0 }
        try content.withLock { content in
            content.hosts[network.record.id] = entry
            try send(content, elements(entry, remove: false))
        }
    }

    func release(_ network: ObjectID) {
        content.withLock { content in
            guard let entry = content.hosts.removeValue(forKey: network) else { return }
            try? send(content, elements(entry, remove: true))
        }
    }

    /// Puts the table back where somebody has taken it, or a part of it, away; true when that was so.
    func mend() throws -> Bool {
        let isWhole = content.withLock { content in
            let socket = content.socket.netlink
            // Where the table is gone, so are its sets.
            guard let rules = try? socket.ruleCount(of: table), rules >= Self.rules(table).count,
                let pairs = try? socket.elements(of: Self.macPairs, in: table)
            else { return false }
            return pairs.count >= content.entries.values.reduce(0) { $0 + $1.macs.count }
        }
        if isWhole { return false }
        try rebuild()
        return true
    }

    private func rebuild() throws {
        try content.withLock { content in
            var messages = [table.create(note: Self.note), table.delete(), table.create(note: Self.note)]
            messages += Self.sets(table)
            messages.append(table.create(chain: "ports", type: "filter", hook: .prerouting, priority: -300))
            messages += Self.rules(table)
            for entry in Array(content.hosts.values) + Array(content.entries.values) {
                messages += elements(entry, remove: false)
            }
            if let first = try content.socket.netlink.batch(messages).first { throw first.fault }
        }
    }

    /// A difference that the kernel refuses (an element is not what we think) is made good by `mend`.
    private func send(_ content: Content, _ messages: [NetlinkMessage]) throws {
        guard !messages.isEmpty else { return }
        if let first = try content.socket.netlink.batch(messages).first, !first.fault.isNotFound { throw first.fault }
    }

    // MARK: The table

    private static let note = "skiff 2"
    private static let macs = "macs"
    private static let macPairs = "mac_pairs"
    private static let ipv4 = "ipv4"
    private static let ipv4Pairs = "ipv4_pairs"
    private static let ipv6 = "ipv6"
    private static let ipv6Pairs = "ipv6_pairs"

    /// Link, Ethernet and IP address of who may use them: nearly all packets are known by one look.
    private static let known4 = "known4"
    private static let known6 = "known6"

    private static func sets(_ table: TablesRequest) -> [NetlinkMessage] {
        [
            table.create(set: macs, key: .mac, id: 1),
            table.create(set: macPairs, key: .concatenation(.interface, .mac), id: 2),
            table.create(set: ipv4, key: .ipv4, id: 3),
            table.create(set: ipv4Pairs, key: .concatenation(.interface, .ipv4), id: 4),
            table.create(set: ipv6, key: .ipv6, id: 5),
            table.create(set: ipv6Pairs, key: .concatenation(.interface, .ipv6), id: 6),
            table.create(set: known4, key: .concatenation(.interface, .mac, .ipv4), id: 7),
            table.create(set: known6, key: .concatenation(.interface, .mac, .ipv6), id: 8),
        ]
    }

    /// Somebody's address, but not this link's.
    private static func stolen(
        _ load: (UInt32) -> TablesExpression, _ set: String, _ id: UInt32, _ pairs: String, _ pairID: UInt32
    )
        -> [TablesExpression]
    {
        [
            load(1), .lookup(set, id: id), .load(.inputName, into: 1), load(2), .lookup(absentFrom: pairs, id: pairID),
            .verdict(.drop),
        ]
    }

    private static func rules(_ table: TablesRequest) -> [NetlinkMessage] {
        func etherType(_ value: [UInt8]) -> [TablesExpression] { [.load(.etherType), .compare(value)] }
        let isIPv4 = etherType([0x08, 0x00])
        let isARP = etherType([0x08, 0x06])
        let isIPv6 = etherType([0x86, 0xDD])
        func icmp6(_ type: UInt8) -> [TablesExpression] {
            isIPv6 + [.load(.transport), .compare([58]), .load(.transport, at: 0, size: 1), .compare([type])]
        }
        // The name fills four registers of four bytes, the Ethernet address two.
        func known(_ set: String, _ id: UInt32, at place: UInt32, size: UInt32) -> [TablesExpression] {
            [
                .load(.inputName), .load(.link, at: 6, size: 6, into: 2), .load(.network, at: place, size: size, into: 14),
                .lookup(set, id: id),
            ]
        }
        let group = withUnsafeBytes(of: BridgeDriver.group) { Array($0) }
        func append(_ expressions: [TablesExpression], _ comment: String) -> NetlinkMessage {
            table.append(expressions, to: "ports", comment: comment)
        }
        return [
            append([.load(.inputGroup), .compare(group, isEqual: false), .verdict(.accept)], "no container's link"),
            append(isIPv4 + known(known4, 7, at: 12, size: 4) + [.verdict(.accept)], "its own addresses"),
            append(
                isIPv6 + [.load(.transport), .compare([58], isEqual: false)] + known(known6, 8, at: 8, size: 16)
                    + [.verdict(.accept)], "its own addresses"),
            append(
                stolen({ .load(.link, at: 6, size: 6, into: $0) }, macs, 1, macPairs, 2), "a neighbour's Ethernet address"),
            append(
                isARP + stolen({ .load(.network, at: 8, size: 6, into: $0) }, macs, 1, macPairs, 2),
                "ARP in a neighbour's name"),
            append(
                isARP + stolen({ .load(.network, at: 14, size: 4, into: $0) }, ipv4, 3, ipv4Pairs, 4),
                "ARP for a neighbour's address"),
            append(
                isIPv4 + stolen({ .load(.network, at: 12, size: 4, into: $0) }, ipv4, 3, ipv4Pairs, 4),
                "a neighbour's IPv4 address"),
            append(
                isIPv6 + stolen({ .load(.network, at: 8, size: 16, into: $0) }, ipv6, 5, ipv6Pairs, 6),
                "a neighbour's IPv6 address"),
            append(icmp6(134) + [.verdict(.drop)], "no container is a router"),
            append(icmp6(137) + [.verdict(.drop)], "no container redirects"),
            append(
                icmp6(136) + stolen({ .load(.transport, at: 8, size: 16, into: $0) }, ipv6, 5, ipv6Pairs, 6),
                "neighbour advertisement for a neighbour's address"),
        ]
    }

    private func elements(_ entry: Entry, remove: Bool) -> [NetlinkMessage] {
        func messages(_ keys: [[UInt8]], _ set: String, _ pairs: String) -> [NetlinkMessage] {
            guard !keys.isEmpty else { return [] }
            let plain = keys.map { TablesElement(key: $0) }
            let link = entry.link.map { FirewallRules.name($0) }
            let paired = link.map { link in keys.map { TablesElement(key: TablesElement.concatenate(link, $0)) } } ?? []
            return remove
                ? table.remove(plain, from: set) + table.remove(paired, from: pairs)
                : table.add(plain, to: set) + table.add(paired, to: pairs)
        }
        func triples(_ addresses: [[UInt8]], _ set: String) -> [NetlinkMessage] {
            let keys = (entry.link.map { [FirewallRules.name($0)] } ?? []).flatMap { link in
                entry.macs.flatMap { mac in addresses.map { TablesElement.concatenate(link, mac.bytes, $0) } }
            }.map { TablesElement(key: $0) }
            return remove ? table.remove(keys, from: set) : table.add(keys, to: set)
        }
        return triples(entry.ipv4.map(\.bytes), Self.known4) + triples(entry.ipv6.map(\.bytes), Self.known6)
            + messages(entry.macs.map(\.bytes), Self.macs, Self.macPairs)
            + messages(entry.ipv4.map(\.bytes), Self.ipv4, Self.ipv4Pairs)
            + messages(entry.ipv6.map(\.bytes), Self.ipv6, Self.ipv6Pairs)
    }
}

extension MACAddress {
    /// The link-local address that the kernel makes of it (RFC 4291 appendix A).
    var linkLocal: IPv6Address {
        let host = [bytes[0] ^ 2, bytes[1], bytes[2], 0xFF, 0xFE, bytes[3], bytes[4], bytes[5]]
        return IPv6Address(high: 0xFE80 << 48, low: host.reduce(0) { $0 << 8 | UInt64($1) })
    }
}
