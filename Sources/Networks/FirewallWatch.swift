import Linux
import Model

/// Hears of other programs that take our table, or parts of it, away (`nft flush ruleset`, a firewall that loads its rules anew), so
/// that published ports come back within a second and not with the next change.
final class FirewallWatch: Sendable {
    /// Its closing ends the thread.
    private let stop: SharedEnd

    /// More deletions follow the first within this time; a program that goes on deleting meets us every two seconds.
    private static let pause: (first: CInt, next: CInt) = (200, 2_000)

    /// For the network namespace of the calling thread. `port`: of the socket whose changes are our own.
    init(_ table: TablesRequest, ownPort port: UInt32, lost: @escaping @Sendable () -> Void) throws {
        let socket = try NetlinkSocket(.netfilter)
        try socket.subscribe(TablesRequest.changes)
        let ends = try StreamCalls.pipe().split()
        stop = SharedEnd(Descriptor(owning: ends.write))
        let box = Handover(socket)
        try startThread {
            let end = Descriptor(owning: ends.read)
            guard let socket = box.take() else { return }
            var last: Int64 = 0
            while Self.waits(for: socket.raw, end.raw) {
                guard Self.tellsOfLoss(socket, table, port) else { continue }
                let now = KernelClock.monotonic
                let isFresh = now - last > 10_000_000_000
                last = now
                if Self.isOver(end.raw, isFresh ? Self.pause.first : Self.pause.next) { return }
                lost()
            }
        }
    }

    func close() { stop.close() }

    /// Until something has come; false when the watch is over.
    private static func waits(for socket: CInt, _ end: CInt) -> Bool {
        do {
            while true {
                // Nil: a signal
                guard let ready = try StreamCalls.wait([(socket, .read), (end, .read)], milliseconds: -1) else { continue }
                return !ready[1].readable
            }
        } catch { return false }
    }

    private static func isOver(_ end: CInt, _ milliseconds: CInt) -> Bool {
        let ready = try? StreamCalls.wait([(end, .read)], milliseconds: milliseconds)
        return ready?.first?.readable ?? false
    }

    private static func tellsOfLoss(_ socket: NetlinkSocket, _ table: TablesRequest, _ port: UInt32) -> Bool {
        guard let events = try? socket.events() else { return true }
        return events.contains { $0.port != port && table.isLoss($0) }
    }
}

/// A descriptor that is closed once, from whatever thread.
private final class SharedEnd: Sendable {
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
}
