import Model

/// What somebody wants a new network to be: docker's create request in our words. What is nil or empty is chosen by the engine.
public struct NetworkSpec: Sendable {
    public var name: String
    /// `bridge`, `macvlan`, `ipvlan`, `cni`; empty is `bridge`.
    public var driver: String
    /// Subnets of either family; a range without a gateway gets the first address (none for ipvlan L3 and isolated bridges).
    public var ranges: [AddressRange] = []
    public var enablesIPv4 = true
    /// Nil follows the engine's configuration: on where the kernel has IPv6.
    public var enablesIPv6: Bool?
    public var isInternal = false
    public var isAttachable = false
    public var options: [String: String] = [:]
    public var ipamOptions: [String: String] = [:]
    public var labels: [String: String] = [:]
    /// The configuration network that the settings were copied from.
    public var configurationSource: String?

    public init(name: String, driver: String = "bridge") {
        self.name = name
        self.driver = driver
    }
}

/// What somebody wants of one network for one sandbox.
public struct AttachmentRequest: Sendable {
    public var network: ObjectID
    /// Wishes for addresses of the network's subnets; nil takes the next free ones.
    public var ipv4: IPv4Address?
    public var ipv6: IPv6Address?
    public var mac: MACAddress?
    /// The sandbox will have IPv6 switched off: IPv4 alone, where the network has it.
    public var withoutIPv6 = false
    /// As the user gave them, and all the names by which neighbours find the sandbox; kept in the endpoint's record.
    public var aliases: [String] = []
    public var dnsNames: [String] = []
    public var gatewayPriority = 0
    /// `net.ipv4.conf.IFNAME.log_martians=1`: written when the interface is there, IFNAME being its name.
    public var sysctls: [String] = []
    /// The interface's name in the sandbox; nil is the next free `eth`N.
    public var interface: String?

    public init(network: ObjectID) { self.network = network }
}

/// What somebody wants to put a container into.
public struct SandboxRequest: Sendable {
    public var id: ObjectID
    /// The container's name without slash, for messages.
    public var name: String
    /// One for each network; none leaves loopback alone (`--network none`).
    public var attachments: [AttachmentRequest]
    public var ports: [PortRequest]

    public init(id: ObjectID, name: String, attachments: [AttachmentRequest] = [], ports: [PortRequest] = []) {
        self.id = id
        self.name = name
        self.attachments = attachments
        self.ports = ports
    }
}
