import Linux
import Model

/// Reads what /proc says of processes (proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5)).
package enum ProcessTable {
    /// Rows for those that are still there.
    package static func rows(_ pids: [CInt]) -> [ContainerProcess] {
        let boot = bootTime()
        return pids.compactMap { row($0, boot: boot) }
    }

    private static let ticksPerSecond: UInt64 = 100
    private static let pageSize: UInt64 = 4096

    /// Seconds since 1970 at which the machine was started.
    private static func bootTime() -> Int64 {
        guard let bytes = try? Files.read("/proc/stat") else { return 0 }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where line.hasPrefix("btime ") {
            return Int64(line.dropFirst(6)) ?? 0
        }
        return 0
    }

    private static func row(_ pid: CInt, boot: Int64) -> ContainerProcess? {
        guard let bytes = try? Files.read("/proc/\(pid)/stat") else { return nil }
        return row(pid, stat: bytes, boot: boot).map { row in
            var row = row
            if let status = try? Files.read("/proc/\(pid)/status") { row.uid = uid(status) }
            if let command = try? Files.read("/proc/\(pid)/cmdline") {
                row.command = command.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            }
            return row
        }
    }

    /// The name stands in parentheses and may hold anything, also parentheses.
    package static func row(_ pid: CInt, stat bytes: [UInt8], boot: Int64) -> ContainerProcess? {
        guard let open = bytes.firstIndex(of: UInt8(ascii: "(")), let close = bytes.lastIndex(of: UInt8(ascii: ")")),
            open < close
        else { return nil }
        let fields = String(decoding: bytes[(close + 1)...], as: UTF8.self).split { $0 == " " || $0 == "\n" }
        // Field 3 of the man page is the first after the name
        func field(_ number: Int) -> Substring? { fields.indices.contains(number - 3) ? fields[number - 3] : nil }
        func number(_ at: Int) -> UInt64 { field(at).flatMap { UInt64($0) } ?? 0 }
        guard let state = field(3), field(24) != nil else { return nil }
        var row = ContainerProcess()
        row.pid = pid
        row.name = String(decoding: bytes[(open + 1)..<close], as: UTF8.self)
        row.state = String(state)
        row.parent = field(4).flatMap { Int32($0) } ?? 0
        row.terminal = terminal(field(7).flatMap { Int32($0) } ?? 0)
        row.cpuTime = (number(14) + number(15)) * (1_000_000_000 / ticksPerSecond)
        row.nice = field(19).flatMap { Int32($0) } ?? 0
        row.startedAt = Timestamp(nanoseconds: boot * 1_000_000_000 + Int64(number(22) * (1_000_000_000 / ticksPerSecond)))
        row.virtualSize = number(23)
        row.residentSize = number(24) * pageSize
        return row
    }

    private static func terminal(_ device: Int32) -> String {
        let major = (device >> 8) & 0xFFF
        let minor = (device & 0xFF) | ((device >> 12) & 0xFFF00)
        switch major {
        case 136...143: return "pts/\((major - 136) * 256 + minor)"
        case 4: return "tty\(minor)"
        default: return "?"
        }
    }

    private static func uid(_ status: [UInt8]) -> UInt32 {
        for line in status.split(separator: 0x0A) where line.starts(with: Array("Uid:".utf8)) {
            // Real, effective, saved, file system: ps shows the effective one
            let numbers = String(decoding: line.dropFirst(4), as: UTF8.self).split { $0 == "\t" || $0 == " " }
            return numbers.count > 1 ? UInt32(numbers[1]) ?? 0 : 0
        }
        return 0
    }
}
