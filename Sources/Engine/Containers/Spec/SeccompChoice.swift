import Linux
import Model
import Synchronization

/// The standard filter by what a container may do, made once for each set of capabilities.
enum SeccompChoice {
    private static let made = Mutex<[Wish: OCI.Seccomp]>([:])

    private struct Wish: Hashable {
        var capabilities: [String]
        var allowsSocketcall: Bool
    }

    static let kernel: (major: Int, minor: Int) = {
        let text = (try? readFile("/proc/sys/kernel/osrelease", limit: 256)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let numbers = text.split(separator: ".").prefix(2).map { part in Int(part.prefix { $0.isNumber }) ?? 0 }
        return numbers.count == 2 ? (numbers[0], numbers[1]) : (5, 15)
    }()

    static func standard(_ capabilities: [String], allowsSocketcall: Bool) -> OCI.Seccomp {
        let wish = Wish(capabilities: capabilities, allowsSocketcall: allowsSocketcall)
        if let profile = made.withLock({ $0[wish] }) { return profile }
        let profile = DefaultSeccomp.profile(
            capabilities: capabilities, kernel: kernel, allowsSocketcall: allowsSocketcall)
        made.withLock { made in
            if made.count > 64 { made = [:] }
            made[wish] = profile
        }
        return profile
    }
}
