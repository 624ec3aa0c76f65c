import Model

/// Finds what answers a path: a trie of path segments. Patterns are written as docker's documentation writes them:
///
///     /containers/{id}/json      one segment
///     /images/{name...}/json     one or more segments, as image names have slashes in them
///
/// A literal segment goes before a parameter; where a branch leads nowhere the next one is tried.
public struct Router<Target: Sendable>: Sendable {
    private struct Node: Sendable {
        var literals: [String: Node] = [:]
        var parameter: [Named] = []
        var rest: [Named] = []
        var targets: [String: Target] = [:]
    }

    private struct Named: Sendable {
        let name: String
        var node: Node
    }

    public struct Match: Sendable {
        public let target: Target
        public let parameters: [String: String]
    }

    private var root = Node()

    public init() {}

    /// The same method and pattern a second time replaces the first.
    public mutating func add(_ method: String, _ pattern: String, _ target: Target) {
        let segments = pattern.split(separator: "/").map(String.init)
        Self.add(&root, segments[...], method, target)
    }

    private static func add(_ node: inout Node, _ segments: ArraySlice<String>, _ method: String, _ target: Target) {
        guard let segment = segments.first else {
            node.targets[method] = target
            return
        }
        let rest = segments.dropFirst()
        guard segment.hasPrefix("{"), segment.hasSuffix("}") else {
            add(&node.literals[segment, default: Node()], rest, method, target)
            return
        }
        let word = segment.dropFirst().dropLast()
        if word.hasSuffix("...") {
            add(&node.rest, String(word.dropLast(3)), rest, method, target)
        } else {
            add(&node.parameter, String(word), rest, method, target)
        }
    }

    private static func add(
        _ list: inout [Named], _ name: String, _ rest: ArraySlice<String>, _ method: String, _ target: Target
    ) {
        let index = list.firstIndex { $0.name == name } ?? list.endIndex
        if index == list.endIndex { list.append(Named(name: name, node: Node())) }
        add(&list[index].node, rest, method, target)
    }

    /// Segments are decoded; empty ones have been left out.
    public func match(_ method: String, _ segments: [String]) -> Match? {
        var parameters: [String: String] = [:]
        guard let target = Self.match(root, segments[...], method, &parameters) else { return nil }
        return Match(target: target, parameters: parameters)
    }

    private static func match(
        _ node: Node, _ segments: ArraySlice<String>, _ method: String, _ parameters: inout [String: String]
    ) -> Target? {
        guard let segment = segments.first else { return node.targets[method] }
        if let next = node.literals[segment], let found = match(next, segments.dropFirst(), method, &parameters) {
            return found
        }
        for named in node.parameter {
            if let found = match(named.node, segments.dropFirst(), method, &parameters) {
                parameters[named.name] = segment
                return found
            }
        }
        for named in node.rest {
            // the longest name first, so that an image called a/json is found under its whole name
            for count in stride(from: segments.count, through: 1, by: -1) {
                guard let found = match(named.node, segments.dropFirst(count), method, &parameters) else { continue }
                parameters[named.name] = segments.prefix(count).joined(separator: "/")
                return found
            }
        }
        return nil
    }
}

/// A request's target, taken apart: version prefix, decoded segments, query.
public struct RequestTarget: Sendable {
    public let version: APIVersion
    public let segments: [String]
    /// As it stood in the target, not decoded.
    public let queryText: Substring

    /// More segments than any path of the API has.
    static let maximumSegments = 64

    /// - Throws: `invalid` for a version that is not served and for a malformed escape.
    public init(_ target: String) throws {
        var path = Substring(target)
        if let mark = path.firstIndex(of: "#") { path = path[..<mark] }
        // absolute form (RFC 9112, 3.2.2): scheme and authority go
        if !path.hasPrefix("/"), let scheme = path.firstRange(of: "://") {
            path = path[scheme.upperBound...].drop { $0 != "/" }
        }
        let mark = path.utf8.firstIndex(of: UInt8(ascii: "?"))
        queryText = mark.map { path[path.index(after: $0)...] } ?? ""
        if let mark { path = path[..<mark] }
        let parts = path.utf8.split(separator: UInt8(ascii: "/"))
        guard parts.count <= Self.maximumSegments else { throw Fault(.notFound, "page not found") }
        var segments = try parts.map { try Percent.decode($0, plus: false) }
        if let first = segments.first, let version = Self.version(first) {
            segments.removeFirst()
            self.version = try version.served()
        } else {
            version = .newest
        }
        self.segments = segments
    }

    private static func version(_ segment: String) -> APIVersion? {
        guard segment.utf8.first == UInt8(ascii: "v") else { return nil }
        return APIVersion(segment.dropFirst())
    }
}
