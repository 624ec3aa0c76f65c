import Linux
import Model
import Runtime
import Testing

/// The meaning of a profile, read from it the slow way: what the compiled filter must agree with.
private struct Meaning {
    let profile: OCI.Seccomp
    let native: SyscallArchitecture
    /// Which rules name a number, by architecture.
    private var rules: [SyscallArchitecture: [UInt32: [Int]]] = [:]

    init(profile: OCI.Seccomp, native: SyscallArchitecture) {
        self.profile = profile
        self.native = native
        for architecture in native.reachable {
            var named: [UInt32: [Int]] = [:]
            for (index, rule) in profile.syscalls.enumerated() {
                for name in rule.names {
                    if let number = SyscallTable.number(of: name, on: architecture) { named[number, default: []].append(index) }
                }
            }
            rules[architecture] = named
        }
    }

    func answer(_ number: UInt32, _ architecture: SyscallArchitecture, _ arguments: [UInt64]) -> UInt32 {
        let fallback = value(profile.defaultAction, profile.defaultErrnoRet)
        let listed = profile.architectures.compactMap { SyscallArchitecture($0) } + [native]
        let refuses = [OCI.SeccompAction.errno, .kill, .killThread, .killProcess, .trap].contains(profile.defaultAction)
        guard listed.contains(architecture) else {
            return number == UInt32.max && refuses ? SeccompReturn.noSuchSyscall : SeccompReturn.killProcess
        }
        var chain: [(args: [OCI.SeccompArg], value: UInt32)] = []
        for index in rules[architecture]?[number] ?? [] {
            let rule = profile.syscalls[index]
            let value = value(rule.action, rule.errnoRet)
            guard value != fallback else { continue }
            if rule.args.isEmpty { return value }
            let repeats = Set(rule.args.map(\.index)).count < rule.args.count
            if repeats { chain += rule.args.map { ([$0], value) } } else { chain.append((rule.args, value)) }
        }
        for (args, value) in chain where args.allSatisfy({ holds($0, arguments, architecture) }) { return value }
        if !chain.isEmpty || !refuses { return fallback }
        return isNewer(number, architecture) ? SeccompReturn.noSuchSyscall : fallback
    }

    private func isNewer(_ number: UInt32, _ architecture: SyscallArchitecture) -> Bool {
        let known = rules[architecture] ?? [:]
        let bit = architecture == .x32 ? SyscallTable.x32Bit : 0
        let common = known.keys.map { $0 - bit }.filter { $0 < (architecture == .x32 ? 512 : 0xF0000) }
        guard let newest = common.max() else { return false }
        if architecture == .x32, (512..<548).contains(number &- bit) { return false }
        return number &- bit > newest && known[number] == nil
    }

    private func holds(_ condition: OCI.SeccompArg, _ arguments: [UInt64], _ architecture: SyscallArchitecture) -> Bool {
        let mask: UInt64 = architecture.is32Bit ? 0xFFFF_FFFF : UInt64.max
        let argument = arguments[Int(condition.index)] & mask
        let value = condition.value & mask
        switch condition.op {
        case .equal: return argument == value
        case .notEqual: return argument != value
        case .less: return argument < value
        case .lessOrEqual: return argument <= value
        case .greater: return argument > value
        case .greaterOrEqual: return argument >= value
        case .maskedEqual: return argument & value == (condition.valueTwo ?? 0) & mask
        }
    }

    private func value(_ action: OCI.SeccompAction, _ number: UInt32?) -> UInt32 {
        switch action {
        case .kill, .killThread: SeccompReturn.killThread
        case .killProcess: SeccompReturn.killProcess
        case .trap: SeccompReturn.trap
        case .errno: SeccompReturn.errno | (number ?? 1)
        case .trace: SeccompReturn.trace | (number ?? 1)
        case .allow: SeccompReturn.allow
        case .log: SeccompReturn.log
        case .notify: SeccompReturn.notify
        }
    }
}

