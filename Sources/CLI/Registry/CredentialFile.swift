import JSON
import Linux
import Model

/// The client's configuration: `config.json` in DOCKER_CONFIG or `~/.docker`, which docker's clients share. What is not ours in it
/// stays as it is.
package struct CredentialFile {
    /// The Hub's key in the file and for helpers.
    package static let hub = "https://index.docker.io/v1/"

    package let folder: String
    private var settings: JSONValue
    package var path: String { folder + "/config.json" }

    /// - Parameter folder: nil is where docker has it.
    /// - Throws: where the file is there and no JSON object.
    package init(folder: String? = nil) throws {
        self.folder = try folder ?? Self.usualFolder()
        settings = .object([])
        let bytes: [UInt8]
        do { bytes = try FileCalls.read(path, limit: 4 << 20) } catch let fault as KernelFault where FileCalls.isMissing(fault)
        {
            return
        }
        guard bytes.contains(where: { $0 > 0x20 }) else { return }
        guard let value = try? JSONValue(json: bytes), value.members != nil else {
            throw Fault(.invalid, "\(path) is no JSON object: mend it or move it away", subject: path)
        }
        settings = value
    }

    private static func usualFolder() throws -> String {
        if let folder = FileCalls.variable("DOCKER_CONFIG"), !folder.isEmpty { return folder }
        guard let home = FileCalls.variable("HOME"), !home.isEmpty else {
            throw Fault(.invalid, "HOME is not set, so that there is no place for credentials: set it, or DOCKER_CONFIG")
        }
        return home + "/.docker"
    }

    // MARK: Servers

    /// The key of a registry: the Hub's address, any other's host with its port.
    package static func key(of server: String) -> String {
        server.isEmpty || server == Reference.defaultDomain || server == hub ? hub : server
    }

    /// What is left of old keys like `https://registry.example/v1/`.
    package static func host(of key: String) -> String {
        var text = key[...]
        for scheme in ["https://", "http://"] where text.hasPrefix(scheme) { text = text.dropFirst(scheme.count) }
        return String(text.prefix { $0 != "/" })
    }

    /// The helper that keeps a registry's credential; nil keeps it in the file.
    package func helper(for key: String) -> CredentialHelper? {
        let name =
            settings["credHelpers"]?[key]?.string ?? settings["credHelpers"]?[Self.host(of: key)]?.string
            ?? settings["credsStore"]?.string
        return name.flatMap { $0.isEmpty ? nil : CredentialHelper(name: $0) }
    }

    // MARK: Reading

    /// The credential that is kept for a registry; nil where there is none.
    package func credential(for key: String) throws -> RegistryCredential? {
        if let helper = helper(for: key) {
            if var found = try helper.get(key) {
                found.serverAddress = key
                return found
            }
            return nil
        }
        return entry(for: key).flatMap { Self.credential($0, key) }
    }

    /// For a name's registry, where there is one.
    package func credential(for reference: Reference) throws -> RegistryCredential? {
        try credential(for: Self.key(of: reference.domain))
    }

    private func entry(for key: String) -> JSONValue? {
        if let exact = settings["auths"]?[key] { return exact }
        return settings["auths"]?.members?.first { Self.host(of: $0.key) == Self.host(of: key) }?.value
    }

    private static func credential(_ entry: JSONValue, _ key: String) -> RegistryCredential? {
        var credential = RegistryCredential()
        credential.serverAddress = key
        credential.username = entry["username"]?.string ?? ""
        credential.password = entry["password"]?.string ?? ""
        if let auth = entry["auth"]?.string, let bytes = Base64Text.decode(auth) {
            let text = String(decoding: bytes, as: UTF8.self)
            if let colon = text.firstIndex(of: ":") {
                credential.username = String(text[..<colon])
                credential.password = String(text[text.index(after: colon)...].prefix { $0 != "\0" })
            }
        }
        credential.identityToken = entry["identitytoken"]?.string ?? ""
        credential.registryToken = entry["registrytoken"]?.string ?? ""
        return credential.isEmpty ? nil : credential
    }

    /// Addresses of the registries that there are credentials for.
    package var addresses: [String] {
        let keys = (settings["auths"]?.members ?? []) + (settings["credHelpers"]?.members ?? [])
        return Set(keys.map(\.key)).sorted()
    }

    // MARK: Writing

    /// Keeps a credential. True where it now stands in the file as plain text.
    package mutating func store(_ credential: RegistryCredential, for key: String) throws -> Bool {
        if let helper = helper(for: key) {
            try helper.store(credential, for: key)
            // So that the registry is known to be logged in to, as docker has it.
            setEntry(.object([]), for: key)
            try write()
            return false
        }
        let token = credential.identityToken
        let pair = credential.username + ":" + (token.isEmpty ? credential.password : "")
        var members = [JSONValue.Member(key: "auth", value: .string(Base64Text.encode(Array(pair.utf8))))]
        if !token.isEmpty { members.append(JSONValue.Member(key: "identitytoken", value: .string(token))) }
        setEntry(.object(members), for: key)
        try write()
        return true
    }

    /// Forgets what is kept under a key; what is not there is fine.
    package mutating func erase(_ key: String) throws {
        var refusal: (any Error)?
        if let helper = helper(for: key) { do { try helper.erase(key) } catch { refusal = error } }
        if settings["auths"]?[key] != nil {
            setEntry(nil, for: key)
            try write()
        }
        if let refusal { throw refusal }
    }

    package func knows(_ key: String) -> Bool { settings["auths"]?[key] != nil }

    private mutating func setEntry(_ value: JSONValue?, for key: String) {
        var entries = settings["auths"]?.members ?? []
        if let index = entries.firstIndex(where: { $0.key == key }) {
            if let value { entries[index].value = value } else { entries.remove(at: index) }
        } else if let value {
            entries.append(JSONValue.Member(key: key, value: value))
        }
        var members = settings.members ?? []
        if let index = members.firstIndex(where: { $0.key == "auths" }) {
            members[index].value = .object(entries)
        } else {
            members.insert(JSONValue.Member(key: "auths", value: .object(entries)), at: 0)
        }
        settings = .object(members)
    }

    /// Written aside with mode 0600 and renamed: readers find the old file or the new one. A link is followed, so that it stays one.
    private func write() throws {
        let place = FileCalls.resolve(path) ?? path
        let parent = place.lastIndex(of: "/").map { String(place[..<$0]) } ?? "."
        do {
            try Files.makeFolders(parent, mode: 0o700)
            let aside = place + ".\(FileCalls.processID).new"
            FileCalls.unlink(aside)
            do {
                let file = try FileCalls.create(aside, exclusive: true, mode: 0o600)
                try StreamCalls.writeAll(file.raw, Array((settings.indented(by: "\t") + "\n").utf8))
                try FileCalls.rename(aside, place)
            } catch {
                FileCalls.unlink(aside)
                throw error
            }
        } catch let fault as KernelFault {
            throw Fault(.system, "cannot write \(place)", subject: place, cause: fault)
        }
    }
}

extension RegistryCredential {
    /// The value of `X-Registry-Auth` (docker's AuthConfig as base64url of JSON).
    package var header: String { Base64Text.encode(json, urlSafe: true) }

    /// docker's AuthConfig.
    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            if !username.isEmpty { writer.member("username", username) }
            if !password.isEmpty { writer.member("password", password) }
            if !serverAddress.isEmpty { writer.member("serveraddress", serverAddress) }
            if !identityToken.isEmpty { writer.member("identitytoken", identityToken) }
            if !registryToken.isEmpty { writer.member("registrytoken", registryToken) }
        }
        return writer.bytes
    }
}
