import Linux
import Model

/// Asks around on a network's link who has the addresses that are handed out next (RFC 5227), and those that were handed out
/// unasked, on a thread of its own, some time after somebody was given one: nobody waits for it. An address that something has
/// which the engine did not give it to (a machine on the LAN, a virtual machine on the bridge, a container that took a virtual
/// address) is put aside and told of.
///
/// IPv4 alone. The IPv6 networks that the engine chooses are nobody else's, and those of a LAN have 2^64 addresses.
final class AddressWatch: Sendable {
    private struct Question: Sendable {
        var stand: NetworkStand
        /// Nil where an address is only soon to be given.
        var endpoint: EndpointRecord?
    }

    /// Starts come in crowds, and each has better to do than to wait for the processor.
    private static let patience = 200
    /// Two questions, each with so much time for answers.
    private static let wait: CInt = 250
    /// Addresses asked for ahead.
    private static let ahead = 8

    private let questions = NetlinkQueue<Question>()
    private let warn: @Sendable (String) -> Void
    /// Which endpoint of a sandbox in use has an address of a network now.
    private let owner: @Sendable (ObjectID, IPv4Address) -> EndpointRecord?

    /// For the network namespace of the calling thread.
    init(
        warn: @escaping @Sendable (String) -> Void, owner: @escaping @Sendable (ObjectID, IPv4Address) -> EndpointRecord?
    ) throws {
        self.warn = warn
        self.owner = owner
        let box = Handover(try NetlinkSocket(.route))
        try startThread { [self] in
            guard let route = box.take() else { return }
            while let first = questions.takeAll() {
                NetClock.sleep(milliseconds: Self.patience)
                if questions.isClosed { return }
                let rounds = Dictionary(grouping: first + questions.takeNow()) { $0.stand.id }
                for round in rounds.values {
                    guard let stand = round.first?.stand else { continue }
                    // A link that is gone, or takes no such packets, is no fault of anybody's.
                    try? ask(stand, round.compactMap(\.endpoint), route)
                }
            }
        }
    }

    func close() { questions.close() }

    /// An address of the network has been given, to the endpoint; costs no system call beyond waking a thread.
    func look(_ stand: NetworkStand, _ endpoint: EndpointRecord? = nil) {
        if stand.record.probedLink != nil { questions.put(Question(stand: stand, endpoint: endpoint)) }
    }

    private func ask(_ stand: NetworkStand, _ endpoints: [EndpointRecord], _ route: NetlinkSocket) throws {
        guard let name = stand.record.probedLink, let link = try route.link(named: name), link.isUp, link.takesARP,
            let own = link.mac
        else { return }
        let owners = Dictionary(endpoints.compactMap { each in each.ipv4.map { ($0.address, each) } }) { $1 }
        let wanted = Set(stand.unasked(Array(owners.keys), ahead: Self.ahead, now: NetClock.now))
        if wanted.isEmpty { return }
        let socket = try ARPSocket(link: link.index)
        var claims: Set<ARPSocket.Claim> = []
        for _ in 0..<2 {
            for address in wanted { try socket.ask(for: address, from: own) }
            let end = KernelClock.monotonic + Int64(Self.wait) * 1_000_000
            while case let rest = CInt((end - KernelClock.monotonic) / 1_000_000), rest > 0, !questions.isClosed {
                claims.formUnion(try socket.claims(milliseconds: min(rest, 50)))
            }
        }
        for claim in claims where wanted.contains(claim.address) && claim.mac != own {
            let user = owner(stand.id, claim.address)
            // On a bridge whoever has the address from us answers too, and so does one that is about to vanish.
            let known = [owners[claim.address]?.mac, user?.mac, MACAddress(of: claim.address)]
            if stand.record.bridge != nil, known.contains(claim.mac) { continue }
            guard stand.setAside(claim, now: NetClock.now) else { continue }
            warn(
                "network \(stand.record.name): \(claim.address) is in use by \(claim.mac), which does not have it from this engine"
                    + (user != nil ? "; a container has it too: one of them is not reached" : "; it is not handed out"))
        }
    }
}

/// An address of a network that somebody uses who does not have it from the engine.
public struct AddressClaim: Sendable, Hashable {
    public let address: IPv4Address
    public let mac: MACAddress
    public let seen: Timestamp
}

extension NetworkRecord {
    /// The host's link on which the network's addresses are asked for; nil where there is none, or nobody else can be on it.
    var probedLink: String? {
        guard !ipv4.isEmpty else { return nil }
        switch driver {
        case .bridge(let settings): return settings.bridge
        case .macvlan(let settings):
            return settings.ownsParent && ParentDriver.vlan(settings.parent) == nil ? nil : settings.parent
        case .ipvlan(let settings):
            // Layer 3 has no neighbours.
            if settings.mode != .l2 { return nil }
            return settings.ownsParent && ParentDriver.vlan(settings.parent) == nil ? nil : settings.parent
        case .host, .null, .cni: return nil
        }
    }
}
