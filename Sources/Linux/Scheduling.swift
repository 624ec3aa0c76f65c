import CKernel
import Glibc

/// Limits and scheduling of a process, from outside or for itself (pid 0).
public enum Scheduling {
    /// RLIMIT_ names of getrlimit(2) and their numbers.
    public static let limits: [(name: String, number: CInt)] = [
        ("RLIMIT_CPU", 0), ("RLIMIT_FSIZE", 1), ("RLIMIT_DATA", 2), ("RLIMIT_STACK", 3), ("RLIMIT_CORE", 4), ("RLIMIT_RSS", 5),
        ("RLIMIT_NPROC", 6), ("RLIMIT_NOFILE", 7), ("RLIMIT_MEMLOCK", 8), ("RLIMIT_AS", 9), ("RLIMIT_LOCKS", 10),
        ("RLIMIT_SIGPENDING", 11), ("RLIMIT_MSGQUEUE", 12), ("RLIMIT_NICE", 13), ("RLIMIT_RTPRIO", 14), ("RLIMIT_RTTIME", 15),
    ]

    /// prlimit(2)
    public static func setLimit(_ pid: CInt, _ number: CInt, soft: UInt64, hard: UInt64) throws {
        try kernel("prlimit") { skiff_prlimit(pid, number, soft, hard) }
    }

    /// getrlimit(2) of the calling process
    public static func limit(_ number: CInt) throws -> (soft: UInt64, hard: UInt64) {
        var soft: UInt64 = 0
        var hard: UInt64 = 0
        try kernel("getrlimit") { skiff_getrlimit(number, &soft, &hard) }
        return (soft, hard)
    }

    /// sched_setattr(2); `policy` and `flags` are the kernel's numbers
    public static func setAttributes(_ pid: CInt, _ value: SchedulingAttributes) throws {
        try kernel("sched_setattr") {
            skiff_sched_setattr(
                pid, value.policy, value.flags, value.nice, value.priority, value.runtime, value.deadline, value.period)
        }
    }

    /// sched_setaffinity(2)
    public static func setAffinity(_ pid: CInt, _ cpus: CPUSet) throws {
        let words = cpus.words
        try kernel("sched_setaffinity", cpus.description) {
            words.withUnsafeBufferPointer { buffer in
                skiff_sched_setaffinity(
                    pid, buffer.count * 8, UnsafeRawPointer(buffer.baseAddress)?.assumingMemoryBound(to: CUnsignedLong.self))
            }
        }
    }

    /// ioprio_set(2): class 1 real time, 2 best effort, 3 idle
    public static func setIOPriority(_ pid: CInt, class kind: CInt, level: CInt) throws {
        try kernel("ioprio_set") { skiff_ioprio_set(pid, kind << 13 | level) }
    }

    /// set_mempolicy(2) of the calling process
    public static func setMemoryPolicy(_ mode: CInt, nodes: CPUSet?) throws {
        guard let nodes else {
            try kernel("set_mempolicy") { skiff_set_mempolicy(mode, nil, 0) }
            return
        }
        let words = nodes.words
        try kernel("set_mempolicy", nodes.description) {
            words.withUnsafeBufferPointer { buffer in
                skiff_set_mempolicy(
                    mode, UnsafeRawPointer(buffer.baseAddress)?.assumingMemoryBound(to: CUnsignedLong.self),
                    CUnsignedLong(buffer.count * 64 + 1))
            }
        }
    }

    /// personality(2)
    public static func setPersonality(_ persona: UInt) throws { try kernel("personality") { skiff_personality(persona) } }
}

/// What sched_setattr(2) takes; times in nanoseconds.
public struct SchedulingAttributes: Sendable, Equatable {
    public var policy: UInt32 = 0
    public var flags: UInt64 = 0
    public var nice: Int32 = 0
    public var priority: UInt32 = 0
    public var runtime: UInt64 = 0
    public var deadline: UInt64 = 0
    public var period: UInt64 = 0
    public init() {}
}

/// A set of small numbers, written as `0-3,7` (cpuset(7), List format).
public struct CPUSet: Sendable, Equatable, CustomStringConvertible {
    public private(set) var words: [UInt64] = []
    public let description: String

    /// Nil where the text is no such list, or names a number beyond 8191.
    public init?(_ text: String) {
        description = text
        for part in text.split(separator: ",", omittingEmptySubsequences: true) {
            let trimmed = part.filter { $0 != " " }
            if trimmed.isEmpty { continue }
            let ends = trimmed.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            guard let first = Int(ends[0]), let last = ends.count == 2 ? Int(ends[1]) : first, first >= 0, first <= last,
                last < 8192
            else { return nil }
            while words.count <= last / 64 { words.append(0) }
            for number in first...last { words[number / 64] |= 1 << UInt64(number % 64) }
        }
        if words.isEmpty { return nil }
    }
}
