import JSON

/// The name of an image as docker reads it: `[domain/]path[:tag][@digest]`, normalised, so that `debian` and
/// `docker.io/library/debian` are the same (distribution/reference, grammar in its package comment).
public struct Reference: Sendable, Hashable, CustomStringConvertible {
    public static let defaultDomain = "docker.io"
    public static let defaultTag = "latest"

    /// Registry host with its port, `docker.io` for the Hub.
    public let domain: String
    /// Repository within the registry, `library/debian` for the Hub's own.
    public let path: String
    public let tag: String?
    public let digest: Digest?

    /// Reads a name in any of its forms and normalises it.
    /// Throws `invalid` with docker's words.
    public init(_ text: String) throws {
        if Self.isWholeID(text) {
            throw Fault(
                .invalid, "invalid repository name (\(text)), cannot specify 64-byte hexadecimal strings", subject: text)
        }
        guard text.utf8.count <= 1024 else { throw Self.malformed(text) }
        let (domain, remainder) = Self.split(text)
        var path = remainder
        var digest: Digest?
        if let at = path.firstIndex(of: "@") {
            guard let value = Digest(path[path.index(after: at)...]) else { throw Self.malformed(text) }
            digest = value
            path = String(path[..<at])
        }
        var tag: String?
        if let colon = path.firstIndex(of: ":") {
            let value = String(path[path.index(after: colon)...])
            guard Self.isTag(value) else { throw Self.malformed(text) }
            tag = value
            path = String(path[..<colon])
        }
        if path.contains(where: { $0.isASCII && $0.isUppercase }) {
            throw Fault(
                .invalid, "invalid reference format: repository name (\(path)) must be lowercase", subject: text)
        }
        guard Self.isDomain(domain), Self.isPath(path) else { throw Self.malformed(text) }
        guard path.utf8.count <= 255 else {
            throw Fault(.invalid, "repository name must not be more than 255 characters", subject: text)
        }
        self.init(domain: domain, path: path, tag: tag, digest: digest)
    }

    private init(domain: String, path: String, tag: String?, digest: Digest?) {
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest
    }

    /// `docker.io/library/debian`
    public var name: String { domain + "/" + path }

    /// The name as people write it: `debian`, `user/app`, `ghcr.io/o/i`; the whole name where the short one would be read as
    /// another (the Hub's `localhost/app` or `docker.io/app`, 64 hexadecimal digits).
    public var familiarName: String {
        guard domain == Self.defaultDomain else { return name }
        let library = "library/"
        let isOfficial = path.hasPrefix(library) && !path.dropFirst(library.count).contains("/")
        let short = isOfficial ? String(path.dropFirst(library.count)) : path
        guard Self.split(short) == (domain, path), !Self.isWholeID(short) else { return name }
        return short
    }

    private static func isWholeID(_ text: String) -> Bool { text.utf8.count == 64 && Digest.isLowerHex(text.utf8) }

    /// The whole reference as people write it: `debian:bookworm`.
    public var familiar: String { familiarName + suffix }

    /// The whole reference, normalised: `docker.io/library/debian:bookworm`.
    public var description: String { name + suffix }

    private var suffix: String { (tag.map { ":" + $0 } ?? "") + (digest.map { "@\($0)" } ?? "") }

    /// With tag `latest` where there is neither tag nor digest.
    public var withDefaultTag: Reference {
        tag == nil && digest == nil ? Reference(domain: domain, path: path, tag: Self.defaultTag, digest: nil) : self
    }

    /// The same repository with another tag and no digest. Throws `invalid` for a malformed tag.
    public func tagged(_ tag: String) throws -> Reference {
        guard Self.isTag(tag) else { throw Fault(.invalid, "invalid tag format", subject: tag) }
        return Reference(domain: domain, path: path, tag: tag, digest: nil)
    }

    /// The same repository by digest, without a tag.
    public func digested(_ digest: Digest) -> Reference { Reference(domain: domain, path: path, tag: nil, digest: digest) }

    // MARK: Grammar

    private static func malformed(_ text: String) -> Fault { Fault(.invalid, "invalid reference format", subject: text) }

