import JSON

/// What a published port carries.
public enum PortProtocol: String, Sendable, Hashable, CaseIterable {
    case tcp, udp, sctp

    /// IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP
    public var number: UInt8 {
        switch self {
        case .tcp: 6
        case .udp: 17
        case .sctp: 132
        }
    }

    public init?(number: UInt8) {
        guard let found = PortProtocol.allCases.first(where: { $0.number == number }) else { return nil }
        self = found
    }
}

/// Who reaches a published port.
public enum PortExposure: String, Sendable, Hashable, CaseIterable, JSONReadable, JSONWritable {
    /// Whom the host's own input policy would let reach a process of the host that listens there.
    case hostPolicy = "host-policy"
    /// Everybody, past the host's policy: docker's behaviour.
    case open
}

/// A port that somebody wants published: `-p [HOST:][PORT[-PORT]:]CONTAINER[/udp]`, one container port at a time.
public struct PortRequest: Sendable, Hashable {
    public var containerPort: UInt16
    public var proto: PortProtocol
    /// Nil is every address of the host.
    public var hostAddress: IPAddress?
    /// The first free port of the range is taken; nil lets the kernel pick one.
    public var hostPorts: ClosedRange<UInt16>?
    public var exposure: PortExposure

    public init(
        containerPort: UInt16, proto: PortProtocol = .tcp, hostAddress: IPAddress? = nil, hostPorts: ClosedRange<UInt16>? = nil,
        exposure: PortExposure = .hostPolicy
    ) {
        self.containerPort = containerPort
        self.proto = proto
        self.hostAddress = hostAddress
        self.hostPorts = hostPorts
        self.exposure = exposure
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
                .invalid, "invalid port specification: \"\(key)\": protocol \(parts[1]) is not supported, use tcp, udp or sctp",
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
    public var exposure: PortExposure

    public init(
        hostAddress: IPAddress, hostPort: UInt16, containerPort: UInt16, proto: PortProtocol,
        exposure: PortExposure = .hostPolicy
    ) {
        self.hostAddress = hostAddress
        self.hostPort = hostPort
        self.containerPort = containerPort
        self.proto = proto
        self.exposure = exposure
    }
}

extension PortProtocol: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        let text = try reader.string()
        guard let value = PortProtocol(rawValue: text) else { throw reader.fault("\"\(text)\" is none of tcp, udp, sctp") }
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
        var exposure = PortExposure.hostPolicy
        try reader.object { key, reader in
            switch key {
            case "hostAddress": hostAddress = try reader.value()
            case "hostPort": hostPort = try reader.value()
            case "containerPort": containerPort = try reader.value()
            case "protocol": proto = try reader.value()
            case "exposure": exposure = try reader.value()
            default: try reader.skip()
            }
        }
        guard let hostAddress, let hostPort, let containerPort else {
            throw reader.fault("hostAddress, hostPort or containerPort is missing")
        }
        self.init(hostAddress: hostAddress, hostPort: hostPort, containerPort: containerPort, proto: proto, exposure: exposure)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("hostAddress", hostAddress)
            writer.member("hostPort", hostPort)
            writer.member("containerPort", containerPort)
            writer.member("protocol", proto)
            writer.member("exposure", exposure)
        }
    }
}
