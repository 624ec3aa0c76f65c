import Linux

extension DeviceRules {
    /// The rules as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE: answers 1 to permit, 0 to refuse.
    ///
    /// The context is `struct bpf_cgroup_dev_ctx { u32 access_type /* access << 16 | kind */, major, minor }`.
    package var program: [EBPFInstruction] {
        // r2 = kind, r3 = access, r4 = major, r5 = minor
        var code: [EBPFInstruction] = [
            .loadWord(2, from: 1, at: 0), .move(3, register: 2), .and(2, 0xFFFF), .shiftRight(3, 16),
            .loadWord(4, from: 1, at: 4), .loadWord(5, from: 1, at: 8),
        ]
        for exception in exceptions { code += check(exception) }
        return code + [.move(0, allowsByDefault ? 1 : 0), .exit]
    }

    /// Answers if the exception speaks of this access, else falls through.
    private func check(_ exception: Exception) -> [EBPFInstruction] {
        var tests: [(EBPFInstruction)] = [.jumpUnequal(2, UInt32(exception.kind.rawValue))]
        if exception.access != .all {
            tests.append(.move(1, register: 3))
            if allowsByDefault {
                // denied as soon as one of the ways asked for is
                tests.append(.and(1, UInt32(exception.access.rawValue)))
                tests.append(.jumpEqual(1, 0))
            } else {
                // allowed when none is asked for beyond these
                tests.append(.and(1, ~UInt32(exception.access.rawValue) & 0xFFFF))
                tests.append(.jumpUnequal(1, 0))
            }
        }
        if let major = exception.major { tests.append(.jumpUnequal(4, major)) }
        if let minor = exception.minor { tests.append(.jumpUnequal(5, minor)) }
        tests += [.move(0, allowsByDefault ? 0 : 1), .exit]
        for index in tests.indices where tests[index].isJump { tests[index].offset = Int16(tests.count - index - 1) }
        return tests
    }
}
