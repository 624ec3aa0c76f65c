import API
import Engine
import Linux
import Logging
import Model
import Registry

/// `skiffd`. Answers the process's exit code: 0, 1 when it could not start, 125 for a command line that makes no sense.
public func daemonMain() -> Int32 {
    if CommandLine.arguments.dropFirst().first == "registry" {
        return registryMain(Array(CommandLine.arguments.dropFirst(2)))
    }
    let options: DaemonOptions
    do {
        switch try DaemonOptions.parse(Array(CommandLine.arguments.dropFirst())) {
        case .help:
            DaemonProcess.writeOutput(DaemonOptions.usage)
            return 0
        case .version:
            DaemonProcess.writeOutput("skiffd version \(Skiff.version)\n")
            return 0
        case .validate:
            DaemonProcess.writeOutput("configuration OK\n")
            return 0
        case .run(let parsed): options = parsed
        }
    } catch {
        DaemonProcess.writeError(Array("skiffd: \(error)\nSee 'skiffd --help'.\n".utf8))
        return 125
    }
    do {
        try run(options)
        return 0
    } catch {
        DaemonProcess.writeError(Array("skiffd: \(Fault(error))\n".utf8))
        return 1
    }
}

private func run(_ options: DaemonOptions) throws {
    DaemonProcess.limitHeaps(2)
    let signals = try SignalPipe([Signal.hangUp, Signal.interrupt, Signal.user1, Signal.terminate])
    Signals.ignore(Signal.pipe)
    Files.setUmask(0o022)
    let format = options.logFormat
    DaemonLog.level = options.level
    LoggingSystem.bootstrap { DaemonLog(label: $0, format: format) }
    let log = Logger(label: "skiffd")
    let daemon = Daemon(options: options, log: log)
    let lock = try daemon.takeRunRoot()
    let sockets = try daemon.listen()
    if (try? DaemonProcess.raiseFileLimit()) == nil { log.debug("the limit of open files stays as it is") }
    let failure = FirstFault()
    let start = Task {
        do {
            try await daemon.start(sockets)
            await daemon.watchIdleness()
        } catch {
            failure.note(Fault(error))
            SignalPipe.raise(Signal.terminate)
        }
    }
    waiting: while true {
        switch try signals.next() {
        case Signal.hangUp: reload(options, log)
        case Signal.user1: daemon.report()
        default: break waiting
        }
    }
    try? DaemonProcess.notify("STOPPING=1")
    start.cancel()
    let stopped = Monitor(false)
    Task {
        await daemon.stop()
        stopped.update { $0 = true }
    }
    // a second signal ends at once
    try startThread {
        _ = try? signals.next()
        stopped.update { $0 = true }
    }
    _ = stopped.wait { $0 ? true : nil }
    daemon.leaveRunRoot(lock)
    if let fault = failure.fault { throw fault }
}

/// SIGHUP: the level of the log, from the file and the flags anew.
private func reload(_ options: DaemonOptions, _ log: Logger) {
    do {
        guard case .run(let fresh) = try DaemonOptions.parse(Array(CommandLine.arguments.dropFirst())) else { return }
        DaemonLog.level = fresh.level
        log.notice("settings read again: the level of the log is \(fresh.level); other settings need a restart")
    } catch {
        log.error("settings stay as they are: \(error)")
    }
}

/// Signal numbers (signal(7)).
private enum Signal {
    static let hangUp: Int32 = 1
    static let interrupt: Int32 = 2
    static let user1: Int32 = 10
    static let pipe: Int32 = 13
    static let terminate: Int32 = 15
}
