/// A kernel, or a seccomp filter of an outer engine, that lacks system calls.
public enum Without {
    /// Words to put before a program's so that it, and all that it starts, gets ENOSYS from these calls.
    public static func words(_ calls: [String]) -> [String] {
        calls.isEmpty ? [] : ["/usr/bin/env", "python3", script, calls.joined(separator: ","), "--"]
    }

    private static let script = String(#filePath.dropLast("Without.swift".count)) + "without.py"
}
