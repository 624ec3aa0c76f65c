import Linux
import Model

/// A name server that queries are passed on to.
public struct NameServer: Sendable, Hashable, CustomStringConvertible {
    public var address: IPAddress
    /// The link of a link-local IPv6 address.
    public var scope: UInt32 = 0
    public var port: UInt16 = 53
    /// Whose loopback it is on; nil is the host's.
    var sandbox: ObjectID?

    public init(_ address: IPAddress, scope: UInt32 = 0, port: UInt16 = 53) {
        self.address = address
        self.scope = scope
        self.port = port
    }

    /// An address, IPv6 with `%link` where it needs one, and `#port` for another port than 53.
    public init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        if halves.count == 2 {
            guard let port = UInt16(halves[1]), port > 0 else { return nil }
            self.port = port
        }
        let parts = (halves.first ?? "").split(separator: "%", maxSplits: 1)
        guard let first = parts.first, let address = IPAddress(first), !address.isUnspecified else { return nil }
        self.address = address
        if parts.count == 2 {
            guard let scope = DatagramSocket.scope(ofLink: String(parts[1])) else { return nil }
            self.scope = scope
        }
    }

    public var description: String { port == 53 ? address.description : "\(address)#\(port)" }

    /// The `nameserver` lines of a resolv.conf, each once, at most `limit` (resolv.conf(5) takes three; more do not harm).
    public static func list(_ text: String, limit: Int = 8) -> [NameServer] {
        var servers: [NameServer] = []
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.count > 1, words[0] == "nameserver", let server = NameServer(words[1]), !servers.contains(server) else {
                continue
            }
            servers.append(server)
            if servers.count == limit { break }
        }
        return servers
    }
}

/// The host's name servers, followed as the C library follows them: the file is looked at when somebody asks, at most once a
/// second. systemd-resolved's stub (127.0.0.53) is a server like any other: this process is in the host's network.
struct HostServers {
    private let path: String
    private var stamp: String?
    private var checked: Int64 = .min
    private(set) var servers: [NameServer] = []

    private static let interval: Int64 = 1_000_000_000

    init(path: String) { self.path = path }

    /// True where the servers are others now. A file that cannot be read at the moment, or names none, changes nothing but
    /// where nothing is known yet: resolv.conf(5) then says the machine itself.
    mutating func refresh(now: Int64) -> Bool {
        guard checked == .min || now - checked >= Self.interval else { return false }
        checked = now
        let status = try? Files.status(path)
        let stamp = status.map { "\($0.device) \($0.inode) \($0.modified) \($0.size)" } ?? ""
        guard stamp != self.stamp else { return false }
        self.stamp = stamp
        let text = (try? Files.read(path, limit: 64 << 10)).map { String(decoding: $0, as: UTF8.self) }
        var found = text.map { NameServer.list($0) } ?? []
        if found.isEmpty, servers.isEmpty { found = [NameServer(.v4(.loopback))] }
        guard !found.isEmpty, found != servers else { return false }
        servers = found
        return true
    }
}
