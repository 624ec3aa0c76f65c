import Model

/// A device cgroup as a value: what a list of rules comes to, by the rules of the v1 devices controller (devices.rst).
///
/// Everything starts denied. A rule of type `a` forgets what came before it. The exceptions are allowed devices while
/// everything else is denied, and the other way about.
package struct DeviceRules: Equatable, Sendable {
    package enum Kind: UInt8, Sendable {
        case block = 1
        case character = 2
        var letter: String { self == .block ? "b" : "c" }
    }

    package struct Access: OptionSet, Hashable, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        // numbered as BPF_DEVCG_ACC_…
        package static let makeNode = Access(rawValue: 1)
        package static let read = Access(rawValue: 2)
        package static let write = Access(rawValue: 4)
        package static let all: Access = [.makeNode, .read, .write]

        var letters: String {
            (contains(.read) ? "r" : "") + (contains(.write) ? "w" : "") + (contains(.makeNode) ? "m" : "")
        }
    }

    /// A device, or all with nil.
    package struct Exception: Equatable, Sendable {
        package var kind: Kind
        package var major: UInt32?
        package var minor: UInt32?
        package var access: Access

        /// As devices.allow and devices.deny take it.
        package var text: String {
            "\(kind.letter) \(major.map { String($0) } ?? "*"):\(minor.map { String($0) } ?? "*") \(access.letters)"
        }

        func isSame(_ other: Exception) -> Bool { kind == other.kind && major == other.major && minor == other.minor }
    }

    package private(set) var allowsByDefault = false
    package private(set) var exceptions: [Exception] = []

    package init() {}

    package init(allowsByDefault: Bool, exceptions: [Exception]) {
        self.allowsByDefault = allowsByDefault
        self.exceptions = exceptions
    }

    /// The configuration's rules, then those devices that every container has.
    package init(_ rules: [OCI.DeviceRule]) throws {
        for (index, rule) in rules.enumerated() { try add(rule, "linux.resources.devices[\(index)]") }
        for exception in Self.always { try add(exception, allow: true, "linux.resources.devices") }
    }

    /// What every container may use, as in runc: any node may be made; null, zero, full, random, urandom, tty, ptmx and the
    /// terminals of devpts be used.
    private static let always: [Exception] = {
        func character(_ major: UInt32, _ minor: UInt32?) -> Exception {
            Exception(kind: .character, major: major, minor: minor, access: .all)
        }
        return [
            Exception(kind: .character, access: .makeNode), Exception(kind: .block, access: .makeNode),
            character(1, 3), character(1, 8), character(1, 7), character(5, 0), character(1, 5), character(1, 9),
            character(136, nil), character(5, 2),
        ]
    }()

    private mutating func add(_ rule: OCI.DeviceRule, _ field: String) throws {
        let access = try Self.access(rule.access, field)
        let major = try Self.number(rule.major, "\(field).major")
        let minor = try Self.number(rule.minor, "\(field).minor")
        switch rule.type ?? "a" {
        case "a", "":
            // only a rule for everything is one: a narrower `a` stands for block and character devices
            if major == nil && minor == nil && access == .all {
                allowsByDefault = rule.allow
                exceptions = []
            } else {
                for kind in [Kind.block, .character] {
                    try add(Exception(kind: kind, major: major, minor: minor, access: access), allow: rule.allow, field)
                }
            }
        case "c", "u":
            try add(Exception(kind: .character, major: major, minor: minor, access: access), allow: rule.allow, field)
        case "b": try add(Exception(kind: .block, major: major, minor: minor, access: access), allow: rule.allow, field)
        case let other: throw Fault(.invalid, "\(field).type: \(other) is not a, b or c", subject: field)
        }
    }

    private mutating func add(_ exception: Exception, allow: Bool, _ field: String) throws {
        if allow != allowsByDefault {
            if let known = exceptions.firstIndex(where: { $0.isSame(exception) }) {
                exceptions[known].access.formUnion(exception.access)
            } else {
                exceptions.append(exception)
            }
            return
        }
        // taking something out of a wider exception is not possible
        for known in exceptions where known.isWider(than: exception) && !known.access.isDisjoint(with: exception.access) {
            throw Fault(
                .unsupported,
                "\(field): \(allow ? "allow" : "deny") of \(exception.text) cannot be kept within the wider rule \(known.text)",
                subject: field)
        }
        for index in exceptions.indices where exception.covers(exceptions[index]) {
            exceptions[index].access.subtract(exception.access)
        }
        exceptions.removeAll { $0.access.isEmpty }
    }

    private static func access(_ text: String?, _ field: String) throws -> Access {
        guard let text, !text.isEmpty else { return .all }
        var access: Access = []
        for letter in text {
            switch letter {
            case "r": access.insert(.read)
            case "w": access.insert(.write)
            case "m": access.insert(.makeNode)
            default: throw Fault(.invalid, "\(field).access: \(text) has other letters than r, w and m", subject: field)
            }
        }
        return access
    }

    private static func number(_ value: Int64?, _ field: String) throws -> UInt32? {
        guard let value, value != -1 else { return nil }
        guard let number = UInt32(exactly: value) else {
            throw Fault(.invalid, "\(field): \(value) is not a device number", subject: field)
        }
        return number
    }
}

