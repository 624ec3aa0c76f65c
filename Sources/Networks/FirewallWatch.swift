import Linux
import Model

/// Hears of other programs that take our table, or parts of it, away (`nft flush ruleset`, a firewall that loads its rules anew), so
/// that published ports come back within a second and not with the next change; and of changes to their own rules, by which
/// published ports are judged.
final class FirewallWatch: Sendable {
    /// Its closing ends the thread.
    private let stop: SharedEnd

    struct News: Sendable {
        /// Our table, or a part of it, is gone.
        var isLost = false
        /// Somebody has changed a table that is not ours.
        var isOthers = false
    }

    /// More follows the first within this time; a program that goes on meets us so often and no oftener.
    private static let pause: (first: CInt, next: CInt) = (100, 700)

    /// For the network namespace of the calling thread. `port`: of the socket whose changes are our own.
    init(_ table: TablesRequest, ownPort port: UInt32, told: @escaping @Sendable (News) -> Void) throws {
        let socket = try NetlinkSocket(.netfilter)
        try socket.subscribe(TablesRequest.changes)
        let ends = try StreamCalls.pipe().split()
        stop = SharedEnd(Descriptor(owning: ends.write))
        let box = Handover(socket)
        try startThread {
            let end = Descriptor(owning: ends.read)
            guard let socket = box.take() else { return }
            var last: Int64 = 0
            while SharedEnd.waits(for: socket.raw, end.raw) {
                var news = News()
                Self.read(socket, table, port, into: &news)
                guard news.isLost || news.isOthers else { continue }
                let now = KernelClock.monotonic
                if SharedEnd.isOver(end.raw, now - last > 2_000_000_000 ? Self.pause.first : Self.pause.next) { return }
                last = KernelClock.monotonic
                Self.read(socket, table, port, into: &news)
                told(news)
            }
        }
    }

    func close() { stop.close() }

    /// All that has come: a flush tells of itself in many datagrams, and a pause between each two of them would be felt. A program
    /// that never ends to change its rules is heard out a thousand datagrams at a time.
    private static func read(_ socket: NetlinkSocket, _ table: TablesRequest, _ port: UInt32, into news: inout News) {
        for _ in 0..<1_000 {
            guard let events = try? socket.events() else {
                news = News(isLost: true, isOthers: true)
                return
            }
            if events.isEmpty { return }
            for event in events where event.port != port {
                if table.isLoss(event) { news.isLost = true }
                // Those of bridges, ARP and devices say nothing about what we follow; our own guard of bridges is one.
                if [1, 2, 10].contains(event.payload.first), table.isOthers(event) { news.isOthers = true }
            }
        }
    }
}

/// A descriptor that is closed once, from whatever thread.
final class SharedEnd: Sendable {
    private let raw: Monitor<CInt>
    init(_ descriptor: consuming Descriptor) { raw = Monitor(descriptor.release()) }
    deinit { close() }

    func close() {
        let open = raw.update { raw in
            defer { raw = -1 }
            return raw
        }
        if open >= 0 { _ = Descriptor(owning: open) }
    }

    /// Until something has come; false when the watch is over.
    static func waits(for socket: CInt, _ end: CInt) -> Bool {
        do {
            while true {
                // Nil: a signal
                guard let ready = try StreamCalls.wait([(socket, .read), (end, .read)], milliseconds: -1) else { continue }
                return !ready[1].readable
            }
        } catch { return false }
    }

    static func isOver(_ end: CInt, _ milliseconds: CInt) -> Bool {
        let ready = try? StreamCalls.wait([(end, .read)], milliseconds: milliseconds)
        return ready?.first?.readable ?? false
    }
}
