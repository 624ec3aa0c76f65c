import Model

/// A name of a repository, checked: nothing else reaches the store (distribution-spec, "Pulling manifests").
package struct RepositoryName: Hashable, Sendable, CustomStringConvertible {
    package let text: String

    /// Nil unless the text matches `component(/component)*`, a component being `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, and is
    /// not longer than 255 bytes.
    package init?(_ text: String) {
        guard (1...255).contains(text.utf8.count) else { return nil }
        var expectsWord = true
        var separator: UInt8 = 0
        var run = 0
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x61...0x7A:
                expectsWord = false
                run = 0
            case UInt8(ascii: "/"):
                guard !expectsWord else { return nil }
                expectsWord = true
                run = 0
            case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                if run == 0 {
                    guard !expectsWord else { return nil }
                    separator = byte
                }
                run += 1
                guard byte == separator else { return nil }
                guard byte == UInt8(ascii: "-") || run == 1 || (run == 2 && byte == UInt8(ascii: "_")) else { return nil }
                expectsWord = true
            default: return nil
            }
        }
        guard !expectsWord else { return nil }
        self.text = text
    }

    package var description: String { text }
}

/// What a manifest is asked by.
package enum ManifestReference: Hashable, Sendable, CustomStringConvertible {
    case tag(String)
    case digest(Digest)

    /// Throws `TAG_INVALID` or `DIGEST_INVALID`.
    package init(_ text: String) throws {
        if text.contains(":") {
            guard let digest = Digest(text) else { throw DistributionFault.digestInvalid(text) }
            self = .digest(digest)
        } else {
            guard Reference.isTag(text) else {
                throw DistributionFault(400, .tagInvalid, "invalid tag", detail: ("tag", String(text.prefix(200))))
            }
            self = .tag(text)
        }
    }

    package var description: String {
        switch self {
        case .tag(let tag): tag
        case .digest(let digest): digest.description
        }
    }
}

/// The place that a request's path names. Parsed from the end, since a repository may be called `blobs/uploads`.
package enum RegistryRoute: Equatable, Sendable {
    case base
    case catalog
    case searchPing
    case search
    case tags(RepositoryName)
    case manifest(RepositoryName, ManifestReference)
    case blob(RepositoryName, Digest)
    case uploads(RepositoryName)
    /// The id is hexadecimal, 32 digits: of our own making.
    case upload(RepositoryName, String)
    case referrers(RepositoryName, Digest)
    case health

    /// The longest path that can mean something: a name, a word and a sha512 digest, every byte escaped.
    private static let longestPath = 2048

    /// Throws a `DistributionFault`: 404 for a path that is none of the registry's, 400 for a malformed name, tag or digest.
    package init(path: String) throws {
        let nothing = DistributionFault(404, .unsupported, "this path is none of the registry's")
        guard path.utf8.count <= Self.longestPath, let path = PercentCoding.decoded(path) else { throw nothing }
        switch path {
        case "/v2", "/v2/": self = .base
        case "/v2/_catalog": self = .catalog
        case "/v1/_ping": self = .searchPing
        case "/v1/search": self = .search
        case "/", "/_health": self = .health
        default:
            guard path.hasPrefix("/v2/") else { throw nothing }
            let words = path.dropFirst(4).split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            guard let route = try Self.repository(words) else { throw nothing }
            self = route
        }
    }

    private static func repository(_ words: [String]) throws -> RegistryRoute? {
        guard words.count >= 3, let last = words.last else { return nil }
        let kind = words[words.count - 2]
        func name(_ behind: Int) throws -> RepositoryName { try Self.name(words.dropLast(behind)) }
        func digest() throws -> Digest {
            guard let digest = Digest(last) else { throw DistributionFault.digestInvalid(last) }
            return digest
        }
        if words.count >= 4, kind == "uploads", words[words.count - 3] == "blobs" {
            if last.isEmpty { return .uploads(try name(3)) }
            guard last.utf8.count == 32, last.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
            else { throw DistributionFault.uploadUnknown(String(last.prefix(100))) }
            return .upload(try name(3), last)
        }
        switch kind {
        case "blobs": return last == "uploads" ? .uploads(try name(2)) : .blob(try name(2), try digest())
        case "manifests": return .manifest(try name(2), try ManifestReference(last))
        case "referrers": return .referrers(try name(2), try digest())
        case "tags": return last == "list" ? .tags(try name(2)) : nil
        default: return nil
        }
    }

    private static func name(_ words: ArraySlice<String>) throws -> RepositoryName {
        let text = words.joined(separator: "/")
        guard let name = RepositoryName(text) else {
            throw DistributionFault(400, .nameInvalid, "invalid repository name", detail: ("name", String(text.prefix(300))))
        }
        return name
    }

    /// The repository that the request is about.
    var repository: RepositoryName? {
        switch self {
        case .base, .catalog, .searchPing, .search, .health: nil
        case .tags(let name), .uploads(let name): name
        case .manifest(let name, _): name
        case .blob(let name, _), .referrers(let name, _): name
        case .upload(let name, _): name
        }
    }
}

/// `%41` and back (RFC 3986, 2.1).
package enum PercentCoding {
    /// Nil where an escape is broken or a byte is no printable ASCII: names, tags and digests have no others.
    package static func decoded(_ text: String, plusIsSpace: Bool = false) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            var value = byte
            if byte == UInt8(ascii: "%") {
                guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else { return nil }
                value = high << 4 | low
            } else if plusIsSpace, byte == UInt8(ascii: "+") {
                value = 0x20
            }
            guard value >= 0x20, value < 0x7F else { return nil }
            bytes.append(value)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    package static func encoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E, 0x2F:
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                result += digits.count == 1 ? "%0" + digits : "%" + digits
            }
        }
        return result
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}

/// The parameters behind a target's question mark.
package struct RegistryQuery: Sendable {
    package let path: String
    private let values: [(name: String, value: String)]

    package init(target: String) {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = parts.first.map(String.init) ?? ""
        guard parts.count == 2 else {
            values = []
            return
        }
        values = parts[1].split(separator: "&").prefix(64).compactMap { pair in
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = PercentCoding.decoded(String(halves[0]), plusIsSpace: true),
                let value = PercentCoding.decoded(halves.count == 2 ? String(halves[1]) : "", plusIsSpace: true)
            else { return nil }
            return (name, value)
        }
    }

    package subscript(_ name: String) -> String? { values.first { $0.name == name }?.value }

    /// A page's size: `limit` where none is named or a larger one. Throws `PAGINATION_NUMBER_INVALID`.
    func pageSize(_ limit: Int, standard: Int) throws -> Int {
        guard let text = self["n"], !text.isEmpty else { return standard }
        guard let number = Int(text), number >= 0 else {
            throw DistributionFault(400, .paginationInvalid, "invalid number of results requested", detail: ("n", text))
        }
        return min(number, limit)
    }
}
