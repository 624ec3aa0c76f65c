import Linux

/// Something that waits for descriptors in the shim's one loop.
package protocol Pollable: AnyObject {
    /// Adds what it waits for now; called before each wait.
    func register(in turn: inout PollTurn)
    /// One of its descriptors has something. It may have been closed since: then nothing is to be done.
    func ready(_ events: PollSet.Events, part: Int)
}

/// What the loop waits for in one turn.
package struct PollTurn {
    private var set = PollSet()
    private var owners: [(owner: any Pollable, part: Int)] = []
    private var deadline: Int64?

    package init() {}

    /// Forgets the last turn, keeps its memory.
    package mutating func begin() {
        set.removeAll()
        owners.removeAll(keepingCapacity: true)
        deadline = nil
    }

    /// `part` tells an owner's descriptors apart.
    package mutating func add(_ descriptor: CInt, _ events: PollSet.Events, _ owner: any Pollable, part: Int = 0) {
        set.add(descriptor, events, token: UInt64(owners.count))
        owners.append((owner, part))
    }

    /// The wait ends at that time of the monotonic clock at the latest.
    package mutating func wake(at time: Int64?) {
        guard let time else { return }
        deadline = min(deadline ?? time, time)
    }

    /// Waits and hands out what came; answers whether anything did.
    package mutating func run() throws -> Bool {
        var milliseconds: Int?
        if let deadline { milliseconds = Int(max(0, deadline - Clock.monotonic) + 999_999) / 1_000_000 }
        try set.wait(milliseconds: milliseconds)
        let ready = set.ready
        for (token, events) in ready where token < UInt64(owners.count) {
            let (owner, part) = owners[Int(token)]
            owner.ready(events, part: part)
        }
        owners.removeAll(keepingCapacity: true)
        return !ready.isEmpty
    }
}

/// A descriptor that a class can hold, give away and close at a time of its choosing.
package final class Handle {
    private let descriptor: Descriptor
    package var raw: CInt { descriptor.raw }

    package init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
}

extension Handle {
    /// Nil for none.
    package convenience init?(_ descriptor: consuming Descriptor?) {
        guard let descriptor = descriptor.take() else { return nil }
        self.init(descriptor)
    }
}
