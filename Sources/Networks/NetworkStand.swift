import Linux
import Model
import Synchronization

/// A network that stands, with its addresses. One for each network that sandboxes can be attached to.
final class NetworkStand: Sendable {
    let standing: StandingNetwork
    let driver: any NetworkDriver
    private let content: Mutex<Content>

    private struct Content {
        var addresses: NetworkAddresses
        /// Endpoints that exist or are being made; those that are prepared ahead do not count.
        var users = 0
        var isClosed = false
        /// When it was last asked who has an address (`AddressWatch`), and who turned out to have one.
        var asked: [IPv4Address: Timestamp] = [:]
        var claims: [IPv4Address: AddressClaim] = [:]
    }

    /// What was heard counts for so long.
    private static let memory: Int64 = 600_000_000_000

    init(_ standing: StandingNetwork, _ driver: any NetworkDriver) {
        self.standing = standing
        self.driver = driver
        content = Mutex(Content(addresses: NetworkAddresses(standing.record)))
    }

    var record: NetworkRecord { standing.record }
    var id: ObjectID { standing.record.id }

    /// One more endpoint is being made: until `leave`, the network cannot be removed.
    func enter() throws {
        try content.withLock { content in
            if content.isClosed { throw Fault(.notFound, "network \(record.name) not found", subject: record.name) }
            content.users += 1
        }
    }

    func leave() { content.withLock { $0.users -= 1 } }

    /// False while there are endpoints; afterwards nobody enters any more.
    func close() -> Bool {
        content.withLock { content in
            if content.users > 0 { return false }
            content.isClosed = true
            return true
        }
    }

    /// The removal has failed.
    func reopen() { content.withLock { $0.isClosed = false } }

    /// A new endpoint with addresses, and names of its links.
    func endpoint(_ request: AttachmentRequest? = nil) throws -> EndpointRecord {
        let taken = try content.withLock { content in
            var taken = try content.addresses.take(request?.ipv4, request?.ipv6)
            if request?.withoutIPv6 == true, taken.ipv4 != nil {
                content.addresses.free(NetworkAddresses.Taken(ipv6: taken.ipv6))
                taken.ipv6 = nil
            }
            return taken
        }
        var endpoint = EndpointRecord(id: .random(), network: id, networkName: record.name)
        endpoint.ipv4 = taken.ipv4
        endpoint.ipv6 = taken.ipv6
        endpoint.mac = request?.mac
        if let request { endpoint.adopt(request) }
        return driver.named(endpoint, on: standing)
    }

    func free(_ endpoint: EndpointRecord) {
        content.withLock { $0.addresses.free(NetworkAddresses.Taken(ipv4: endpoint.ipv4, ipv6: endpoint.ipv6)) }
    }

    /// An endpoint that lives.
    func restore(_ endpoint: EndpointRecord) {
        content.withLock { content in
            content.addresses.restore(endpoint)
            content.users += 1
        }
    }

    /// Of these addresses, and of those that come next, the ones about which nothing has been heard lately. They count as asked.
    func unasked(_ addresses: [IPv4Address], ahead: Int, now: Timestamp) -> [IPv4Address] {
        content.withLock { content in
            let limit = now.nanoseconds - Self.memory
            for claim in content.claims.values where claim.seen.nanoseconds < limit {
                content.claims[claim.address] = nil
                content.addresses.admit(claim.address)
            }
            content.asked = content.asked.filter { $0.value.nanoseconds > limit }
            let wanted = (addresses + content.addresses.upcoming(ahead)).filter { content.asked[$0] == nil }
            for address in wanted { content.asked[address] = now }
            return wanted
        }
    }

    /// The address is handed out to nobody for a while, unless somebody asks for it. False where that was known.
    func setAside(_ claim: ARPSocket.Claim, now: Timestamp) -> Bool {
        content.withLock { content in
            content.addresses.avoid(claim.address)
            let old = content.claims.updateValue(
                AddressClaim(address: claim.address, mac: claim.mac, seen: now), forKey: claim.address)
            return old?.mac != claim.mac
        }
    }

    func isClaimed(_ address: IPv4Address) -> Bool { content.withLock { $0.claims[address] != nil } }

    var claims: [AddressClaim] { content.withLock { Array($0.claims.values) } }

    var usedAddresses: (ipv4: Int, ipv6: Int) { content.withLock { $0.addresses.usedCount } }
}

extension EndpointRecord {
    /// What the user says about it that is no address.
    mutating func adopt(_ request: AttachmentRequest) {
        aliases = request.aliases
        dnsNames = request.dnsNames
        gatewayPriority = request.gatewayPriority
        sysctls = request.sysctls
        if let interface = request.interface { self.interface = interface }
    }
}
