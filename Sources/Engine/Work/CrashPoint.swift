import Linux

/// Named places at which a test lets the engine die: `SKIFFD_CRASH_AT=start.spawned` in its environment kills it there.
/// What a new engine then finds is what power cuts and bugs leave as well.
enum CrashPoint: String, CaseIterable {
    case createRecorded = "create.recorded"
    case startPrepared = "start.prepared"
    case startSpawned = "start.spawned"
    case startRunning = "start.running"
    case startRecorded = "start.recorded"
    case stopSignalled = "stop.signalled"
    case exitSeen = "exit.seen"
    case exitRecorded = "exit.recorded"
    case removeMarked = "remove.marked"
    case removeCleaned = "remove.cleaned"

    private static let wanted = environmentVariable("SKIFFD_CRASH_AT")

    func reach() { if let wanted = Self.wanted, wanted == rawValue { killThisProcess() } }
}