/// Asks filter and meaning for every number on every architecture with every one of the arguments.
private func expectAgreement(
    _ profile: OCI.Seccomp, native: SyscallArchitecture = .x86_64, arguments: [[UInt64]] = [],
    upTo last: UInt32 = 700, sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let program = try compileSeccomp(profile, native: native).instructions
    #expect(FilterMachine.isSound(program), sourceLocation: sourceLocation)
    let meaning = Meaning(profile: profile, native: native)
    for architecture in native.reachable {
        let bit = architecture == .x32 ? SyscallTable.x32Bit : 0
        let numbers: [UInt32] = Array(0..<last).map { $0 | bit } + (architecture == .arm ? Array(0xF0000..<0xF0010) : [])
        for number in numbers {
            for arguments in arguments + [[0, 0, 0, 0, 0, 0]] {
                let data = FilterData(number: number, architecture: architecture.audit, arguments: arguments)
                let got = FilterMachine.run(program, data)
                let wanted = meaning.answer(number, architecture, arguments)
                if got != wanted {
                    Issue.record(
                        "\(architecture) \(number) \(arguments): \(got ?? 0xBAD) is not \(wanted)",
                        sourceLocation: sourceLocation)
                    return
                }
            }
        }
    }
}

private func words(_ values: [UInt64], at index: Int = 0) -> [[UInt64]] {
    values.map { value in (0..<6).map { $0 == index ? value : 0 } }
}

