import JSON

/// What a published port carries.
public enum PortProtocol: String, Sendable, Hashable, CaseIterable {
    case tcp, udp
}

/// A port that somebody wants published: `-p [HOST:][PORT[-PORT]:]CONTAINER[/udp]`, one container port at a time.
public struct PortRequest: Sendable, Hashable {
    public var containerPort: UInt16
    public var proto: PortProtocol
    /// Nil is every address of the host.
    public var hostAddress: IPAddress?
    /// The first free port of the range is taken; nil lets the kernel pick one.
    public var hostPorts: ClosedRange<UInt16>?

    public init(
        containerPort: UInt16, proto: PortProtocol = .tcp, hostAddress: IPAddress? = nil, hostPorts: ClosedRange<UInt16>? = nil
    ) {
        self.containerPort = containerPort
        self.proto = proto
        self.hostAddress = hostAddress
        self.hostPorts = hostPorts
    }

    /// As the Docker API has it: the key `80/tcp` of PortBindings and one of its `{"HostIp":"","HostPort":"8000-8010"}`.
    /// The fault is `invalid` and names the text that is wrong.
    public init(key: String, hostIP: String, hostPort: String) throws {
        let parts = key.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let port = PortRequest.number(parts[0]), port > 0 else {
            throw Fault(.invalid, "invalid port specification: \"\(key)\"", subject: key)
        }
        guard let proto = PortProtocol(rawValue: parts.count == 2 ? parts[1].lowercased() : "tcp") else {
            throw Fault(
                .invalid, "invalid port specification: \"\(key)\": protocol \(parts[1]) is not supported, use tcp or udp",
                subject: key)
        }
        self.init(containerPort: port, proto: proto)
        if !hostIP.isEmpty {
            guard let address = IPAddress(hostIP) else {
                throw Fault(.invalid, "invalid IP address: \(hostIP)", subject: hostIP)
            }
            hostAddress = address
        }
        if hostPort.isEmpty || hostPort == "0" { return }
        let ends = hostPort.split(separator: "-", omittingEmptySubsequences: false)
        guard (1...2).contains(ends.count), let first = PortRequest.number(ends[0]),
            let last = PortRequest.number(ends[ends.count - 1]), first > 0, first <= last
        else { throw Fault(.invalid, "invalid port specification: \"\(hostPort)\"", subject: hostPort) }
        hostPorts = first...last
    }

    private static func number(_ text: Substring) -> UInt16? {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt16(text) : nil
    }
}

/// A port that is published.
public struct PortBinding: Sendable, Hashable {
    /// 0.0.0.0, 127.0.0.1, one address of the host, or [::].
    public var hostAddress: IPAddress
    public var hostPort: UInt16
    public var containerPort: UInt16
    public var proto: PortProtocol

    public init(hostAddress: IPAddress, hostPort: UInt16, containerPort: UInt16, proto: PortProtocol) {
        self.hostAddress = hostAddress
        self.hostPort = hostPort
        self.containerPort = containerPort
        self.proto = proto
    }
}

extension PortProtocol: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let value = PortProtocol(rawValue: text) else { throw reader.fault("\"\(text)\" is neither tcp nor udp") }
        self = value
    }
    public func write(to writer: inout JSONWriter) { writer.string(rawValue) }
}

extension PortBinding: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var hostAddress: IPAddress?
        var hostPort: UInt16?
        var containerPort: UInt16?
        var proto = PortProtocol.tcp
        try reader.object { key, reader in
            switch key {
            case "hostAddress": hostAddress = try reader.value()
            case "hostPort": hostPort = try reader.value()
            case "containerPort": containerPort = try reader.value()
            case "protocol": proto = try reader.value()
            default: try reader.skip()
            }
        }
        guard let hostAddress, let hostPort, let containerPort else {
            throw reader.fault("hostAddress, hostPort or containerPort is missing")
        }
        self.init(hostAddress: hostAddress, hostPort: hostPort, containerPort: containerPort, proto: proto)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("hostAddress", hostAddress)
            writer.member("hostPort", hostPort)
            writer.member("containerPort", containerPort)
            writer.member("protocol", proto)
        }
    }
}
