import Linux
import Model

/// Writes classic BPF from its end to its beginning, so that the target of every jump (they only go forward) is known when the
/// jump is written. A label is the distance of its instruction from the program's end.
struct SeccompEmitter {
    private(set) var reversed: [BPFInstruction] = []
    private var answers: [(value: UInt32, label: Int)] = []

    // BPF_… of linux/bpf_common.h
    private static let loadAbsolute: UInt16 = 0x20
    private static let and: UInt16 = 0x54
    private static let jump: UInt16 = 0x05
    static let equal: UInt16 = 0x15
    static let greater: UInt16 = 0x25
    static let greaterOrEqual: UInt16 = 0x35
    private static let answer: UInt16 = 0x06

    init() { reversed.reserveCapacity(1024) }

    /// The instruction that was written last.
    var label: Int { reversed.count }

    var instructions: [BPFInstruction] { reversed.reversed() }

    mutating func answer(_ value: UInt32) {
        reversed.append(BPFInstruction(code: Self.answer, operand: value))
        if let known = answers.firstIndex(where: { $0.value == value }) {
            answers[known].label = label
        } else {
            answers.append((value, label))
        }
    }

    /// Where the last instruction is that answers so, unless a jump to it would soon be a long one.
    func nearAnswer(_ value: UInt32) -> Int? {
        answers.first { $0.value == value }.flatMap { label - $0.label < 220 ? $0.label : nil }
    }

    /// Loads a word of `struct seccomp_data`.
    mutating func load(_ offset: UInt32) { reversed.append(BPFInstruction(code: Self.loadAbsolute, operand: offset)) }

    mutating func and(_ mask: UInt32) { reversed.append(BPFInstruction(code: Self.and, operand: mask)) }

    /// Compares; both targets are labels. A target beyond 255 instructions is reached by way of a long jump.
    mutating func compare(_ code: UInt16, _ operand: UInt32, then: Int, otherwise: Int) {
        var (then, otherwise) = (then, otherwise)
        // the order matters: a long jump for one moves the other away by one instruction
        if reversed.count - otherwise > 254 { otherwise = longJump(otherwise) }
        if reversed.count - then > 255 { then = longJump(then) }
        if reversed.count - otherwise > 255 { otherwise = longJump(otherwise) }
        reversed.append(
            BPFInstruction(
                code: code, jumpTrue: UInt8(reversed.count - then), jumpFalse: UInt8(reversed.count - otherwise),
                operand: operand))
    }

    private mutating func longJump(_ label: Int) -> Int {
        reversed.append(BPFInstruction(code: Self.jump, operand: UInt32(reversed.count - label)))
        return reversed.count
    }
}

/// One rule with argument conditions, all of which must hold.
struct SeccompClause: Equatable {
    var conditions: [OCI.SeccompArg]
    var value: UInt32
}

extension SeccompEmitter {
    /// The rules of one system call in their order; the first whose conditions hold answers, else `fallback`.
    mutating func chain(_ clauses: [SeccompClause], fallback: UInt32, is32Bit: Bool) {
        answer(fallback)
        for clause in clauses.reversed() {
            let next = label
            answer(clause.value)
            for condition in clause.conditions.reversed() { compare(condition, fail: next, is32Bit: is32Bit) }
        }
    }

    /// Falls through to what was written before when the condition holds. 64-bit values are compared in halves; on a 32-bit
    /// architecture only the low one counts, as in libseccomp.
    private mutating func compare(_ condition: OCI.SeccompArg, fail: Int, is32Bit: Bool) {
        let pass = label
        let masked = condition.op == .maskedEqual
        let value = masked ? condition.valueTwo ?? 0 : condition.value
        let mask = masked ? condition.value : UInt64.max
        let low = UInt32(truncatingIfNeeded: value)
        let high = UInt32(truncatingIfNeeded: value >> 32)
        let offset = 16 + 8 * condition.index
        switch condition.op {
        case .equal, .maskedEqual: compare(Self.equal, low, then: pass, otherwise: fail)
        case .notEqual: compare(Self.equal, low, then: fail, otherwise: pass)
        case .greater: compare(Self.greater, low, then: pass, otherwise: fail)
        case .greaterOrEqual: compare(Self.greaterOrEqual, low, then: pass, otherwise: fail)
        case .less: compare(Self.greaterOrEqual, low, then: fail, otherwise: pass)
        case .lessOrEqual: compare(Self.greater, low, then: fail, otherwise: pass)
        }
        if masked && UInt32(truncatingIfNeeded: mask) != UInt32.max { and(UInt32(truncatingIfNeeded: mask)) }
        load(offset)
        if is32Bit || (masked && mask >> 32 == 0 && high == 0) { return }
        let lower = label
        switch condition.op {
        case .equal: compare(Self.equal, high, then: lower, otherwise: fail)
        case .notEqual: compare(Self.equal, high, then: lower, otherwise: pass)
        case .maskedEqual:
            compare(Self.equal, high, then: lower, otherwise: fail)
            and(UInt32(truncatingIfNeeded: mask >> 32))
        case .greater, .greaterOrEqual:
            compare(Self.equal, high, then: lower, otherwise: fail)
            compare(Self.greater, high, then: pass, otherwise: label)
        case .less, .lessOrEqual:
            compare(Self.equal, high, then: lower, otherwise: pass)
            compare(Self.greater, high, then: fail, otherwise: label)
        }
        load(offset + 4)
    }
}