@Suite struct SeccompProgramTests {
    private static let fourteen = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
        "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
    ]

    @Test(arguments: [[], fourteen, ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF"]])
    func defaultProfileMeansWhatItSays(capabilities: [String]) throws {
        let arguments = words([1, 2, 8, 37, 38, 39, 40, 41, 0x20000, 0x20008, 0x7E02_0000, 0xFFFF_FFFF, 1 << 32, 38 + 1 << 32])
        for native in [SyscallArchitecture.x86_64, .aarch64] {
            let profile = DefaultSeccomp.profile(
                capabilities: capabilities, kernel: (6, 18), architecture: native == .x86_64 ? .x86_64 : .aarch64)
            try expectAgreement(profile, native: native, arguments: arguments)
        }
    }

    @Test func defaultProfileIsSmall() throws {
        let profile = DefaultSeccomp.profile(capabilities: Self.fourteen, kernel: (6, 18), architecture: .x86_64)
        let program = try compileSeccomp(profile, native: .x86_64)
        #expect(program.instructions.count < 1000)
        #expect(program.unknownNames.isEmpty)
        #expect(program.flags == 4)
    }

    @Test func algorithmSocketsAreShutOnEveryWay() throws {
        let profile = DefaultSeccomp.profile(capabilities: Self.fourteen, kernel: (6, 18), architecture: .x86_64)
        let program = try compileSeccomp(profile, native: .x86_64).instructions
        func answer(_ name: String, _ architecture: SyscallArchitecture, _ first: UInt64) -> UInt32? {
            guard let number = SyscallTable.number(of: name, on: architecture) else { return nil }
            return FilterMachine.run(
                program, FilterData(number: number, architecture: architecture.audit, arguments: [first, 0, 0, 0, 0, 0]))
        }
        for architecture in [SyscallArchitecture.x86_64, .x86, .x32] {
            #expect(answer("socket", architecture, 38) == SeccompReturn.errno | 1)
            #expect(answer("socket", architecture, 40) == SeccompReturn.errno | 1)
            #expect(answer("socket", architecture, 2) == SeccompReturn.allow)
        }
        #expect(answer("socketcall", .x86, 1) == SeccompReturn.noSuchSyscall)
        #expect(answer("socketcall", .x86, 3) == SeccompReturn.allow)
        let open = try compileSeccomp(
            DefaultSeccomp.profile(capabilities: [], kernel: (6, 18), architecture: .x86_64, allowsSocketcall: true),
            native: .x86_64)
        let data = FilterData(number: 102, architecture: SyscallArchitecture.x86.audit, arguments: [1, 0, 0, 0, 0, 0])
        #expect(FilterMachine.run(open.instructions, data) == SeccompReturn.allow)
    }

    @Test(arguments: [
        OCI.SeccompOperator.equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual, .maskedEqual,
    ])
    func comparesAll64Bits(op: OCI.SeccompOperator) throws {
        let edges: [UInt64] = [
            0, 1, 7, 8, 9, 0xFFFF_FFFE, 0xFFFF_FFFF, 1 << 32, 1 << 32 + 8, 5 << 32 + 7, 5 << 32 + 8, 5 << 32 + 9, 6 << 32,
            4 << 32 + 9, UInt64.max - 1, UInt64.max,
        ]
        for index in [UInt32(0), 5] {
            for value in edges {
                let profile = OCI.Seccomp(
                    defaultAction: .allow, architectures: [.x86],
                    syscalls: [
                        .init(
                            names: ["read"], action: .errno, errnoRet: 5,
                            args: [.init(index: index, value: value, valueTwo: 8, op: op)])
                    ])
                try expectAgreement(profile, arguments: words(edges, at: Int(index)), upTo: 5)
            }
        }
    }

    @Test func severalConditionsMustAllHold() throws {
        let rule = OCI.SeccompRule(
            names: ["ioctl", "write"], action: .killProcess,
            args: [.init(index: 0, value: 3, op: .greater), .init(index: 2, value: 6 << 32, op: .lessOrEqual)])
        let arguments: [[UInt64]] = [
            [4, 0, 1, 0, 0, 0], [3, 0, 1, 0, 0, 0], [4, 0, 7 << 32, 0, 0, 0], [9, 0, 6 << 32, 0, 0, 0],
        ]
        try expectAgreement(OCI.Seccomp(defaultAction: .allow, architectures: [.x86], syscalls: [rule]), arguments: arguments)
    }

    @Test func conditionsOnOneArgumentAreAlternatives() throws {
        let rule = OCI.SeccompRule(
            names: ["personality"], action: .allow,
            args: [.init(index: 0, value: 8, op: .equal), .init(index: 0, value: 9, op: .equal)])
        let profile = OCI.Seccomp(defaultAction: .errno, syscalls: [rule])
        try expectAgreement(profile, arguments: words([7, 8, 9]))
    }

    @Test func unconditionalRuleWinsAndTheFirstOfThem() throws {
        let profile = OCI.Seccomp(
            defaultAction: .errno,
            syscalls: [
                .init(names: ["read"], action: .trap, args: [.init(index: 0, value: 1, op: .equal)]),
                .init(names: ["read"], action: .allow), .init(names: ["read"], action: .killProcess),
                .init(names: ["write"], action: .trap, args: [.init(index: 0, value: 1, op: .equal)]),
                .init(names: ["write"], action: .log, args: [.init(index: 0, value: 2, op: .less)]),
            ])
        try expectAgreement(profile, arguments: words([0, 1, 2]))
    }

    @Test(arguments: OCI.SeccompAction.allCases.filter { $0 != .notify })
    func everyDefaultAction(action: OCI.SeccompAction) throws {
        let rule = OCI.SeccompRule(names: ["read", "openat2"], action: action == .allow ? .errno : .allow)
        try expectAgreement(OCI.Seccomp(defaultAction: action, architectures: [.x86, .x32], syscalls: [rule]))
    }

    @Test func newerCallThanTheProfileKnowsDoesNotExist() throws {
        let profile = OCI.Seccomp(defaultAction: .errno, syscalls: [.init(names: ["read", "statx"], action: .allow)])
        let program = try compileSeccomp(profile, native: .x86_64).instructions
        func answer(_ number: UInt32) -> UInt32? {
            FilterMachine.run(program, FilterData(number: number, architecture: SyscallArchitecture.x86_64.audit))
        }
        #expect(answer(332) == SeccompReturn.allow)
        #expect(answer(331) == SeccompReturn.errno | 1)
        #expect(answer(333) == SeccompReturn.noSuchSyscall)
        #expect(answer(1000) == SeccompReturn.noSuchSyscall)
        #expect(answer(UInt32.max) == SeccompReturn.noSuchSyscall)
        // x32 is not listed
        #expect(answer(SyscallTable.x32Bit) == SeccompReturn.killProcess)
    }

    @Test func farJumpsAreLong() throws {
        // so many clauses that right branches are beyond 255 instructions
        let rules = SyscallTable.names.prefix(300).enumerated().map { index, name in
            OCI.SeccompRule(
                names: [name], action: .allow,
                args: [.init(index: UInt32(index % 6), value: UInt64(index) << 30, op: .lessOrEqual)])
        }
        let profile = OCI.Seccomp(defaultAction: .errno, syscalls: Array(rules))
        try expectAgreement(profile, arguments: [[1, 1, 1, 1, 1, 1], [1 << 38, 1 << 38, 1 << 38, 1 << 38, 1 << 38, 1 << 38]])
    }

    @Test func tooLargeAProfileIsRefusedInWords() throws {
        let args = (0..<6).map { OCI.SeccompArg(index: UInt32($0), value: 1 << 40, op: .greater) }
        let profile = OCI.Seccomp(
            defaultAction: .errno,
            syscalls: SyscallTable.names.map { OCI.SeccompRule(names: [$0], action: .allow, args: args) })
        #expect(throws: Fault.self) { _ = try compileSeccomp(profile, native: .x86_64) }
    }

    @Test func unknownNamesAreSkipped() throws {
        let profile = OCI.Seccomp(defaultAction: .errno, syscalls: [.init(names: ["read", "no_such_call"], action: .allow)])
        #expect(try compileSeccomp(profile, native: .x86_64).unknownNames == ["no_such_call"])
    }

    @Test func faultsNameTheField() throws {
        func message(_ profile: OCI.Seccomp) -> String {
            do {
                _ = try compileSeccomp(profile, native: .x86_64)
                return ""
            } catch { return String(describing: error) }
        }
        #expect(message(OCI.Seccomp(defaultAction: .notify)).hasPrefix("linux.seccomp.defaultAction: "))
        let notify = OCI.SeccompRule(names: ["mkdir"], action: .notify)
        #expect(message(OCI.Seccomp(defaultAction: .allow, syscalls: [notify])).hasPrefix("linux.seccomp.listenerPath: "))
        let write = OCI.SeccompRule(names: ["write"], action: .notify)
        let text = message(OCI.Seccomp(defaultAction: .allow, listenerPath: "/s", syscalls: [write]))
        #expect(text == "linux.seccomp.syscalls[0]: SCMP_ACT_NOTIFY cannot be used for the write syscall")
        #expect(
            message(OCI.Seccomp(defaultAction: .allow, listenerMetadata: "x")).hasPrefix("linux.seccomp.listenerMetadata: "))
        let far = OCI.SeccompRule(names: ["read"], action: .errno, args: [.init(index: 6, value: 0, op: .equal)])
        #expect(message(OCI.Seccomp(defaultAction: .allow, syscalls: [far])).contains("syscalls[0].args[0].index"))
        let errno = OCI.SeccompRule(names: ["read"], action: .errno, errnoRet: 5000)
        #expect(message(OCI.Seccomp(defaultAction: .allow, syscalls: [errno])).contains("syscalls[0].errnoRet"))
    }

    @Test func listenerAndFlags() throws {
        let notify = OCI.SeccompRule(names: ["mkdir"], action: .notify)
        let profile = OCI.Seccomp(
            defaultAction: .allow, flags: [.tsync, .log, .waitKillableRecv], listenerPath: "/run/x", syscalls: [notify])
        let program = try compileSeccomp(profile, native: .x86_64)
        #expect(program.notifies)
        #expect(program.flags == 1 | 2 | 8 | 16 | 32)
        try expectAgreement(profile)
    }

    @Test func tablesHaveTheNewestCalls() {
        #expect(SyscallTable.number(of: "file_setattr", on: .x86_64) == 469)
        #expect(SyscallTable.number(of: "mseal", on: .aarch64) == 462)
        #expect(SyscallTable.number(of: "fchmodat2", on: .x86) == 452)
        #expect(SyscallTable.number(of: "socketcall", on: .x86) == 102)
        #expect(SyscallTable.number(of: "preadv2", on: .x32) == UInt32(0x4000_0222))
        #expect(SyscallTable.number(of: "cacheflush", on: .arm) == 0xF0002)
        #expect(SyscallTable.number(of: "socketcall", on: .x86_64) == nil)
        for name in SyscallTable.names { #expect(SyscallTable.index(of: name) != nil) }
    }
}
