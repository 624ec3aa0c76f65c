import Glibc
import Linux

/// A thread that stays in one network namespace and runs there what it is given. Sockets that it makes stay in it.
final class NamespaceThread: Sendable {
    private struct Content {
        var jobs: [@Sendable () -> Void] = []
        var isClosed = false
    }

    private let content = Monitor(Content())
    /// Keeps the namespace; borrowed by requests that make a link in it.
    let namespace: Descriptor

    /// In a new namespace with lo up, or in one that exists.
    init(_ existing: CInt? = nil) throws {
        let made = Monitor<Result<CInt, any Error>?>(nil)
        try startThread { [content] in
            let entered = Result {
                if let existing {
                    try NetNamespace.enter(existing)
                    return try NetNamespace.current().release()
                }
                let namespace = try NetNamespace.unshare()
                try NetlinkSocket(.route).transact([RouteRequest.set("lo", isUp: true)])
                return namespace.release()
            }
            made.update { $0 = entered }
            guard case .success = entered else { return }
            while let job = content.wait({ content -> (@Sendable () -> Void)?? in
                if content.jobs.isEmpty { return content.isClosed ? .some(nil) : nil }
                return .some(content.jobs.removeFirst())
            }) {
                job()
            }
        }
        namespace = Descriptor(owning: try made.wait { $0 }.get())
    }

    deinit { content.update { $0.isClosed = true } }

    func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) throws -> T {
        let result = Monitor<Result<T, any Error>?>(nil)
        content.update { content in
            content.jobs.append {
                let answer = Result { try body() }
                result.update { $0 = answer }
            }
        }
        return try result.wait { $0 }.get()
    }
}