    /// Docker's rule what counts as a host: it has a dot or a colon, is `localhost`, or has capitals.
    private static func split(_ text: String) -> (domain: String, remainder: String) {
        var domain = defaultDomain
        var remainder = text
        if let slash = text.firstIndex(of: "/") {
            let first = text[..<slash]
            let capitals = first.contains { $0.isASCII && $0.isUppercase }
            if first.contains(".") || first.contains(":") || first == "localhost" || capitals {
                domain = String(first)
                remainder = String(text[text.index(after: slash)...])
            }
        }
        if domain == "index.docker.io" { domain = defaultDomain }
        if domain == defaultDomain, !remainder.contains("/") { remainder = "library/" + remainder }
        return (domain, remainder)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }
    private static func isLowerOrDigit(_ byte: UInt8) -> Bool { isDigit(byte) || (0x61...0x7A).contains(byte) }

    /// `[\w][\w.-]{0,127}`
    public static func isTag(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        func word(_ byte: UInt8) -> Bool { isDigit(byte) || isLetter(byte) || byte == UInt8(ascii: "_") }
        guard let first = bytes.first, bytes.count <= 128, word(first) else { return false }
        return bytes.allSatisfy { word($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }
    }

    private static func isDomain(_ text: String) -> Bool {
        var host = text[...]
        if let colon = text.lastIndex(of: ":"), text.last != "]" {
            let port = text[text.index(after: colon)...]
            guard !port.isEmpty, port.utf8.allSatisfy(isDigit) else { return false }
            host = text[..<colon]
        }
        if host.first == "[" {
            let inside = host.dropFirst().dropLast()
            return host.last == "]" && !inside.isEmpty
                && inside.utf8.allSatisfy { isDigit($0) || (0x61...0x66).contains($0 | 0x20) || $0 == UInt8(ascii: ":") }
        }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { component in
            let bytes = Array(component.utf8)
            guard let first = bytes.first, let last = bytes.last, first != 0x2D, last != 0x2D else { return false }
            return bytes.allSatisfy { isDigit($0) || isLetter($0) || $0 == 0x2D }
        }
    }

    private static func isPath(_ text: String) -> Bool {
        text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { isComponent(Array($0.utf8)) }
    }

    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
    private static func isComponent(_ bytes: [UInt8]) -> Bool {
        guard let first = bytes.first, let last = bytes.last, isLowerOrDigit(first), isLowerOrDigit(last) else { return false }
        var index = 0
        while index < bytes.count {
            if isLowerOrDigit(bytes[index]) {
                index += 1
                continue
            }
            let separator = bytes[index]
            let start = index
            while index < bytes.count, bytes[index] == separator { index += 1 }
            let run = index - start
            switch separator {
            case UInt8(ascii: "-"): break
            case UInt8(ascii: "."): guard run == 1 else { return false }
            case UInt8(ascii: "_"): guard run <= 2 else { return false }
            default: return false
            }
            guard index < bytes.count, isLowerOrDigit(bytes[index]) else { return false }
        }
        return true
    }
}

/// What somebody may write where an image is wanted: a name, or an id in full or by its first digits.
public enum ImageQuery: Sendable, Hashable {
    /// A whole id, with or without `sha256:`.
    case id(Digest)
    /// A name; it may be an id's first digits as well, where `digits` is not nil.
    case name(Reference, digits: String?)
    /// No name, but it may be an id's first digits (`sha256:abc`).
    case digits(String)

    /// Throws `invalid` with docker's words.
    public init(_ text: String) throws {
        if let digest = Digest(text) ?? Digest(.sha256, hex: text) {
            self = .id(digest)
            return
        }
        let prefix = text.hasPrefix("sha256:") ? String(text.dropFirst(7)) : text
        let digits = !prefix.isEmpty && prefix.utf8.count < 64 && Digest.isLowerHex(prefix.utf8) ? prefix : nil
        if let digits, text.hasPrefix("sha256:") {
            self = .digits(digits)
            return
        }
        self = .name(try Reference(text), digits: digits)
    }
}
