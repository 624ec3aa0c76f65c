/// What one sandbox may take, so that the others do not notice. Times in nanoseconds.
struct NamesLimits: Sendable {
    /// Datagrams that are read from one socket before the others have their turn.
    var datagramsPerTurn = 8
    /// Queries a second that one sandbox has served in the long run, and how many at once.
    var queriesPerSecond: Int64 = 20_000
    var burst: Int64 = 2_000
    /// Queries of one sandbox, and of all, under way to other servers.
    var pendingPerSandbox = 128
    var pending = 4_096
    /// TCP connections of one sandbox, and of all.
    var streamsPerSandbox = 16
    var streams = 512
    /// A TCP connection without a query ends after so long (RFC 7766 6.2.3).
    var streamIdle: Int64 = 10_000_000_000
    /// Longest query; longer ones are none that anybody sends.
    var queryBytes = 4_096
}

/// How many queries a sandbox has left: full speed up to a burst, then so many a second (a token bucket, kept as the time at
/// which it would be full again).
struct QueryBudget: Sendable {
    private let interval: Int64
    private let depth: Int64
    private var full: Int64 = 0

    init(_ limits: NamesLimits) {
        interval = 1_000_000_000 / max(1, limits.queriesPerSecond)
        depth = interval * limits.burst
    }

    mutating func take(now: Int64) -> Bool {
        let start = max(full, now)
        guard start - now <= depth else { return false }
        full = start + interval
        return true
    }

    /// When a good part of it will be there again.
    var refillTime: Int64 { full - depth / 2 }
}
