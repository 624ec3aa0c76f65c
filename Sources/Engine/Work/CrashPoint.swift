import Linux

/// Steps of a container's life (`CrashPlace`).
enum CrashPoint: String, CrashPlace {
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
}
