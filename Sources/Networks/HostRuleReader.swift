import Linux
import Model

/// Reads rules: follows which register holds what, and names what cannot be judged where published ports are judged, before
/// their redirection, when the packet's way has not been chosen yet.
struct HostRuleReader {
    let table: HostRules.Table
    let family: UInt8
    /// What rules of the input hook write themselves: it is not written where we judge.
    let written: Set<PacketField>
    private(set) var rule: HostRule
    private var registers: [Int: LoadedField] = [:]
    private var doubtful: Set<Int> = []

    private init(_ table: HostRules.Table, _ family: UInt8, _ written: Set<PacketField>, _ source: TablesRule) {
        self.table = table
        self.family = family
        self.written = written
        rule = HostRule(chain: source.chain, handle: source.handle, comment: source.comment)
    }

    /// One rule is read as several where it asks for one of several things that no single expression of ours asks for.
    static func read(_ source: TablesRule, in table: HostRules.Table, family: UInt8, written: Set<PacketField>) -> [HostRule] {
        var readers = [HostRuleReader(table, family, written, source)]
        for expression in source.expressions {
            guard let attributes = try? NetlinkAttributes(expression.content[...]) else {
                for index in readers.indices { readers[index].doubt("an expression \(expression.name) that is malformed") }
                continue
            }
            if expression.name == "match" || expression.name == "target" {
                readers = readers.flatMap { $0.adding(expression, attributes) }
                continue
            }
            for index in readers.indices { readers[index].add(expression, attributes) }
        }
        return readers.map(\.rule)
    }

    private func adding(_ expression: TablesExpression, _ attributes: NetlinkAttributes) -> [HostRuleReader] {
        let kind = expression.name
        let found = XTablesExtension(
            name: attributes.text(1) ?? "", revision: attributes.big(2) ?? 0, data: Array(attributes.content(3) ?? []),
            isIPv6: family == 10)
        let alternatives = kind == "match" ? found.match() : [found.target()]
        return alternatives.map { steps in
            var copy = self
            for step in steps {
                if case .kept(let words) = step, family != 1 {
                    if found.name == "set" { copy.rule.loopbackDoubts.append("an ipset") }
                    copy.rule.expressions.append(expression)
                    copy.rule.conditions.append(RuleCondition(fields: [], test: .kernel(words)))
                } else {
                    copy.add(step)
                }
            }
            return copy
        }
    }

    private mutating func add(_ step: XTablesExtension.Step) {
        switch step {
        case .expression(let expression):
            guard let attributes = try? NetlinkAttributes(expression.content[...]) else { return }
            add(expression, attributes)
        case .kept(let words): doubt(words)
        case .doubt(let text): doubt(text)
        case .outcome(let outcome): rule.outcome = outcome
        }
    }

    private mutating func doubt(_ text: String) { if !rule.doubts.contains(text) { rule.doubts.append(text) } }

    private mutating func add(_ expression: TablesExpression, _ attributes: NetlinkAttributes) {
        switch expression.name {
        case "meta", "payload", "ct", "fib", "exthdr", "numgen", "hash", "osf", "xfrm": load(expression, attributes)
        case "bitwise", "byteorder": transform(expression, attributes)
        case "cmp", "range", "lookup": test(expression, attributes)
        case "immediate": immediate(expression, attributes)
        case "limit":
            rule.expressions.append(expression)
            rule.conditions.append(RuleCondition(fields: [], test: .limit(Self.limit(attributes))))
        case "log":
            rule.expressions.append(expression)
            rule.logs = true
        case "reject": rule.outcome = .reject(expression)
        case "queue": rule.outcome = .verdict(.queue)
        case "counter", "last", "dup", "notrack": break
        case "objref": object(attributes)
        case "dynset":
            // With an expression of its own (a meter) the rule goes on for some packets only.
            if attributes.content(7) != nil || attributes.content(10) != nil { doubt("a set that packets change") }
        case "tproxy", "synproxy", "fwd":
            doubt("\(expression.name), which works in the host's own chain only")
            rule.outcome = .verdict(.drop)
        default:
            doubt("an expression \(expression.name)")
            if let register = attributes.big(1, as: UInt32.self) { forget(Self.slot(register), 16, isDoubtful: true) }
        }
    }

    /// Registers 1 to 4 are 16 bytes each; 8 to 23 are the same bytes in fours.
    private static func slot(_ register: UInt32) -> Int { register >= 8 ? Int(register) - 8 : (Int(register) - 1) * 4 }

    private mutating func forget(_ slot: Int, _ length: Int, isDoubtful: Bool) {
        for index in slot..<(slot + max(1, (length + 3) / 4)) {
            registers[index] = nil
            if isDoubtful { doubtful.insert(index) } else { doubtful.remove(index) }
        }
    }

    private mutating func put(_ value: LoadedField, into register: UInt32) {
        forget(Self.slot(register), value.length, isDoubtful: false)
        registers[Self.slot(register)] = value
    }
}

