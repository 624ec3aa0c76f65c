import CTLS

/// Keys, certificates and whom to trust, for any number of connections.
///
/// `@unchecked Sendable`: OpenSSL's contexts may be used by many threads once they are set up, which is done in `init`.
public final class TLSContext: @unchecked Sendable {
    let raw: OpaquePointer
    /// Certificates of the other side are verified.
    public let verifies: Bool

    /// What a client trusts and shows.
    public struct ClientSettings: Sendable, Hashable {
        /// False: any certificate will do, also none that fits the host.
        public var verifies = true
        /// PEM files with authorities beside the system's.
        public var authorities: [String] = []
        /// PEM files: an own certificate, and its key.
        public var certificate: String?
        public var key: String?

        public init() {}
    }

    /// Throws `tls` that names the file which could not be used.
    public init(client settings: ClientSettings) throws {
        var error = [CChar](repeating: 0, count: 256)
        guard let context = ctls_client_context(settings.verifies ? 1 : 0, &error, error.count) else {
            throw WireFault(.tls, "tls: \(Self.text(error))")
        }
        raw = context
        verifies = settings.verifies
        for path in settings.authorities {
            guard ctls_add_authorities(context, path, &error, error.count) == 0 else {
                throw WireFault(.tls, "\(path): \(Self.text(error))")
            }
        }
        if let certificate = settings.certificate, let key = settings.key {
            guard ctls_use_certificate(context, certificate, key, &error, error.count) == 0 else {
                throw WireFault(.tls, "\(certificate): \(Self.text(error))")
            }
        }
    }

    /// A server's: PEM files with its certificate (and what leads to the authority), and the key.
    public init(certificate: String, key: String) throws {
        var error = [CChar](repeating: 0, count: 256)
        guard let context = ctls_server_context(certificate, key, &error, error.count) else {
            throw WireFault(.tls, "\(certificate): \(Self.text(error))")
        }
        raw = context
        verifies = false
    }

    deinit { ctls_context_free(raw) }

    static func text(_ error: [CChar]) -> String {
        String(decoding: error.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
