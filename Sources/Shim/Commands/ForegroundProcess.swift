import Linux
import Model

/// A container's process followed from the command line: signals are passed on, a terminal is relayed, until it ends.
struct ForegroundProcess: ~Copyable {
    private let signals: SignalDescriptor

    /// Blocks the signals from now on: one that comes while the container is made is passed on afterwards.
    init() throws {
        // All that can be caught, but for those of faults, of job control by the terminal's own rules, and SIGURG.
        var mask = UInt64.max
        for number: UInt64 in [4, 5, 6, 7, 8, 9, 11, 19, 23, 31, 32, 33] { mask &= ~(1 << (number - 1)) }
        signals = try SignalDescriptor(mask: mask)
    }

    mutating func follow(_ pidfd: CInt, pid: CInt, terminal: consuming Descriptor?) throws -> ExitStatus {
        guard let master = consume terminal else { return try wait(pidfd, nil) }
        let raw = RawTerminal(0)
        defer { raw?.restore() }
        resize(master.raw)
        return try wait(pidfd, master.raw)
    }

    private func resize(_ master: CInt) {
        if let size = Terminals.size(0) { try? Terminals.setSize(master, rows: size.rows, columns: size.columns) }
    }

    private mutating func wait(_ pidfd: CInt, _ master: CInt?) throws -> ExitStatus {
        var readsInput = master != nil
        var readsMaster = master != nil
        var status: ExitStatus?
        while true {
            var entries = [PollEntry(signals.descriptor.raw), PollEntry(status == nil ? pidfd : -1)]
            entries.append(PollEntry(readsMaster ? master ?? -1 : -1))
            entries.append(PollEntry(readsInput && status == nil ? 0 : -1))
            // After the end what the terminal still holds is read, for as long as it comes at once.
            let count = try Polling.wait(&entries, milliseconds: status == nil ? -1 : 50)
            if let status, count == 0 || !readsMaster { return status }
            if entries[0].hasInput { passOn(pidfd, master) }
            if readsMaster, entries[2].hasInput || entries[2].isHungUp, let master { readsMaster = relay(master, to: 1) }
            if readsInput, entries[3].hasInput || entries[3].isHungUp, let master { readsInput = relay(0, to: master) }
            if status == nil, entries[1].hasInput { status = try Processes.wait(pidfd: pidfd) }
            if let status, !readsMaster { return status }
        }
    }

    /// False at the end of the stream.
    private func relay(_ from: CInt, to target: CInt) -> Bool {
        guard let bytes = try? Files.readSome(from, limit: 32768), !bytes.isEmpty else { return false }
        return (try? Files.write(target, bytes)) != nil
    }

    private func passOn(_ pidfd: CInt, _ master: CInt?) {
        while let signal = signals.next() {
            switch signal {
            case Signals.child: reapOrphans(pidfd)
            case Signals.windowChange where master != nil: if let master { resize(master) }
            case Signals.pipe: continue
            default: try? Processes.signal(pidfd: pidfd, signal)
            }
        }
    }

    /// Processes that the container left to this one (subreaper); the container's own is reaped by its pidfd.
    private func reapOrphans(_ pidfd: CInt) { Processes.reapOthers(than: pidfd) }
}
