import Linux
import Model

/// Where an engine listens.
public struct Endpoint: Sendable, Equatable {
    public let path: String
    /// The place that an engine started by `skiff` itself takes; only there it is started when nothing answers.
    public let isDefault: Bool

    public var text: String { "unix://" + path }

    /// A `-H` value or SKIFF_HOST: `unix:///path`, or a path.
    public init(host: String) throws {
        if host.hasPrefix("unix://") {
            path = String(host.dropFirst(7))
        } else if host.hasPrefix("/") {
            path = host
        } else if let scheme = host.range(of: "://") {
            let name = host[..<scheme.lowerBound]
            throw Fault(.unsupported, "unable to connect to \(host): \(name):// hosts are not built yet, use unix:///path")
        } else {
            throw Fault(.invalid, "unable to parse docker host `\(host)`")
        }
        guard !path.isEmpty else { throw Fault(.invalid, "the host \(host) names no socket") }
        isDefault = path == Layout.system.socket
    }

    init(path: String, isDefault: Bool) {
        self.path = path
        self.isDefault = isDefault
    }

    /// Without a host: a user's own engine where one listens, otherwise the system's.
    public static func usual() -> Endpoint {
        if FileCalls.userID != 0, let folder = FileCalls.variable("XDG_RUNTIME_DIR") {
            let own = folder + "/skiff/skiff.sock"
            if FileCalls.exists(own) { return Endpoint(path: own, isDefault: false) }
        }
        return Endpoint(path: Layout.system.socket, isDefault: true)
    }
}

extension String {
    /// The first place of `text`; nil where it does not occur. (The standard library has this only with Foundation.)
    package func range(of text: String) -> Range<String.Index>? {
        let wanted = Array(text.utf8)
        let bytes = utf8
        guard !wanted.isEmpty else { return nil }
        var start = bytes.startIndex
        while start != bytes.endIndex {
            var at = start
            var matched = 0
            while matched < wanted.count, at != bytes.endIndex, bytes[at] == wanted[matched] {
                at = bytes.index(after: at)
                matched += 1
            }
            if matched == wanted.count { return start..<at }
            start = bytes.index(after: start)
        }
        return nil
    }

    package func contains(text: String) -> Bool { text.isEmpty || range(of: text) != nil }
}
