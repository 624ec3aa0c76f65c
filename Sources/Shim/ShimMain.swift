import Linux
import Model
import Runtime

/// `skiff-runtime shim`: the parent of one container, started by the engine with descriptor 3 as its control connection.
/// Answers the process's exit code: 0 when the container ran and everything is cleaned up.
public func shimMain(arguments: [String]) -> Int32 {
    let controlNumber: CInt = 3
    do {
        let arguments = try ShimArguments(arguments)
        guard Processes.isOpen(controlNumber) else { throw Fault(.invalid, "shim needs a control connection as descriptor 3") }
        // Container processes are made from this program's image: they must not be able to write to it (CVE-2019-5736)
        try SealedCopy.enter()
        var kept = [controlNumber, arguments.netns].compactMap { $0 } + arguments.hold
        if SealedCopy.mount >= 0 { kept.append(SealedCopy.mount) }
        try closeStrangers(keeping: kept)
        let forerunner = Forerunner(closing: SealedCopy.mount)
        try Processes.closeOnExec(from: controlNumber)
        let control = Descriptor(owning: controlNumber)
        // The engine's threads may run with every signal blocked, and that is inherited
        Signals.reset()
        let signals = try SignalWake()
        try Children.adoptOrphans()
        _ = try? Files.changeFolder("/")
        let keeper: ContainerKeeper
        do { keeper = try ContainerSetup.make(arguments, forerunner) } catch {
            let fault = Fault(error)
            leaveRecord(fault, arguments.bundle)
            try FailedSetup(control, fault: fault).run()
            return 1
        }
        try keeper.connect(control)
        try keeper.run(signals)
        return keeper.startFault == nil ? 0 : 1
    } catch {
        ShimDiagnostics.say(Fault(error).description)
        return 125
    }
}

/// For an engine that comes after the one that asked.
private func leaveRecord(_ fault: Fault, _ bundle: String) {
    guard let bytes = try? SmallFile.read(bundle + "/shim.json"), let config = try? ShimConfig(json: bytes) else { return }
    let record = ExitRecord(neverRan: config.id, fault, at: Timestamp(nanoseconds: Clock.realtime))
    try? SmallFile.replace(bundle + "/" + ContainerSetup.exitName, with: record.json)
}

/// Whatever else was inherited is not ours to keep open.
private func closeStrangers(keeping: [CInt]) throws {
    var first: CInt = 3
    for number in Set(keeping).sorted() {
        if number > first { try Processes.close(from: first, to: number - 1) }
        first = number + 1
    }
    try Processes.close(from: first)
}

/// Lines for whoever looks into a shim's standard error (the engine keeps it as `shim.log` in the bundle).
enum ShimDiagnostics {
    static func say(_ text: String) { try? PollIO.writeAll(Array("skiff-runtime shim: \(text)\n".utf8), to: 2) }
}

/// The container could not be made: every request is answered by the reason, the first `start` is the last.
final class FailedSetup: Pollable, ControlOwner {
    private let fault: Fault
    private var connection: ControlConnection?
    private var isTold = false

    init(_ control: consuming Descriptor, fault: Fault) throws {
        self.fault = fault
        connection = try ControlConnection(control, owner: self)
    }

    func run() throws {
        var turn = PollTurn()
        let giveUp = Clock.monotonic + 60_000_000_000
        while let connection, !connection.isClosed, !(isTold && connection.isFlushed), Clock.monotonic < giveUp {
            turn.begin()
            turn.wake(at: giveUp)
            register(in: &turn)
            _ = try turn.run()
        }
    }

    func register(in turn: inout PollTurn) { connection?.register(in: &turn) }
    func ready(_ events: PollSet.Events, part: Int) {}

    func received(_ request: ShimRequest, _ descriptors: PassedDescriptors, on connection: ControlConnection) {
        connection.reply(request.id, .fault(fault))
        if case .start = request.action { isTold = true }
    }
}
