import CTLS
import Linux

extension Channel {
    /// Connects to a host, trying its addresses one after the other, each next one after a quarter of a second without an answer
    /// (RFC 8305); the first that answers is taken.
    /// - Parameter timeout: milliseconds for everything but the name.
    /// - Throws: `unknownHost`, `unreachable`, `timedOut`, `cancelled`.
    public static func connect(
        host: String, port: UInt16, timeout: Int = 15_000, idleTimeout: Int = 30_000, cancellation: WireCancellation? = nil
    ) throws -> Channel {
        var dial = Dial(addresses: try resolve(host, port))
        let socket = try dial.run(timeout: timeout, name: "\(host):\(port)", cancellation: cancellation)
        return try Channel(socket, idleTimeout: idleTimeout, cancellation: cancellation)
    }

    private static func resolve(_ host: String, _ port: UInt16) throws -> [[UInt8]] {
        let limit = 16
        var addresses = [UInt8](repeating: 0, count: limit * 128)
        var lengths = [UInt32](repeating: 0, count: limit)
        var error = [CChar](repeating: 0, count: 256)
        let count = ctls_resolve(host, String(port), &addresses, &lengths, CInt(limit), &error, error.count)
        guard count > 0 else { throw WireFault(.unknownHost, "lookup \(host): \(TLSContext.text(error).lowercased())") }
        return (0..<Int(count)).map { Array(addresses[($0 * 128)..<($0 * 128 + Int(lengths[$0]))]) }
    }
}

/// Attempts to reach one of several addresses.
private struct Dial {
    private var addresses: ArraySlice<[UInt8]>
    private var attempts: [SharedDescriptor] = []
    private var failure: KernelFault?

    init(addresses: [[UInt8]]) { self.addresses = Self.interleaved(addresses)[...] }

    /// Families take turns, in the resolver's order otherwise.
    private static func interleaved(_ list: [[UInt8]]) -> [[UInt8]] {
        guard let first = list.first else { return [] }
        let one = list.filter { $0[0] == first[0] }
        let other = list.filter { $0[0] != first[0] }
        var result: [[UInt8]] = []
        for index in 0..<max(one.count, other.count) {
            if index < one.count { result.append(one[index]) }
            if index < other.count { result.append(other[index]) }
        }
        return result
    }

    mutating func run(timeout: Int, name: String, cancellation: WireCancellation?) throws -> Descriptor {
        let deadline = Clock.monotonic + Int64(timeout) * 1_000_000
        var next = Clock.monotonic
        while true {
            try cancellation?.check()
            if attempts.isEmpty || Clock.monotonic >= next, let address = addresses.popFirst() {
                begin(address)
                next = Clock.monotonic + 250_000_000
            }
            guard !attempts.isEmpty || !addresses.isEmpty else {
                throw WireFault(.unreachable, "dial \(name): connect: \(failure?.reason.lowercased() ?? "no address")")
            }
            guard Clock.monotonic < deadline else {
                throw WireFault(.timedOut, "dial \(name): no answer in \(timeout / 1000) s")
            }
            if let connected = try finished() { return connected }
        }
    }

    private mutating func begin(_ address: [UInt8]) {
        do { attempts.append(SharedDescriptor(try StreamSocket.connect(address))) } catch let fault as KernelFault {
            failure = fault
        } catch {}
    }

    private mutating func finished() throws -> Descriptor? {
        if attempts.isEmpty { return nil }
        var entries = attempts.map { PollEntry($0.raw, input: false, output: true) }
        guard try Polling.wait(&entries, milliseconds: 50) > 0 else { return nil }
        for (index, entry) in entries.enumerated().reversed() where entry.hasOutput || entry.isHungUp {
            do {
                try StreamSocket.checkConnected(entry.descriptor)
                return try Descriptor.duplicate(ofBorrowed: entry.descriptor)
            } catch let fault as KernelFault {
                failure = fault
                attempts.remove(at: index)
            }
        }
        return nil
    }
}
