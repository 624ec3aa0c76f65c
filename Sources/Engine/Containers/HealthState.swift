import Model

/// A container's health check, with docker's defaults filled in.
struct HealthSettings: Sendable, Equatable {
    /// The command as the exec gets it.
    var command: [String]
    var interval: Duration = .seconds(30)
    var timeout: Duration = .seconds(30)
    var startPeriod: Duration = .zero
    var startInterval: Duration = .seconds(5)
    var retries = 3

    /// Nil where there is none, or it was switched off.
    init?(_ config: Docker.HealthConfig?, shell: [String]?) {
        guard let config, let test = config.test, let kind = test.first else { return nil }
        switch kind {
        case "CMD": command = Array(test.dropFirst())
        case "CMD-SHELL": command = (shell ?? ["/bin/sh", "-c"]) + [test.dropFirst().joined(separator: " ")]
        default: return nil
        }
        if let value = config.interval, value > 0 { interval = .nanoseconds(value) }
        if let value = config.timeout, value > 0 { timeout = .nanoseconds(value) }
        if let value = config.startPeriod, value > 0 { startPeriod = .nanoseconds(value) }
        if let value = config.startInterval, value > 0 { startInterval = .nanoseconds(value) }
        if let value = config.retries, value > 0 { retries = value }
        if command.isEmpty { return nil }
    }

    /// The request's check over the image's, member by member, as docker merges them.
    static func merged(_ wanted: Docker.HealthConfig?, _ image: ImageHealthcheck?) throws -> Docker.HealthConfig? {
        for value in [wanted?.interval, wanted?.timeout, wanted?.startPeriod, wanted?.startInterval] {
            if let value, value != 0, value < 1_000_000 {
                throw Fault(.invalid, "Interval, Timeout, StartPeriod and StartInterval in Healthcheck cannot be less than 1ms")
            }
        }
        if let retries = wanted?.retries, retries < 0 { throw Fault(.invalid, "Retries in Healthcheck cannot be negative") }
        guard let image, !(wanted?.test?.first == "NONE") else { return wanted }
        var health = wanted ?? Docker.HealthConfig()
        if (health.test ?? []).isEmpty { health.test = image.test }
        func fill(_ value: inout Int?, _ other: Int64) { if (value ?? 0) == 0, other != 0 { value = Int(other) } }
        fill(&health.interval, image.interval)
        fill(&health.timeout, image.timeout)
        fill(&health.startPeriod, image.startPeriod)
        fill(&health.startInterval, image.startInterval)
        if (health.retries ?? 0) == 0, image.retries != 0 { health.retries = image.retries }
        return (health.test ?? []).isEmpty ? nil : health
    }
}

/// How the last checks went.
struct HealthState: Sendable {
    enum Word: String, Sendable { case starting, healthy, unhealthy }

    struct Probe: Sendable {
        var start: Timestamp
        var end: Timestamp
        var exitCode: Int32
        var output: String
    }

    static let kept = 5

    var word = Word.starting
    var failingStreak = 0
    var probes: [Probe] = []

    /// Nil where the container has no check.
    init?(_ description: ContainerDescription) {
        guard HealthSettings(description.config.healthcheck, shell: description.config.shell) != nil else { return nil }
    }

    /// Takes a probe's result in. True when the word has changed.
    mutating func took(_ probe: Probe, settings: HealthSettings, inStartPeriod: Bool) -> Bool {
        probes.append(probe)
        if probes.count > Self.kept { probes.removeFirst() }
        let before = word
        if probe.exitCode == 0 {
            failingStreak = 0
            word = .healthy
        } else if !(word == .starting && inStartPeriod) {
            failingStreak += 1
            if failingStreak >= settings.retries { word = .unhealthy }
        }
        return word != before
    }

    var docker: Docker.Health {
        var health = Docker.Health()
        health.status = word.rawValue
        health.failingStreak = failingStreak
        health.log = probes.map { probe in
            var result = Docker.HealthcheckResult()
            result.start = probe.start.description
            result.end = probe.end.description
            result.exitCode = Int(probe.exitCode)
            result.output = probe.output
            return result
        }
        return health
    }
}