/// Loads.
extension HostRuleReader {
    private mutating func load(_ expression: TablesExpression, _ attributes: NetlinkAttributes) {
        // A source register means that the rule writes: to the packet or to what the kernel knows of it.
        let source: UInt16 = ["meta": 3, "payload": 5, "ct": 4, "exthdr": 7][expression.name] ?? 0xFFFF
        if attributes.content(source) != nil { return }
        guard let register = attributes.big(expression.name == "hash" ? 2 : 1, as: UInt32.self) else { return }
        let (field, length, objection) = field(expression.name, attributes)
        if let objection {
            doubt(objection)
            forget(Self.slot(register), length, isDoubtful: true)
            return
        }
        rule.expressions.append(expression)
        if let only = Self.loopbackObjection(field) { rule.loopbackDoubts.append(only) }
        put(LoadedField(field: field, length: length), into: register)
    }

    private func field(_ name: String, _ attributes: NetlinkAttributes) -> (PacketField, Int, String?) {
        func number(_ type: UInt16) -> UInt32 { attributes.big(type) ?? 0 }
        switch name {
        case "meta":
            let field = PacketField.meta(number(2))
            return (field, Self.metaLength(number(2)), Self.metaObjection(number(2)) ?? overwritten(field))
        case "ct":
            let field = PacketField.connection(number(2))
            let isReply = attributes.content(3)?.first == 1
            return (field, Self.connectionLength(number(2)), isReply ? "ct reply" : overwritten(field))
        case "payload":
            let isKnown = number(2) <= 2
            return (
                .payload(base: number(2), offset: Int(number(3))), Int(number(4)), isKnown ? nil : "a header within the packet"
            )
        case "fib":
            let field = PacketField.route(result: number(2), flags: number(3))
            return (field, number(2) == 2 ? 16 : 4, number(3) & 16 != 0 ? "fib with oif" : nil)
        case "exthdr": return (.other("extension header \(attributes.content(2)?.first ?? 0)"), Int(number(4)), nil)
        default: return (.other(name), 4, nil)
        }
    }

    private func overwritten(_ field: PacketField) -> String? {
        written.contains(field) ? "a mark that another rule of the input hook sets" : nil
    }

    private static func metaLength(_ key: UInt32) -> Int {
        switch key {
        case 6, 7, 26, 27: 16
        case 1, 8, 9: 2
        case 15, 16, 19, 25, 31: 1
        case 30: 8
        default: 4
        }
    }

    /// What the kernel does not know yet before it has routed the packet, or found its socket.
    private static func metaObjection(_ key: UInt32) -> String? {
        switch key {
        case 10, 11: "the user of a socket (meta skuid, skgid)"
        case 13: "meta rtclassid"
        case 17, 18, 28, 29, 35: "a bridge's port"
        case 23: "meta cgroup"
        case 33, 34: "meta sdif"
        case 36...: "meta key \(key)"
        default: nil
        }
    }

    private static func connectionLength(_ key: UInt32) -> Int {
        switch key {
        case 1, 7, 10: 1
        case 6, 8, 9, 13, 21, 22: 16
        case 11, 12, 17: 2
        case 14, 15, 16: 8
        default: 4
        }
    }

    private static func loopbackObjection(_ field: PacketField) -> String? {
        switch field {
        case .payload(base: 0, offset: _): "a link's header"
        case .route(result: _, let flags) where flags & 8 != 0: "fib with iif"
        case .meta(21), .meta(26): "the group or kind of the interface"
        default: nil
        }
    }
}

/// Tests and verdicts.
extension HostRuleReader {
    private mutating func transform(_ expression: TablesExpression, _ attributes: NetlinkAttributes) {
        guard let source = attributes.big(1, as: UInt32.self), let destination = attributes.big(2, as: UInt32.self) else {
            return
        }
        let length = Int(attributes.big(expression.name == "bitwise" ? 3 : 4, as: UInt32.self) ?? 4)
        guard !doubtful.contains(Self.slot(source)), let value = registers[Self.slot(source)] else {
            if doubtful.contains(Self.slot(source)) { forget(Self.slot(destination), length, isDoubtful: true) }
            return
        }
        rule.expressions.append(expression)
        let isMask = expression.name == "bitwise" && attributes.big(6, as: UInt32.self) ?? 0 == 0
        if isMask, let mask = try? attributes.nested(4)?.content(1), let xor = try? attributes.nested(5)?.content(1),
            mask.count == value.length, xor.count == value.length
        {
            var masked = value
            masked.masks.append(LoadedField.Mask(mask: Array(mask), xor: Array(xor)))
            put(masked, into: destination)
        } else {
            put(LoadedField(field: .other("a computed value"), length: length), into: destination)
        }
    }

