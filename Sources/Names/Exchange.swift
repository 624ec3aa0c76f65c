/// Which servers did not answer lately, so that a dead one costs one query its patience and not every query.
package struct ServerBook {
    /// So long a server that failed is asked last.
    package static let suspicion: Int64 = 10_000_000_000
    private var silent: [NameServer: Int64] = [:]

    package init() {}

    /// The order to ask in: as configured, those that failed lately behind the others.
    package mutating func order(_ servers: [NameServer], now: Int64) -> [NameServer] {
        if silent.isEmpty { return servers }
        silent = silent.filter { $0.value > now }
        return servers.filter { silent[$0] == nil } + servers.filter { silent[$0] != nil }
    }

    package mutating func failed(_ server: NameServer, now: Int64) {
        // Bounded, whatever servers containers name
        if silent.count < 1024 { silent[server] = now + Self.suspicion }
    }

    package mutating func answered(_ server: NameServer) { if !silent.isEmpty { silent[server] = nil } }
}

/// One query on its way to other servers. Pure: told what came and what time it is, it says what is to be done.
///
/// The servers are asked in order, the next one as soon as one refuses, or after a moment of silence while the earlier ones may
/// still answer; the first good answer counts. The order is kept because the first server often knows names that others do not.
package struct Exchange {
    /// What is to be done next.
    package enum Step: Equatable {
        case wait
        /// Attempt number so-and-so of `attempts`.
        case ask(Int)
        /// The client's answer, under the client's id; the exchange is over.
        case reply([UInt8])
    }

    package struct Attempt: Equatable {
        package let server: NameServer
        package let isStream: Bool
        /// What the answer must bear.
        package let id: UInt16
        package var isOpen = true
    }

    /// The next server is asked after so much silence (ns).
    package static let patience: Int64 = 300_000_000
    /// The C library's clients give up after five seconds; they shall hear from us before.
    package static let lifetime: Int64 = 4_500_000_000
    /// Rounds over all servers: after the first, one second apart.
    package static let rounds = 3
    package static let roundTime: Int64 = 1_200_000_000

    package let query: [UInt8]
    package let message: DNSMessage
    /// The client came over TCP, and takes answers of every size.
    package let isStream: Bool
    package let deadline: Int64
    private let begun: Int64
    private let servers: [NameServer]
    package private(set) var attempts: [Attempt] = []
    private var next = 0
    private var round = 0
    /// When to ask the next server, or to give up.
    package private(set) var wakeTime: Int64
    /// What a server that would not help has said.
    private var refusal: [UInt8]?

    package init(_ query: [UInt8], _ message: DNSMessage, servers: [NameServer], isStream: Bool, now: Int64) {
        self.query = query
        self.message = message
        self.servers = servers
        self.isStream = isStream
        begun = now
        deadline = now + Self.lifetime
        wakeTime = now
    }

    private var limit: Int { DNSAnswer.limit(message, isStream: isStream) }
    private var isWaiting: Bool { attempts.contains { $0.isOpen } }

    /// The query as the attempt sends it.
    package func bytes(of attempt: Int) -> [UInt8] { DNSAnswer.renumbered(query, id: attempts[attempt].id) }

    package mutating func begin(id: UInt16, now: Int64) -> Step { askNext(id: id, now: now) }

    /// The time that it waited for has come.
    package mutating func timePassed(id: UInt16, book: inout ServerBook, now: Int64) -> Step {
        if now >= deadline {
            for attempt in attempts where attempt.isOpen { book.failed(attempt.server, now: now) }
            return giveUp()
        }
        guard now >= wakeTime else { return .wait }
        for attempt in attempts where attempt.isOpen { book.failed(attempt.server, now: now) }
        return askNext(id: id, now: now)
    }

    /// The attempt came to nothing: nobody listens there, no way leads there, the connection broke.
    package mutating func failed(_ attempt: Int, id: UInt16, book: inout ServerBook, now: Int64) -> Step {
        guard attempts[attempt].isOpen else { return .wait }
        attempts[attempt].isOpen = false
        let server = attempts[attempt].server
        // Not every server talks TCP
        if attempts[attempt].isStream, !hasAsked(server, isStream: false) {
            return ask(server, isStream: false, id: id, now: now)
        }
        book.failed(server, now: now)
        return goOn(id: id, now: now)
    }

    /// Bytes came for an attempt. What is not an answer to its query is passed over: somebody guesses, or it comes too late.
    package mutating func received(_ bytes: [UInt8], for attempt: Int, id: UInt16, book: inout ServerBook, now: Int64) -> Step {
        guard attempts[attempt].isOpen, let answer = try? DNSMessage(bytes), answer.id == attempts[attempt].id,
            answer.answers(message)
        else { return .wait }
        let server = attempts[attempt].server
        attempts[attempt].isOpen = false
        if answer.code == DNSCode.serverFailure.rawValue || answer.code == DNSCode.refused.rawValue {
            refusal = bytes
            return goOn(id: id, now: now)
        }
        book.answered(server)
        if answer.isTruncated, isStream, !hasAsked(server, isStream: true) {
            return ask(server, isStream: true, id: id, now: now)
        }
        return .reply(DNSAnswer.passed(bytes, message, query, limit: limit))
    }

    private func hasAsked(_ server: NameServer, isStream: Bool) -> Bool {
        attempts.contains { $0.server == server && $0.isStream == isStream }
    }

    private mutating func goOn(id: UInt16, now: Int64) -> Step {
        if next < servers.count { return askNext(id: id, now: now) }
        if isWaiting { return .wait }
        // Everybody has said no: asking again at once would change nothing
        return giveUp()
    }

    private mutating func askNext(id: UInt16, now: Int64) -> Step {
        if next == servers.count {
            round += 1
            guard round < Self.rounds, !servers.isEmpty else {
                wakeTime = deadline
                return isWaiting ? .wait : giveUp()
            }
            next = 0
        }
        let server = servers[next]
        next += 1
        return ask(server, isStream: isStream, id: id, now: now)
    }

    private mutating func ask(_ server: NameServer, isStream: Bool, id: UInt16, now: Int64) -> Step {
        attempts.append(Attempt(server: server, isStream: isStream, id: id))
        // Within a round the next server soon; a new round in its own time
        let inRound = now + Self.patience
        let newRound = max(inRound, begun + Int64(round + 1) * Self.roundTime)
        wakeTime = min(deadline, next < servers.count ? inRound : newRound)
        return .ask(attempts.count - 1)
    }

    private func giveUp() -> Step {
        if let refusal { return .reply(DNSAnswer.passed(refusal, message, query, limit: limit)) }
        return .reply(DNSAnswer.make(message, query, code: .serverFailure, limit: limit))
    }
}
