import Linux

/// What the kernel gives a filter: `struct seccomp_data`.
struct FilterData {
    var number: UInt32
    var architecture: UInt32
    var arguments: [UInt64] = [0, 0, 0, 0, 0, 0]

    /// A 32-bit word of it, little-endian.
    func word(at offset: Int) -> UInt32? {
        switch offset {
        case 0: number
        case 4: architecture
        case 8, 12: 0
        case 16..<64:
            offset % 8 == 0
                ? UInt32(truncatingIfNeeded: arguments[(offset - 16) / 8])
                : UInt32(truncatingIfNeeded: arguments[(offset - 16) / 8] >> 32)
        default: nil
        }
    }
}

/// Runs classic BPF as the kernel does (net/core/filter.c, kernel/seccomp.c): nil for what its checker would refuse.
enum FilterMachine {
    static func run(_ program: [BPFInstruction], _ data: FilterData) -> UInt32? {
        var accumulator: UInt32 = 0
        var counter = 0
        while counter < program.count {
            let instruction = program[counter]
            counter += 1
            let operand = instruction.operand
            func jump(_ condition: Bool) { counter += Int(condition ? instruction.jumpTrue : instruction.jumpFalse) }
            switch instruction.code {
            case 0x20:
                guard operand % 4 == 0, let word = data.word(at: Int(operand)) else { return nil }
                accumulator = word
            case 0x54: accumulator &= operand
            case 0x05: counter += Int(operand)
            case 0x15: jump(accumulator == operand)
            case 0x25: jump(accumulator > operand)
            case 0x35: jump(accumulator >= operand)
            case 0x06: return operand
            default: return nil
            }
        }
        return nil
    }

    /// Every jump stays within the program and the last instruction answers.
    static func isSound(_ program: [BPFInstruction]) -> Bool {
        guard program.last?.code == 0x06 else { return false }
        for (index, instruction) in program.enumerated() {
            let targets: [Int]
            switch instruction.code {
            case 0x05: targets = [Int(instruction.operand)]
            case 0x15, 0x25, 0x35: targets = [Int(instruction.jumpTrue), Int(instruction.jumpFalse)]
            default: targets = []
            }
            if targets.contains(where: { index + 1 + $0 >= program.count }) { return false }
        }
        return true
    }
}
