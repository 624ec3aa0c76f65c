import HTTP
import Linux
import Model

/// One place where a repository can be asked for.
struct RegistryEndpoint: Sendable, Equatable {
    /// Scheme, host, port; the target is the path before `/v2/`.
    var url: HTTPURL
    /// A mirror is asked without the person's credentials.
    var isMirror = false
    /// http or an unverified certificate will do.
    var allowsInsecure = false
    /// TLS without verification.
    var isUnverified = false

    /// Nobody between can read or change what is said.
    var isTrusted: Bool { (url.scheme == .https && !isUnverified) || HTTPURL.isLoopback(url.host) }

    func url(_ path: String) -> HTTPURL {
        var result = url
        result.target = (url.target == "/" ? "" : url.target) + "/v2/" + path
        return result
    }
}

/// Where registries are and whom to trust there.
struct RegistryHosts: Sendable {
    let settings: RegistrySettings

    /// The Hub's names and where it is.
    static let hub = "registry-1.docker.io"
    static let hubNames: Set<String> = ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]

    /// Where to ask for a registry's content, mirrors first.
    /// - Parameter domain: as in a reference.
    func endpoints(_ domain: String, mirrors: Bool) throws -> [RegistryEndpoint] {
        var list: [RegistryEndpoint] = []
        if mirrors {
            for text in settings.mirrors[domain] ?? [] {
                guard var url = HTTPURL(text) else {
                    throw Fault(.invalid, "the mirror \"\(text)\" of \(domain) is no http or https URL")
                }
                while url.target.count > 1, url.target.hasSuffix("/") { url.target.removeLast() }
                let insecure = isInsecure(host: url.host, port: url.port)
                list.append(
                    RegistryEndpoint(
                        url: url, isMirror: true, allowsInsecure: insecure || url.scheme == .http,
                        isUnverified: insecure && url.scheme == .https && !hasAuthorities(url)))
            }
        }
        let name = Self.hubNames.contains(domain) ? Self.hub : domain
        guard let (host, port) = HTTPURL.authority(name) else {
            throw Fault(.invalid, "\"\(domain)\" is no registry's host", subject: domain)
        }
        let secure = HTTPURL(scheme: .https, host: host, port: port)
        guard isInsecure(host: host, port: secure.port) || isInsecure(host: host, port: port ?? 80) else {
            return list + [RegistryEndpoint(url: secure)]
        }
        // As docker: TLS first, where there is no trusted certificate also an unverified one, then without TLS.
        if hasAuthorities(secure) { return list + [RegistryEndpoint(url: secure, allowsInsecure: true)] }
        let plain = HTTPURL(scheme: .http, host: host, port: port)
        return list + [
            RegistryEndpoint(url: secure, allowsInsecure: true, isUnverified: true),
            RegistryEndpoint(url: plain, allowsInsecure: true),
        ]
    }

    /// Loopback, and what the settings name.
    func isInsecure(host: String, port: UInt16) -> Bool {
        if HTTPURL.isLoopback(host) { return true }
        return settings.insecure.contains { entry in
            if let subnet = IPv4Subnet(entry), let address = IPv4Address(host) { return subnet.contains(address) }
            guard let (name, number) = HTTPURL.authority(entry) else { return false }
            return name == host && (number == nil || number == port)
        }
    }

    private func folders(_ url: HTTPURL) -> [String] {
        let name = url.host.contains(":") ? "[\(url.host)]" : url.host
        let names = url.port == 443 ? ["\(name):443", name] : ["\(name):\(url.port)"]
        return settings.certificateFolders.flatMap { folder in names.map { "\(folder)/\($0)" } }
    }

    private func hasAuthorities(_ url: HTTPURL) -> Bool {
        folders(url).contains { folder in ((try? Files.names(folder)) ?? []).contains { $0.hasSuffix(".crt") } }
    }

    /// Whom to trust at a place, and what to show there. The first folder that exists counts.
    /// - Throws: `invalid` for a certificate without its key, as docker does.
    func tls(_ url: HTTPURL, verified: Bool) throws -> TLSContext.ClientSettings {
        var result = TLSContext.ClientSettings()
        result.verifies = verified
        for folder in folders(url) {
            guard let names = try? Files.names(folder) else { continue }
            for name in names.sorted() {
                if name.hasSuffix(".crt") { result.authorities.append("\(folder)/\(name)") }
                if name.hasSuffix(".cert") {
                    let key = name.dropLast(5) + ".key"
                    guard names.contains(String(key)) else {
                        throw Fault(.invalid, "missing key \(key) for client certificate \(name) in \(folder)")
                    }
                    result.certificate = "\(folder)/\(name)"
                    result.key = "\(folder)/\(key)"
                }
                if name.hasSuffix(".key"), !names.contains(name.dropLast(4) + ".cert") {
                    throw Fault(.invalid, "missing client certificate \(name.dropLast(4)).cert for key \(name) in \(folder)")
                }
            }
            break
        }
        return result
    }
}
