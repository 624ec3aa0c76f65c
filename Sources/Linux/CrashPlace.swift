/// Named places at which a test lets this process die: `SKIFFD_CRASH_AT=store.placed` in its environment kills it there, as power cuts
/// and bugs would. What the next engine then finds is what must be right.
public protocol CrashPlace: RawRepresentable<String>, CaseIterable, Sendable {}

extension CrashPlace {
    public func reach() { if let wanted = wantedCrashPlace, wanted == rawValue { killThisProcess() } }
}

private let wantedCrashPlace = environmentVariable("SKIFFD_CRASH_AT")
