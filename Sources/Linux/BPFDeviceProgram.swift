import CKernel
import Glibc

/// One eBPF instruction, laid out as the kernel's `struct bpf_insn` (Documentation/bpf/standardization/instruction-set.rst).
public struct EBPFInstruction: Sendable, Equatable {
    public var code: UInt8
    /// Destination in the low four bits, source in the high.
    public var registers: UInt8
    public var offset: Int16
    public var immediate: Int32

    public init(code: UInt8, destination: UInt8 = 0, source: UInt8 = 0, offset: Int16 = 0, immediate: UInt32 = 0) {
        self.code = code
        registers = destination | source << 4
        self.offset = offset
        self.immediate = Int32(bitPattern: immediate)
    }

    /// dst = *(u32 *)(src + offset)
    public static func loadWord(_ destination: UInt8, from source: UInt8, at offset: Int16) -> Self {
        Self(code: 0x61, destination: destination, source: source, offset: offset)
    }

    /// dst = src, 32 bits
    public static func move(_ destination: UInt8, register source: UInt8) -> Self {
        Self(code: 0xBC, destination: destination, source: source)
    }

    /// dst = immediate, 64 bits
    public static func move(_ destination: UInt8, _ value: UInt32) -> Self {
        Self(code: 0xB7, destination: destination, immediate: value)
    }

    /// dst &= immediate, 32 bits
    public static func and(_ destination: UInt8, _ value: UInt32) -> Self {
        Self(code: 0x54, destination: destination, immediate: value)
    }

    /// dst >>= immediate, 32 bits
    public static func shiftRight(_ destination: UInt8, _ value: UInt32) -> Self {
        Self(code: 0x74, destination: destination, immediate: value)
    }

    /// if (u32)dst != immediate: skip `offset` instructions (BPF_JMP32, kernel 5.1)
    public static func jumpUnequal(_ register: UInt8, _ value: UInt32) -> Self {
        Self(code: 0x56, destination: register, immediate: value)
    }

    public static func jumpEqual(_ register: UInt8, _ value: UInt32) -> Self {
        Self(code: 0x16, destination: register, immediate: value)
    }

    public static let exit = Self(code: 0x95)

    /// dst = src, 64 bits
    public static func copy(_ destination: UInt8, from source: UInt8) -> Self {
        Self(code: 0xBF, destination: destination, source: source)
    }

    public enum PacketField: UInt8, Sendable { case word = 0x20, half = 0x28, byte = 0x30 }

    /// r0 = what the packet has at an offset, as a number of the machine. Register 6 must be the context; 1 to 5 are lost. Beyond
    /// the packet's end the program ends with 0.
    public static func loadPacket(_ field: PacketField, at offset: UInt32) -> Self {
        Self(code: field.rawValue, immediate: offset)
    }

    /// r0 = helper(r1 … r5), by its number in include/uapi/linux/bpf.h
    public static func call(_ helper: UInt32) -> Self { Self(code: 0x85, immediate: helper) }

    /// Skips `offset` instructions.
    public static let jump = Self(code: 0x05)

    public var isJump: Bool { code == 0x56 || code == 0x16 || code == 0x05 }
}

/// Loading of programs, whatever they are for (bpf(2)).
enum EBPFProgram {
    enum Kind: UInt32 {
        case traffic = 3
        case device = 15
    }

    /// The verifier's last words are in the fault.
    static func load(_ kind: Kind, _ instructions: [EBPFInstruction]) throws -> Descriptor {
        let count = UInt32(instructions.count)
        let raw = try instructions.withUnsafeBytes { bytes in
            do {
                return try kernel("bpf BPF_PROG_LOAD") {
                    skiff_bpf_load_program(kind.rawValue, bytes.baseAddress, count, nil, 0)
                }
            } catch let fault as KernelFault where fault.errno == EINVAL || fault.errno == EACCES {
                var log = [CChar](repeating: 0, count: 65536)
                _ = skiff_bpf_load_program(kind.rawValue, bytes.baseAddress, count, &log, UInt32(log.count))
                let text = String(decoding: log.prefix { $0 != 0 }.suffix(400).map { UInt8(bitPattern: $0) }, as: UTF8.self)
                throw KernelFault(fault.call, errno: fault.errno, text)
            }
        }
        return Descriptor(owning: raw)
    }
}

/// Programs that decide about devices for a v2 cgroup (bpf(2); Documentation/admin-guide/cgroup-v2.rst, Device controller).
public enum DeviceProgram {
    /// Loads a program; the verifier's last words are in the fault.
    public static func load(_ instructions: [EBPFInstruction]) throws -> Descriptor {
        try EBPFProgram.load(.device, instructions)
    }

    /// Attaches a program to the cgroup in place of those that are on it. There is no moment without one.
    public static func attach(_ program: borrowing Descriptor, to cgroup: borrowing Descriptor) throws {
        let (folder, new) = (cgroup.raw, program.raw)
        let present = try attached(to: cgroup)
        let allowMultiple: UInt32 = 1 << 1
        let replace: UInt32 = 1 << 2
        if present.count == 1 {
            let old = try open(present[0])
            let raw = old.raw
            if skiff_bpf_attach_device_program(folder, new, allowMultiple | replace, raw) == 0 { return }
        }
        try kernel("bpf BPF_PROG_ATTACH") { skiff_bpf_attach_device_program(folder, new, allowMultiple, -1) }
        for id in present {
            let old = try open(id)
            let raw = old.raw
            try kernel("bpf BPF_PROG_DETACH") { skiff_bpf_detach_device_program(folder, raw) }
        }
    }

    /// Ids of the programs on this very cgroup.
    public static func attached(to cgroup: borrowing Descriptor) throws -> [UInt32] {
        let folder = cgroup.raw
        var ids = [UInt32](repeating: 0, count: 64)
        var count = UInt32(ids.count)
        try kernel("bpf BPF_PROG_QUERY") { skiff_bpf_query_device_programs(folder, &ids, &count) }
        return Array(ids.prefix(Int(count)))
    }

    private static func open(_ id: UInt32) throws -> Descriptor {
        Descriptor(owning: try kernel("bpf BPF_PROG_GET_FD_BY_ID") { skiff_bpf_open_program(id) })
    }
}
