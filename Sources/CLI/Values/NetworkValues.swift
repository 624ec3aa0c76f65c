import Model

/// Addresses, hosts and links as docker checks them.
package enum NetworkValues {
    package static func isAddress(_ text: String) -> Bool { text.contains(":") ? isIPv6(text) : isIPv4(text[...]) }

    private static func isIPv4(_ text: Substring) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4
            && parts.allSatisfy { part in
                !part.isEmpty && part.count <= 3 && part.utf8.allSatisfy { (0x30...0x39).contains($0) }
                    && (Int(part) ?? 256) < 256
                    && (part.count == 1 || part.first != "0")
            }
    }

    private static func isIPv6(_ text: String) -> Bool {
        var groups = 0
        let address = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)[0]
        let halves = split(address)
        guard halves.count <= 2 else { return false }
        for half in halves where !half.isEmpty {
            let parts = half.split(separator: ":", omittingEmptySubsequences: false)
            for (index, part) in parts.enumerated() {
                if index == parts.count - 1, part.contains(".") {
                    guard isIPv4(part) else { return false }
                    groups += 2
                } else {
                    guard (1...4).contains(part.count), part.allSatisfy({ $0.isHexDigit }) else { return false }
                    groups += 1
                }
            }
        }
        return halves.count == 2 ? groups < 8 : groups == 8
    }

    private static func split(_ text: Substring) -> [Substring] {
        var index = text.startIndex
        while index < text.endIndex {
            let next = text.index(after: index)
            if text[index] == ":", next < text.endIndex, text[next] == ":" {
                let rest = text[text.index(after: next)...]
                return [text[..<index]] + split(rest)
            }
            index = next
        }
        return [text]
    }

    package static func address(_ text: String) throws -> String {
        guard isAddress(text.trimmingSpaces()) else { throw FlagFault("IP address is not correctly formatted: \(text)") }
        return text.trimmingSpaces()
    }

    /// `name:address` (or `name=address`) for /etc/hosts.
    package static func host(_ text: String) throws -> String {
        let equals = text.firstIndex(of: "=")
        guard let mark = equals ?? text.firstIndex(of: ":"), mark != text.startIndex else {
            throw FlagFault("bad format for add-host: \(GoText.quote(text))")
        }
        let name = text[..<mark]
        var value = text[text.index(after: mark)...]
        guard !value.isEmpty else { throw FlagFault("bad format for add-host: \(GoText.quote(text))") }
        if value != "host-gateway" {
            if value.hasPrefix("["), value.hasSuffix("]") { value = value.dropFirst().dropLast() }
            guard isAddress(String(value)) else {
                throw FlagFault("invalid IP address in add-host: \(GoText.quote(String(value)))")
            }
        }
        return "\(name):\(value)"
    }

    package static func link(_ text: String) throws -> String {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard !text.isEmpty else { throw FlagFault("empty string specified for links") }
        guard parts.count <= 2 else { throw FlagFault("bad format for links: \(text)") }
        return text
    }

    package static func stream(_ text: String) throws -> String {
        let lower = text.lowercased()
        guard ["stdin", "stdout", "stderr"].contains(lower) else {
            throw FlagFault("valid streams are STDIN, STDOUT and STDERR")
        }
        return lower
    }

    package static func isMACAddress(_ text: String) -> Bool {
        let parts = text.split(omittingEmptySubsequences: false) { $0 == ":" || $0 == "-" }
        return parts.count == 6 && parts.allSatisfy { $0.count == 2 && $0.allSatisfy { $0.isHexDigit } }
    }
}

/// A --network value: a name, or `name=…,alias=…,ip=…`.
package struct NetworkArgument: Sendable {
    package var name = ""
    package var aliases: [String] = []
    package var ipv4: String?
    package var ipv6: String?
    package var linkLocal: [String] = []
    package var macAddress: String?
    package var options: [String: String] = [:]
    package var priority: Int?

    package static func parse(_ text: String) throws -> NetworkArgument {
        var spec = NetworkArgument()
        guard text.contains("=") else {
            spec.name = text
            return spec
        }
        for field in try GoText.csv(text) {
            guard let (rawKey, rawValue) = GoText.cut(field, "="), !rawKey.isEmpty else {
                throw FlagFault("invalid field \(field)")
            }
            let key = rawKey.trimmingSpaces().lowercased()
            let value = rawValue.trimmingSpaces()
            switch key {
            case "name": spec.name = value
            case "alias": spec.aliases.append(value)
            case "ip": spec.ipv4 = value
            case "ip6": spec.ipv6 = value
            case "mac-address":
                guard NetworkValues.isMACAddress(value) else { throw FlagFault("\(value) is not a valid mac address") }
                spec.macAddress = value
            case "link-local-ip": spec.linkLocal.append(value)
            case "driver-opt":
                guard let (name, option) = GoText.cut(value, "=") else {
                    throw FlagFault("invalid key value pair format in driver options")
                }
                spec.options[name] = option
            case "gw-priority":
                guard let number = Int(value) else { throw FlagFault("invalid gw-priority (\(value)): invalid syntax") }
                spec.priority = number
            default: throw FlagFault("invalid field key \(key)")
            }
        }
        guard !spec.name.isEmpty else { throw FlagFault("network name/id is not specified") }
        return spec
    }
}
