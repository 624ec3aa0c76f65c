import Model

/// Published ports as docker's -p takes them: `[ip:][host:]container[/protocol]`, ranges too (go-connections' nat package).
package struct PortSpec: Sendable, Equatable {
    /// `80/tcp`
    package var container: String
    package var hostAddress: String
    /// Empty: any; `8000-8010`: one of these.
    package var hostPort: String

    package static func parse(_ text: String) throws -> [PortSpec] {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let count = parts.count
        var address = count >= 3 ? parts[..<(count - 2)].joined(separator: ":") : ""
        let host = count >= 2 ? parts[count - 2] : ""
        let (port, proto) = try protocolOf(parts[count - 1])
        if address.hasPrefix("[") {
            guard address.hasSuffix("]") else { throw FlagFault("invalid IP address: \(address)") }
            address = String(address.dropFirst().dropLast())
        }
        guard address.isEmpty || NetworkValues.isAddress(address) else { throw FlagFault("invalid IP address: \(address)") }
        guard !port.isEmpty else { throw FlagFault("no port specified: \(text)<empty>") }
        guard let inside = range(port) else { throw FlagFault("invalid containerPort: \(port)") }
        guard !host.isEmpty else {
            return inside.map { PortSpec(container: "\($0)/\(proto)", hostAddress: address, hostPort: "") }
        }
        guard let outside = range(host) else { throw FlagFault("invalid hostPort: \(host)") }
        guard inside.count == outside.count || inside.count == 1 else {
            throw FlagFault("invalid ranges specified for container and host Ports: \(port) and \(host)")
        }
        return inside.enumerated().map { index, number in
            var hostPort = String(outside.lowerBound + index)
            if inside.count == 1, outside.count > 1 { hostPort += "-\(outside.upperBound)" }
            return PortSpec(container: "\(number)/\(proto)", hostAddress: address, hostPort: hostPort)
        }
    }

    /// Ports of --expose.
    package static func exposed(_ text: String) throws -> [String] {
        guard !text.contains(":") else { throw FlagFault("invalid port format for --expose: \(text)") }
        let (port, proto) = try protocolOf(text)
        guard let ports = range(port) else { throw FlagFault("invalid range format for --expose: \(text)") }
        return ports.map { "\($0)/\(proto)" }
    }

    /// The long form, `published=8080,target=80,protocol=tcp`, as a short one.
    package static func standard(_ text: String) throws -> String {
        guard text.contains("=") else { return text }
        var published = ""
        var target = ""
        var proto = "tcp"
        for field in try GoText.csv(text) {
            guard let (key, value) = GoText.cut(field, "=") else { throw FlagFault("invalid field: \(field)") }
            switch key.lowercased() {
            case "published": published = value
            case "target": target = value
            case "protocol": proto = value
            case "mode": break
            default: throw FlagFault("invalid field key: \(key)")
            }
        }
        return (published.isEmpty ? "" : published + ":") + target + "/" + proto
    }

    private static func protocolOf(_ text: String) throws -> (String, String) {
        guard let (port, proto) = GoText.cut(text, "/"), !proto.isEmpty else {
            return (text.hasSuffix("/") ? String(text.dropLast()) : text, "tcp")
        }
        let lower = proto.lowercased()
        guard ["tcp", "udp", "sctp"].contains(lower) else { throw FlagFault("invalid proto: \(lower)") }
        return (port, lower)
    }

    private static func range(_ text: String) -> ClosedRange<Int>? {
        let ends = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard ends.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }), let low = Int(ends[0]),
            let high = Int(ends[ends.count - 1]),
            low <= high, high <= 65_535
        else { return nil }
        return low...high
    }
}
