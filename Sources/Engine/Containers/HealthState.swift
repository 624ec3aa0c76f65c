import Model

/// A container's health check, with docker's defaults filled in.
package struct HealthSettings: Sendable, Equatable {
    /// The command as the exec gets it.
    package var command: [String]
    package var interval: Duration = .seconds(30)
    package var timeout: Duration = .seconds(30)
    package var startPeriod: Duration = .zero
    package var startInterval: Duration = .seconds(5)
    package var retries = 3

    /// Nil where there is none, or it was switched off.
    package init?(_ config: Docker.HealthConfig?, shell: [String]?) {
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
    package static func merged(_ wanted: Docker.HealthConfig?, _ image: ImageHealthcheck?) throws -> Docker.HealthConfig? {
        for (name, value) in [
            ("Interval", wanted?.interval), ("Timeout", wanted?.timeout), ("StartPeriod", wanted?.startPeriod),
            ("StartInterval", wanted?.startInterval),
        ] {
            if let value, value != 0, value < 1_000_000 {
                throw Fault(.invalid, "\(name) in Healthcheck cannot be less than 1ms")
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
package struct HealthState: Sendable {
    package enum Word: String, Sendable { case starting, healthy, unhealthy }

    package struct Probe: Sendable {
        package var start: Timestamp
        package var end: Timestamp
        package var exitCode: Int32
        package var output: String

        package init(start: Timestamp, end: Timestamp, exitCode: Int32, output: String) {
            self.start = start
            self.end = end
            self.exitCode = exitCode
            self.output = output
        }
    }

    package static let kept = 5

    package var word = Word.starting
    package var failingStreak = 0
    package var probes: [Probe] = []

    /// Nil where the container has no check.
    package init?(_ description: ContainerDescription) {
        guard HealthSettings(description.config.healthcheck, shell: description.config.shell) != nil else { return nil }
    }

    /// Takes a probe's result in. True when the word has changed.
    package mutating func took(_ probe: Probe, settings: HealthSettings, inStartPeriod: Bool) -> Bool {
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

    package var docker: Docker.Health {
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
