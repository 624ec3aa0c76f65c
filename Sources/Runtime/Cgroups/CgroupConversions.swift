import Linux
import Model

/// Values of v1, which the runtime specification speaks in, as v2 wants them.
package enum CgroupConversion {
    /// cpu.shares (2 to 262144) as cpu.weight (1 to 10000): the curve that runc and crun share since 2025, which keeps the
    /// ends and maps the default 1024 to the default 100.
    package static func cpuWeight(shares: UInt64) -> UInt64 {
        if shares == 0 { return 0 }
        if shares <= 2 { return 1 }
        if shares >= 262_144 { return 10_000 }
        let log = KernelMath.log2(Double(shares))
        let exponent = (log * log + 125 * log) / 612 - 7.0 / 34.0
        return UInt64(KernelMath.power(10, exponent).rounded(.up))
    }

    /// blkio.weight (10 to 1000) as io.weight (1 to 10000).
    package static func ioWeight(blkioWeight: UInt16) -> UInt64 {
        blkioWeight == 0 ? 0 : 1 + (UInt64(max(blkioWeight, 10)) - 10) * 9999 / 990
    }

    /// memory.memsw (memory and swap together) as memory.swap.max; nil is "leave it". -1 is no limit.
    package static func swapMaximum(swap: Int64?, memory: Int64?) throws -> Int64? {
        if memory == -1 && (swap ?? 0) == 0 { return -1 }
        guard let swap, swap != 0 else { return nil }
        if swap == -1 { return -1 }
        let field = "linux.resources.memory.swap"
        guard swap > 0 else { throw Fault(.invalid, "\(field): invalid value \(swap)", subject: field) }
        guard let memory, memory > 0 else {
            throw Fault(.invalid, "\(field): unable to set swap limit without memory limit", subject: field)
        }
        guard swap >= memory else {
            throw Fault(.invalid, "\(field): memory+swap limit should be >= memory limit", subject: field)
        }
        return swap - memory
    }

    /// `max` for -1.
    static func maximum(_ value: Int64) -> String { value < 0 ? "max" : String(value) }
}
