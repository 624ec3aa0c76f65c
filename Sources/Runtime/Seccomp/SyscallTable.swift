import Model

/// Architectures whose system calls this runtime can filter, and what the kernel calls them (linux/audit.h).
package enum SyscallArchitecture: UInt8, Sendable, CaseIterable {
    case x86_64, x86, x32, aarch64, arm, riscv64

    /// Nil for those that no machine has on which this program runs.
    package init?(_ name: OCI.SeccompArch) {
        switch name {
        case .x86_64: self = .x86_64
        case .x86: self = .x86
        case .x32: self = .x32
        case .aarch64: self = .aarch64
        case .arm: self = .arm
        case .riscv64: self = .riscv64
        default: return nil
        }
    }

    /// AUDIT_ARCH_…; x32 shares it with x86_64 and has a bit in the number.
    package var audit: UInt32 {
        switch self {
        case .x86_64, .x32: 0xC000_003E
        case .x86: 0x4000_0003
        case .aarch64: 0xC000_00B7
        case .arm: 0x4000_0028
        case .riscv64: 0xC000_00F3
        }
    }

    package var is32Bit: Bool { self == .x86 || self == .arm }

    /// Those that can occur on a machine of this kind.
    package var reachable: [SyscallArchitecture] {
        switch self {
        case .x86_64, .x86, .x32: [.x86_64, .x86, .x32]
        case .aarch64, .arm: [.aarch64, .arm]
        case .riscv64: [.riscv64]
        }
    }

    package static var native: SyscallArchitecture {
        #if arch(x86_64)
            .x86_64
        #elseif arch(arm64)
            .aarch64
        #elseif arch(riscv64)
            .riscv64
        #endif
    }
}

/// Numbers of system calls.
package enum SyscallTable {
    package static let x32Bit: UInt32 = 0x4000_0000

    /// Where a name stands in the tables; nil when no architecture has it.
    @inline(__always)
    package static func index(of name: String) -> Int? {
        var name = name
        return name.withUTF8 { bytes in
            var hash: UInt32 = 0x811C_9DC5
            for byte in bytes { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
            var slot = Int(hash & 2047)
            while true {
                let index = Int(GeneratedSyscalls.slots[slot])
                if index == 0xFFFF { return nil }
                if isEqual(index, bytes) { return index }
                slot = (slot + 1) & 2047
            }
        }
    }

    @inline(__always)
    private static func isEqual(_ index: Int, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        let start = Int(GeneratedSyscalls.offsets[index])
        guard Int(GeneratedSyscalls.offsets[index + 1]) - start == bytes.count else { return false }
        let name = GeneratedSyscalls.names.utf8Start + start
        for position in 0..<bytes.count where name[position] != bytes[position] { return false }
        return true
    }

    /// Numbers in the order of the indices, -1 for none; x32's without its bit.
    static func numbers(_ architecture: SyscallArchitecture) -> [Int32] {
        switch architecture {
        case .x86_64: GeneratedSyscalls.x86_64
        case .x86: GeneratedSyscalls.x86
        case .x32: GeneratedSyscalls.x32
        case .aarch64: GeneratedSyscalls.aarch64
        case .arm: GeneratedSyscalls.arm
        case .riscv64: GeneratedSyscalls.riscv64
        }
    }

    /// The number as the kernel sees it.
    package static func number(of name: String, on architecture: SyscallArchitecture) -> UInt32? {
        guard let index = index(of: name) else { return nil }
        let number = numbers(architecture)[index]
        guard number >= 0 else { return nil }
        return UInt32(number) | (architecture == .x32 ? x32Bit : 0)
    }

    package static var names: [String] {
        (0..<GeneratedSyscalls.count).map { index in
            let start = Int(GeneratedSyscalls.offsets[index])
            let end = Int(GeneratedSyscalls.offsets[index + 1])
            let bytes = UnsafeBufferPointer(start: GeneratedSyscalls.names.utf8Start + start, count: end - start)
            return String(decoding: bytes, as: UTF8.self)
        }
    }
}
