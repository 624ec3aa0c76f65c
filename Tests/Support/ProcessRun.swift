import Glibc

public struct ProcessResult: Sendable {
    /// The exit code, or 128 + the signal's number.
    public var status: Int32
    public var output: String
    public var error: String
    public var seconds: Double
}

/// A program started by a test, with pipes for all three streams.
public final class RunningProcess {
    public let pid: pid_t
    public private(set) var input: CInt
    public let output: CInt
    public let error: CInt
    private let started = monotonic()
    private var result: ProcessResult?

    public init(_ arguments: [String], environment: [String: String] = [:], directory: String? = nil) throws {
        var pipes: [CInt] = []
        for _ in 0..<3 {
            var pair: [CInt] = [0, 0]
            guard pipe(&pair) == 0 else { throw SetupFailure("pipe: errno \(errno)") }
            for end in pair { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
            pipes += pair
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, pipes[0], 0)
        posix_spawn_file_actions_adddup2(&actions, pipes[3], 1)
        posix_spawn_file_actions_adddup2(&actions, pipes[5], 2)
        let arguments = directory.map { ["/usr/bin/env", "-C", $0] + arguments } ?? arguments
        var words: [String] = []
        var index = 0
        while let entry = environ[index] {
            let word = String(cString: entry)
            if !environment.keys.contains(where: { word.hasPrefix($0 + "=") }) { words.append(word) }
            index += 1
        }
        words += environment.map { "\($0.key)=\($0.value)" }
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        var child: pid_t = 0
        // Tests run on threads that block signals: an engine that inherited that would not hear SIGTERM.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let code = posix_spawnp(&child, arguments[0], &actions, &attributes, &argv, &envp)
        [pipes[0], pipes[3], pipes[5]].forEach { close($0) }
        guard code == 0 else {
            [pipes[1], pipes[2], pipes[4]].forEach { close($0) }
            throw SetupFailure("cannot start \(arguments[0]): \(String(cString: strerror(code)))")
        }
        pid = child
        input = pipes[1]
        output = pipes[2]
        error = pipes[4]
    }

    public func write(_ text: String) { _ = text.withCString { Glibc.write(input, $0, strlen($0)) } }

    public func closeInput() {
        if input >= 0 { close(input) }
        input = -1
    }

    public func signal(_ number: CInt) { kill(pid, number) }

    /// Reads both streams to their ends and waits; kills with SIGKILL after the timeout.
    public func finish(timeout: Double = 60) -> ProcessResult {
        if let result { return result }
        closeInput()
        var texts: [[UInt8]] = [[], []]
        var open = [output, error]
        let deadline = monotonic() + timeout
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while open.contains(where: { $0 >= 0 }) {
            var polls = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            let left = deadline - monotonic()
            if left <= 0 {
                kill(pid, SIGKILL)
                break
            }
            _ = poll(&polls, 2, CInt(min(left * 1000, 1000)) + 1)
            for index in 0..<2 where polls[index].revents != 0 {
                let count = read(open[index], &chunk, chunk.count)
                if count > 0 { texts[index] += chunk[..<count] } else { open[index] = -1 }
            }
        }
        var status: CInt = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        close(output)
        close(error)
        let code = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
        let made = ProcessResult(
            status: code, output: String(decoding: texts[0], as: UTF8.self), error: String(decoding: texts[1], as: UTF8.self),
            seconds: monotonic() - started)
        result = made
        return made
    }
}

/// Runs a program to its end.
@discardableResult
public func run(
    _ arguments: [String], input: String? = nil, environment: [String: String] = [:], directory: String? = nil,
    timeout: Double = 60
) -> ProcessResult {
    do {
        let process = try RunningProcess(arguments, environment: environment, directory: directory)
        if let input { process.write(input) }
        return process.finish(timeout: timeout)
    } catch {
        return ProcessResult(status: 127, output: "", error: "\(error)", seconds: 0)
    }
}

public func monotonic() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Waits until a condition holds; false after the timeout.
public func eventually(timeout: Double = 10, _ condition: () -> Bool) -> Bool {
    let deadline = monotonic() + timeout
    while monotonic() < deadline {
        if condition() { return true }
        usleep(5_000)
    }
    return condition()
}
