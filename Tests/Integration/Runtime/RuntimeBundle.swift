import Glibc
import Linux
import Model
import Runtime
import TestSupport

/// A bundle with a busybox root for `skiff-runtime run`.
final class RuntimeBundle {
    let scratch: Scratch
    let root: String
    /// Members of `process` and `linux` beyond the usual, as JSON with a comma before each.
    var process = ""
    var linux = ""
    /// Mounts beyond /proc, as JSON with a comma before each.
    var mounts = ""
    /// In place of all usual kinds of namespaces.
    var namespaces = ["pid", "ipc", "uts", "mount", "cgroup"]
    /// System calls that the runtime has to do without.
    var without: [String] = []
    private var id = ""
    private static nonisolated(unsafe) var count = 0

    init(_ name: String = #function) throws {
        scratch = try Scratch(name)
        root = try scratch.busyboxRoot()
    }

    deinit {
        // the tests' own folder above the containers', when this was the last in it
        guard let layout = try? CgroupLayout.detect() else { return }
        for hierarchy in layout.hierarchies { try? CgroupFile.removeFolder(hierarchy.mountPoint + testCgroup) }
    }

    /// Runs a command to its end.
    func run(_ arguments: [String], timeout: Double = 30) throws -> ProcessResult {
        Self.count += 1
        id = "skiff-bundle-\(getpid())-\(Self.count)"
        try writeConfiguration(arguments)
        return try command(["run", "--bundle", scratch.path], timeout: timeout)
    }

    /// One of the runtime's commands on the container of the last `run`, or with a process given of a new one.
    func command(_ words: [String], _ process: [String]? = nil, after: [String] = [], timeout: Double = 30) throws
        -> ProcessResult
    {
        if let process {
            Self.count += 1
            id = "skiff-bundle-\(getpid())-\(Self.count)"
            try writeConfiguration(process)
        }
        // What stays behind must not hold the pipes of the test
        let quiet = words.contains("--detach") ? ["/bin/sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "-"] : []
        let running = try RunningProcess(
            quiet + Without.words(without) + ["\(binaries)/skiff-runtime", "--root", scratch.folder("state")] + words + [id]
                + after)
        running.closeInput()
        return running.finish(timeout: timeout)
    }

    private func writeConfiguration(_ arguments: [String]) throws {
        let namespaces = namespaces.map { "{\"type\":\"\($0)\"}" }.joined(separator: ",")
        let config = """
            {"ociVersion":"1.2.0","process":{"cwd":"/","env":["PATH=/bin"],"args":\(arguments.jsonText)\(process)},
            "root":{"path":"\(root)"},"mounts":[{"destination":"/proc","type":"proc","source":"proc"}\(mounts)],
            "linux":{"cgroupsPath":"\(testCgroup)/\(id)","namespaces":[\(namespaces)]\(linux)}}
            """
        _ = try scratch.file("config.json", config)
    }

    /// A program of nothing but these x86_64 instructions, as /bin/NAME.
    func program(_ name: String, _ code: [UInt8]) throws -> String {
        func little(_ value: UInt64, _ bytes: Int) -> [UInt8] {
            (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
        }
        let base: UInt64 = 0x40_0000
        let size = UInt64(120 + code.count)
        // elf(5): header of 64 bytes, one program header of 56 that maps the file
        var file: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        file += little(2, 2) + little(62, 2) + little(1, 4) + little(base + 120, 8) + little(64, 8) + little(0, 8)
        file += little(0, 4) + little(64, 2) + little(56, 2) + little(1, 2) + [0, 0, 0, 0, 0, 0]
        file += little(1, 4) + little(7, 4) + little(0, 8) + little(base, 8) + little(base, 8)
        file += little(size, 8) + little(size, 8) + little(0x1000, 8) + code
        let path = "\(root)/bin/\(name)"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o755)
        guard descriptor >= 0, write(descriptor, file, file.count) == file.count else {
            throw SetupFailure("cannot write \(path)")
        }
        close(descriptor)
        return "/bin/\(name)"
    }

    /// A program that makes one system call and exits with its errno, 0 for none.
    func call(_ number: UInt32, _ first: UInt32 = 0, _ second: UInt32 = 0, _ third: UInt32 = 0) throws -> String {
        func word(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32($0))) } }
        let load: [UInt8] = [0xB8] + word(number) + [0xBF] + word(first) + [0xBE] + word(second) + [0xBA] + word(third)
        return try program("call-\(number)-\(first)", load + [0x0F, 0x05] + Self.exitWithErrno)
    }

    /// `eax` negative: exit with its value, else with 0.
    static let exitWithErrno: [UInt8] = [
        0x31, 0xFF,  // xor edi, edi
        0x85, 0xC0,  // test eax, eax
        0x79, 0x04,  // jns +4
        0xF7, 0xD8,  // neg eax
        0x89, 0xC7,  // mov edi, eax
        0xB8, 0x3C, 0, 0, 0,  // mov eax, exit
        0x0F, 0x05,
    ]
}