    private mutating func test(_ expression: TablesExpression, _ attributes: NetlinkAttributes) {
        let register: UInt32 = attributes.big(expression.name == "lookup" ? 2 : 1) ?? 1
        let slot = Self.slot(register)
        if expression.name == "lookup" {
            lookup(expression, attributes, register)
            return
        }
        if doubtful.contains(slot) { return }
        let value = registers[slot] ?? LoadedField(field: .other("a register"), length: 4)
        let operation: UInt32 = attributes.big(2) ?? 0
        let first = (try? attributes.nested(3)?.content(1)).map { Array($0) } ?? []
        rule.expressions.append(expression)
        if expression.name == "cmp" {
            rule.conditions.append(RuleCondition(fields: [value], test: .compare(operation, first)))
        } else {
            let last = (try? attributes.nested(4)?.content(1)).map { Array($0) } ?? []
            rule.conditions.append(RuleCondition(fields: [value], test: .range(isInside: operation == 0, first, last)))
        }
    }

    private mutating func lookup(_ expression: TablesExpression, _ attributes: NetlinkAttributes, _ register: UInt32) {
        guard let name = attributes.text(1), let set = table.sets[name] else {
            doubt("a set that is gone")
            return
        }
        let destination = attributes.big(3, as: UInt32.self)
        if table.members[name] == nil {
            let why = set.isDynamic ? "that packets change" : set.hasObjects ? "of objects" : "that is very large"
            doubt("set \(name), \(why)")
            if let destination, destination != 0 { forget(Self.slot(destination), 16, isDoubtful: true) }
            if destination == 0 { rule.outcome = .map(name, register, []) }
            return
        }
        var fields: [LoadedField] = []
        let slot = Self.slot(register)
        var at = slot
        while at < slot + (set.keyLength + 3) / 4 {
            if doubtful.contains(at) {
                if destination == 0 { rule.outcome = .map(name, register, []) }
                return
            }
            let field = registers[at] ?? LoadedField(field: .other("a register"), length: 4)
            fields.append(field)
            at += max(1, (field.length + 3) / 4)
        }
        if destination == 0 {
            rule.outcome = .map(name, register, fields)
            // What loads the key is there already; the lookup itself is made where the map's copy has its name.
            return
        }
        rule.expressions.append(expression)
        if let destination {
            // The rule goes on where the map has the key.
            rule.conditions.append(RuleCondition(fields: fields, test: .lookup(name, isInverted: false)))
            put(LoadedField(field: .other("a map's value"), length: 4), into: destination)
        } else {
            let isInverted = attributes.big(5, as: UInt32.self) ?? 0 & 1 == 1
            rule.conditions.append(RuleCondition(fields: fields, test: .lookup(name, isInverted: isInverted)))
        }
    }

    private mutating func immediate(_ expression: TablesExpression, _ attributes: NetlinkAttributes) {
        guard let register = attributes.big(1, as: UInt32.self) else { return }
        if register == 0 {
            if let verdict = expression.verdict { rule.outcome = .verdict(verdict) } else { doubt("an unknown verdict") }
            return
        }
        let bytes = (try? attributes.nested(2)?.content(1)).map { Array($0) } ?? []
        rule.expressions.append(expression)
        put(LoadedField(field: .constant(bytes), length: bytes.count), into: register)
    }

    private mutating func object(_ attributes: NetlinkAttributes) {
        // enum NFT_OBJECT_*: counter 1, ct helper 3, ct timeout 7, secmark 8, ct expect 9 let every packet pass.
        let kind = attributes.big(1, as: UInt32.self)
        if let kind, [1, 3, 7, 8, 9].contains(kind) { return }
        doubt(kind == 2 ? "a quota" : kind == 4 ? "a limit that has a name" : "an object that has a name")
    }

    private static func limit(_ attributes: NetlinkAttributes) -> String {
        let units: [UInt64: String] = [1: "second", 60: "minute", 3600: "hour", 86400: "day", 604_800: "week"]
        let unit = attributes.big(2, as: UInt64.self) ?? 1
        let isOver = attributes.big(5, as: UInt32.self) ?? 0 & 1 == 1
        let isBytes = attributes.big(4, as: UInt32.self) == 1
        return (isOver ? "over " : "up to ") + "\(attributes.big(1, as: UInt64.self) ?? 0) \(isBytes ? "bytes" : "packets")/"
            + (units[unit] ?? "\(unit) seconds")
    }

    /// The marks that rules of the input hook write.
    static func written(by tables: some Sequence<HostRules.Table>) -> Set<PacketField> {
        var written: Set<PacketField> = []
        for rule in tables.flatMap({ $0.rules.values.joined() }) {
            for expression in rule.expressions {
                guard let attributes = try? NetlinkAttributes(expression.content[...]) else { continue }
                switch expression.name {
                case "meta" where attributes.content(3) != nil: written.insert(.meta(attributes.big(2) ?? 0))
                case "ct" where attributes.content(4) != nil: written.insert(.connection(attributes.big(2) ?? 0))
                case "target" where attributes.text(1) == "MARK": written.insert(.meta(3))
                case "target" where attributes.text(1) == "CONNMARK": written.formUnion([.meta(3), .connection(3)])
                default: break
                }
            }
        }
        return written
    }
}
