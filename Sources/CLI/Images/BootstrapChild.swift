import Client
import Linux
import Model

/// A program whose two outputs are read side by side. Signals to us end it first, so that it can clean up after itself.
final class BootstrapChild {
    private let pid: CInt
    private let output: Descriptor
    private let errors: Descriptor
    private let signals: Descriptor
    private var interrupted: CInt?
    private static let watched = [SignalCalls.interrupt, SignalCalls.terminate, 1]

    init(_ program: String, _ words: [String]) throws {
        let (readOutput, writeOutput) = try StreamCalls.pipe().split()
        let (readErrors, writeErrors) = try StreamCalls.pipe().split()
        output = Descriptor(owning: readOutput)
        errors = Descriptor(owning: readErrors)
        signals = try SignalCalls.descriptor(for: Self.watched)
        pid = try Self.start(program, words, Descriptor(owning: writeOutput), Descriptor(owning: writeErrors))
    }

    deinit { SignalCalls.unblock(Self.watched) }

    private static func start(
        _ program: String, _ words: [String], _ output: consuming Descriptor, _ errors: consuming Descriptor
    ) throws -> CInt {
        let environment =
            FileCalls.environment.filter { !$0.hasPrefix("LC_ALL=") && !$0.hasPrefix("DEBIAN_FRONTEND=") }
            + ["LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        do {
            return try LaunchCalls.start(
                program, words, environment: environment, stdout: .descriptor(output.raw), stderr: .descriptor(errors.raw))
        } catch let fault as KernelFault { throw FlagFault("cannot start \(program): \(fault.reason.lowercasedFirst)") }
    }

    /// Reads both outputs to their ends.
    func attend(output use: (UnsafeRawBufferPointer) throws -> Void, errors report: (UnsafeRawBufferPointer) -> Void) throws {
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        var hasOutput = true
        var hasErrors = true
        while hasOutput || hasErrors {
            var wanted: [(fd: CInt, interest: StreamCalls.Interest)] = [(signals.raw, .read)]
            if hasErrors { wanted.append((errors.raw, .read)) }
            if hasOutput { wanted.append((output.raw, .read)) }
            guard let ready = try StreamCalls.wait(wanted, milliseconds: -1) else { continue }
            if ready[0].readable { try takeSignals() }
            for (index, item) in wanted.enumerated().dropFirst() where ready[index].readable {
                let count = try buffer.withUnsafeMutableBytes { try StreamCalls.read(item.fd, into: $0) }
                let isOutput = item.fd == output.raw
                if count == 0 {
                    if isOutput { hasOutput = false } else { hasErrors = false }
                    continue
                }
                try buffer.withUnsafeBytes { bytes in
                    let piece = UnsafeRawBufferPointer(rebasing: bytes[..<count])
                    if isOutput { try use(piece) } else { report(piece) }
                }
            }
        }
    }

    private func takeSignals() throws {
        while let signal = try SignalCalls.next(signals.raw) {
            interrupted = signal
            LaunchCalls.kill(pid, SignalCalls.terminate)
        }
    }

    func wait() throws -> LaunchCalls.Ending {
        let ending = try LaunchCalls.wait(pid)
        return interrupted.map { .signalled($0) } ?? ending
    }

    /// Ends it and waits until it has cleaned up.
    func stop() {
        LaunchCalls.kill(pid, SignalCalls.terminate)
        _ = try? LaunchCalls.wait(pid)
    }
}

/// The program's messages: one line that changes on a terminal, lines otherwise.
final class BootstrapProgress {
    private let isQuiet: Bool
    private let isTerminal: Bool
    private var partial: [UInt8] = []
    private var last: [String] = []
    private var firstError: String?
    private var isShown = false
    private let start = FileCalls.monotonic

    init(quiet: Bool) {
        isQuiet = quiet
        isTerminal = StreamCalls.isTerminal(2)
    }

    func feed(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes {
            guard byte == 0x0A || byte == 0x0D else {
                if partial.count < 4096 { partial.append(byte) }
                continue
            }
            line(String(decoding: partial, as: UTF8.self).trimmingSpaces())
            partial.removeAll(keepingCapacity: true)
        }
    }

    func line(_ text: String) {
        guard !text.isEmpty, text != "done" else { return }
        last.append(text)
        if firstError == nil, text.hasPrefix("E: ") { firstError = text }
        if last.count > 20 { last.removeFirst() }
        guard !isQuiet else { return }
        guard isTerminal else { return Screen.error(text + "\n") }
        let seconds = (FileCalls.monotonic - start) / 1_000_000_000
        let room = max(20, (TerminalCalls.size(2)?.columns ?? 80) - 8)
        Screen.error("\r\u{1B}[2K\(GoText.pad(Int(seconds), 3))s  \(text.prefix(room))")
        isShown = true
    }

    func end() {
        if !partial.isEmpty { line(String(decoding: partial, as: UTF8.self).trimmingSpaces()) }
        partial.removeAll()
        if isShown { Screen.error("\r\u{1B}[2K") }
        isShown = false
    }

    /// The line that tells what went wrong: the first error, as the later ones tell only that there was one.
    var complaint: String {
        let found = firstError ?? last.last { $0.lowercased().contains(text: "error") } ?? last.last ?? "no message"
        return found.hasPrefix("E: ") ? String(found.dropFirst(3)) : found
    }
}
