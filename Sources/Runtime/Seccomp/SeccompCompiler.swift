import Linux
import Model

/// From a profile to a binary search tree over system call numbers for each architecture.
struct SeccompCompiler {
    private let defaultValue: UInt32
    private let native: SyscallArchitecture
    private var sections: [SeccompSection]
    private(set) var unknownNames: [String] = []
    private(set) var flags: UInt32

    init(_ profile: OCI.Seccomp, native: SyscallArchitecture) throws {
        self.native = native
        defaultValue = try SeccompReturn.value(profile.defaultAction, profile.defaultErrnoRet, "linux.seccomp.defaultErrnoRet")
        if profile.defaultAction == .notify {
            let field = "linux.seccomp.defaultAction"
            throw Fault(.invalid, "\(field): SCMP_ACT_NOTIFY cannot be the default: nobody could answer", subject: field)
        }
        if profile.listenerMetadata != nil && (profile.listenerPath ?? "").isEmpty {
            let field = "linux.seccomp.listenerMetadata"
            throw Fault(.invalid, "\(field): needs listenerPath", subject: field)
        }
        var wanted = Set(profile.architectures.compactMap { SyscallArchitecture($0) })
        wanted.insert(native)
        sections = native.reachable.filter { wanted.contains($0) }.map { SeccompSection($0) }
        flags = Self.flags(profile)
        if profile.syscalls.contains(where: { $0.action == .notify }) {
            guard !(profile.listenerPath ?? "").isEmpty else {
                throw Fault(
                    .invalid, "linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs a socket that takes the listener",
                    subject: "linux.seccomp.listenerPath")
            }
            flags |= SeccompFilter.newListener
            // else a failure to synchronize could not be told from a listener
            if flags & SeccompFilter.synchronizeThreads != 0 { flags |= SeccompFilter.synchronizeOrNoSuchProcess }
        }
    }

    /// SPEC_ALLOW when the profile names none, as in runc: the mitigation costs much and is off by default since Linux 5.16.
    private static func flags(_ profile: OCI.Seccomp) -> UInt32 {
        if profile.flags.isEmpty { return SeccompFilter.speculationAllowed }
        var flags: UInt32 = 0
        for flag in profile.flags {
            switch flag {
            case .tsync: flags |= SeccompFilter.synchronizeThreads
            case .log: flags |= SeccompFilter.log
            case .specAllow: flags |= SeccompFilter.speculationAllowed
            case .waitKillableRecv: flags |= SeccompFilter.waitKillable
            }
        }
        return flags
    }

    // MARK: Rules

    mutating func add(_ rule: OCI.SeccompRule, _ position: Int) throws {
        let value = try SeccompReturn.value(rule.action, rule.errnoRet, "linux.seccomp.syscalls[\(position)].errnoRet")
        for (index, condition) in rule.args.enumerated() where condition.index > 5 {
            let field = "linux.seccomp.syscalls[\(position)].args[\(index)].index"
            throw Fault(.invalid, "\(field): system calls have arguments 0 to 5, not \(condition.index)", subject: field)
        }
        let clauses = Self.clauses(rule.args, value)
        for name in rule.names {
            // the write that tells the listener's owner about a call must not wait for him
            if rule.action == .notify && name == "write" {
                let field = "linux.seccomp.syscalls[\(position)]"
                throw Fault(.invalid, "\(field): SCMP_ACT_NOTIFY cannot be used for the write syscall", subject: field)
            }
            guard let index = SyscallTable.index(of: name) else {
                unknownNames.append(name)
                continue
            }
            for section in sections.indices { sections[section].add(index, clauses, value, isDefault: value == defaultValue) }
        }
    }

    private static func clauses(_ conditions: [OCI.SeccompArg], _ value: UInt32) -> [SeccompClause] {
        if conditions.isEmpty { return [] }
        let repeats = conditions.indices.contains { index in
            conditions[..<index].contains { $0.index == conditions[index].index }
        }
        if repeats { return conditions.map { SeccompClause(conditions: [$0], value: value) } }
        return [SeccompClause(conditions: conditions, value: value)]
    }

    // MARK: The program

    private enum DataOffset {
        static let number: UInt32 = 0
        static let architecture: UInt32 = 4
    }

    func emit() -> [BPFInstruction] {
        var out = SeccompEmitter()
        let newer = SeccompReturn.refuses(defaultValue) ? SeccompReturn.noSuchSyscall : defaultValue
        out.answer(SeccompReturn.killProcess)
        var next = out.label
        // the native architecture is asked for first, so it is written last
        let order = sections.filter { $0.architecture != .x32 }.sorted {
            $0.architecture != native && $1.architecture == native
        }
        for section in order {
            var leaves = section.leaves(defaultValue, newer)
            if section.architecture == .x86_64 { leaves += wideLeaves(newer) }
            // one leaf alone must stand where the load falls through to
            if leaves.count == 1 { leaf(leaves[0], section, &out) } else { _ = tree(leaves[...], section, &out) }
            out.load(DataOffset.number)
            let body = out.label
            out.compare(SeccompEmitter.equal, section.architecture.audit, then: body, otherwise: next)
            next = out.label
        }
        out.load(DataOffset.architecture)
        return out.instructions
    }