extension DeviceRules.Exception {
    package init(kind: DeviceRules.Kind, access: DeviceRules.Access) {
        self.init(kind: kind, major: nil, minor: nil, access: access)
    }

    /// Every device of the other is one of this.
    func covers(_ other: DeviceRules.Exception) -> Bool {
        kind == other.kind && (major == nil || major == other.major) && (minor == nil || minor == other.minor)
    }

    func isWider(than other: DeviceRules.Exception) -> Bool { covers(other) && !isSame(other) }
}

// MARK: v1

extension DeviceRules {
    /// One write to devices.allow or devices.deny.
    package struct Change: Equatable, Sendable {
        package var allow: Bool
        package var text: String

        package init(allow: Bool, text: String) {
            self.allow = allow
            self.text = text
        }
    }

    /// The writes that make a cgroup with the rules `present` (nil: unknown, or new) have these.
    package func changes(from present: DeviceRules?) -> [Change] {
        guard let present, present.allowsByDefault == allowsByDefault else {
            return [Change(allow: allowsByDefault, text: "a")]
                + exceptions.map { Change(allow: !allowsByDefault, text: $0.text) }
        }
        var changes: [Change] = []
        for exception in exceptions {
            var new = exception
            if let old = present.exceptions.first(where: { $0.isSame(exception) }) { new.access.subtract(old.access) }
            if !new.access.isEmpty { changes.append(Change(allow: !allowsByDefault, text: new.text)) }
        }
        for exception in present.exceptions {
            var gone = exception
            if let kept = exceptions.first(where: { $0.isSame(exception) }) { gone.access.subtract(kept.access) }
            if !gone.access.isEmpty { changes.append(Change(allow: allowsByDefault, text: gone.text)) }
        }
        return changes
    }

    /// What devices.list says of a v1 cgroup; nil when it cannot be told (a list of exceptions to "all" is not shown).
    package init?(list: String) {
        for line in list.split(separator: "\n") {
            let parts = line.split { $0 == " " || $0 == ":" }
            guard parts.count == 4 else { return nil }
            if parts[0] == "a" { return nil }
            var access: Access = []
            if parts[3].contains("r") { access.insert(.read) }
            if parts[3].contains("w") { access.insert(.write) }
            if parts[3].contains("m") { access.insert(.makeNode) }
            let kind: Kind = parts[0] == "b" ? .block : .character
            exceptions.append(Exception(kind: kind, major: UInt32(parts[1]), minor: UInt32(parts[2]), access: access))
        }
    }
}
