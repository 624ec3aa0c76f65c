import JSON

/// What went wrong, once, in words for the person who asked: lower case, no full stop, the thing by name, the way out.
///
/// Linux throws a `KernelFault` (call and errno); the room that knows what was wanted turns it into a `Fault`; the API maps
/// kinds to HTTP statuses in one place. Clients match some texts, so those are pinned by tests.
public struct Fault: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: String, Sendable, CaseIterable {
        /// The request itself is wrong (400).
        case invalid
        /// The caller may not do this (403).
        case forbidden
        /// The thing does not exist (404).
        case notFound
        /// The thing's present state or name stands against it (409).
        case conflict
        /// Nothing to do: it is so already (304).
        case notModified
        /// This engine, or this machine's kernel, cannot do it (501).
        case unsupported
        /// Not now: shutting down, disk full, too many (503).
        case unavailable
        /// The command does not exist in the container (exit code 127; 400 over HTTP).
        case commandNotFound
        /// The command exists but cannot be executed (exit code 126; 400 over HTTP).
        case commandNotExecutable
        /// The caller went away or asked to stop.
        case cancelled
        /// Everything else (500).
        case system
    }

    public let kind: Kind
    public let message: String
    /// The container, image, path … that the message is about.
    public let subject: String?
    /// What caused it, as text.
    public let cause: String?

    public init(_ kind: Kind, _ message: String, subject: String? = nil, cause: (any Error)? = nil) {
        self.kind = kind
        self.message = message
        self.subject = subject
        self.cause = cause.map { String(describing: $0) }
    }

    /// Message and cause in one line.
    public var description: String {
        guard let cause, !message.hasSuffix(cause) else { return message }
        return "\(message): \(cause)"
    }

    /// Any error as a fault: a fault stays what it is, malformed JSON is `invalid`, the rest `system`.
    public init(_ error: any Error) {
        switch error {
        case let fault as Fault: self = fault
        case let fault as JSONFault: self.init(.invalid, fault.description)
        default: self.init(.system, String(describing: error))
        }
    }

    /// The same fault with words before its message: `while doing x: …`.
    public func prefixed(_ words: String) -> Fault {
        Fault(kind: kind, message: "\(words): \(message)", subject: subject, cause: cause)
    }

    init(kind: Kind, message: String, subject: String?, cause: String?) {
        self.kind = kind
        self.message = message
        self.subject = subject
        self.cause = cause
    }
}

extension Fault: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        var kind = Kind.system
        var message = ""
        var subject: String?
        var cause: String?
        try reader.object { key, reader in
            switch key {
            case "kind": kind = Kind(rawValue: try reader.string()) ?? .system
            case "message": message = try reader.string()
            case "subject": subject = try reader.value()
            case "cause": cause = try reader.value()
            default: try reader.skip()
            }
        }
        self.init(kind: kind, message: message, subject: subject, cause: cause)
    }

    public func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("kind", kind.rawValue)
            writer.member("message", message)
            writer.member("subject", ifPresent: subject)
            writer.member("cause", ifPresent: cause)
        }
    }
}