    /// What lies above x86_64's own numbers: x32's, and -1, by which a tracer skips a call (seccomp(2)).
    private func wideLeaves(_ newer: UInt32) -> [SeccompLeaf] {
        guard let section = sections.first(where: { $0.architecture == .x32 }) else {
            return [
                SeccompLeaf(start: SyscallTable.x32Bit, value: SeccompReturn.killProcess),
                SeccompLeaf(start: UInt32.max, value: newer),
            ]
        }
        return section.leaves(defaultValue, newer)
    }

    /// Answers the label of the subtree's first instruction. Leaves that answer the same share an instruction as far as a
    /// jump reaches: the kernel's translation of a filter takes time by its length.
    private func tree(_ leaves: ArraySlice<SeccompLeaf>, _ section: SeccompSection, _ out: inout SeccompEmitter) -> Int {
        if leaves.count == 1, let single = leaves.first {
            if single.clauses.isEmpty, let label = out.nearAnswer(single.value) { return label }
            leaf(single, section, &out)
            return out.label
        }
        let middle = leaves.startIndex + leaves.count / 2
        let right = tree(leaves[middle...], section, &out)
        let left = tree(leaves[..<middle], section, &out)
        out.compare(SeccompEmitter.greaterOrEqual, leaves[middle].start, then: right, otherwise: left)
        return out.label
    }

    private func leaf(_ leaf: SeccompLeaf, _ section: SeccompSection, _ out: inout SeccompEmitter) {
        if leaf.clauses.isEmpty {
            out.answer(leaf.value)
        } else {
            out.chain(leaf.clauses, fallback: leaf.value, is32Bit: section.architecture.is32Bit)
        }
    }
}

/// Numbers from `start` to the next leaf have the same rules.
struct SeccompLeaf {
    var start: UInt32
    var value: UInt32
    var clauses: [SeccompClause] = []
}

/// The rules of one architecture, by number.
struct SeccompSection {
    let architecture: SyscallArchitecture
    private let numbers: [Int32]
    /// 0: the default; 1: see `values`; from 2 on: `chains[n - 2]`.
    private var kinds: [UInt16]
    private var values: [UInt32]
    private var chains: [[SeccompClause]] = []
    /// arm's private calls, far above the others.
    private var far: [(number: UInt32, value: UInt32)] = []
    private var newest = -1

    private static let width = 560
    /// Where x32's own calls begin; new calls of all architectures stay below for long.
    private static let x32Own = 512

    init(_ architecture: SyscallArchitecture) {
        self.architecture = architecture
        numbers = SyscallTable.numbers(architecture)
        kinds = [UInt16](repeating: 0, count: Self.width)
        values = [UInt32](repeating: 0, count: Self.width)
    }

    mutating func add(_ index: Int, _ clauses: [SeccompClause], _ value: UInt32, isDefault: Bool) {
        let number = Int(numbers[index])
        guard number >= 0 else { return }
        if number >= Self.width {
            if !isDefault && clauses.isEmpty && !far.contains(where: { $0.number == number }) {
                far.append((UInt32(number), value))
            }
            return
        }
        if architecture != .x32 || number < Self.x32Own { newest = max(newest, number) }
        if isDefault { return }
        let kind = kinds[number]
        if kind == 1 { return }
        if clauses.isEmpty {
            kinds[number] = 1
            values[number] = value
        } else if kind == 0 {
            chains.append(clauses)
            kinds[number] = UInt16(chains.count + 1)
        } else {
            chains[Int(kind) - 2] += clauses
        }
    }

    /// In the order of their numbers, from 0 (x32: from its bit) on without gaps.
    func leaves(_ defaultValue: UInt32, _ newer: UInt32) -> [SeccompLeaf] {
        let base = architecture == .x32 ? SyscallTable.x32Bit : 0
        let above = newest < 0 ? defaultValue : newer
        var leaves = [SeccompLeaf(start: base, value: newest < 0 ? above : defaultValue)]
        leaves.reserveCapacity(128)
        var first = true
        func isAbove(_ number: Int) -> Bool {
            number > newest && (architecture != .x32 || !(Self.x32Own..<Self.x32Own + 36).contains(number))
        }
        for number in 0..<Self.width {
            let kind = kinds[number]
            if kind > 1 {
                let leaf = SeccompLeaf(start: base + UInt32(number), value: defaultValue, clauses: chains[Int(kind) - 2])
                if first { leaves[0] = leaf } else { leaves.append(leaf) }
            } else {
                let value = kind == 1 ? values[number] : isAbove(number) ? above : defaultValue
                let last = leaves[leaves.count - 1]
                if first {
                    leaves[0].value = value
                } else if !last.clauses.isEmpty || last.value != value {
                    leaves.append(SeccompLeaf(start: base + UInt32(number), value: value))
                }
            }
            first = false
        }
        for call in far.sorted(by: { $0.number < $1.number }) {
            if let last = leaves.last, last.start == call.number, last.clauses.isEmpty {
                leaves[leaves.count - 1].value = call.value
            } else {
                leaves.append(SeccompLeaf(start: call.number, value: call.value))
            }
            leaves.append(SeccompLeaf(start: call.number + 1, value: above))
        }
        return leaves
    }
}
