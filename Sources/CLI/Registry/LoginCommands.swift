import Client
import JSON
import Linux
import Model

enum LoginCommands {
    static let login = Command(
        "login", "Authenticate to a registry", usage: "[OPTIONS] [SERVER]", .atMost(1),
        flags: [
            .string("password", "p", "Password or Personal Access Token (PAT)"),
            .bool("password-stdin", nil, "Take the Password or Personal Access Token (PAT) from stdin"),
            .string("username", "u", "Username"),
        ],
        details: "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified."
    ) { invocation in
        try Login(invocation).run()
        return 0
    }

    static let logout = Command(
        "logout", "Log out from a registry", usage: "[SERVER]", .atMost(1),
        details: "Log out from a registry.\nIf no server is specified, the default is defined by the daemon."
    ) { invocation in
        let server = CredentialFile.key(of: invocation.arguments.first ?? "")
        var keys = [server]
        if server != CredentialFile.hub {
            // What old clients have written
            keys = [CredentialFile.host(of: server), server, "https://" + server, "http://" + server]
        }
        var file = try CredentialFile(folder: invocation.configFolder)
        try Screen.out("Removing login credentials for \(keys[0])\n")
        var refusals: [String] = []
        var unique: [String] = []
        for key in keys where !unique.contains(key) { unique.append(key) }
        for key in unique { do { try file.erase(key) } catch { refusals.append("\(key): \(error)") } }
        if refusals.count == unique.count {
            Screen.error("WARNING: could not erase credentials:\n" + refusals.map { $0 + "\n" }.joined())
        }
        return 0
    }
}

/// One `login`: with what is kept, with what was given, or with what is typed.
private struct Login {
    private let invocation: Invocation
    private let key: String
    private var user: String
    private var password: String

    init(_ invocation: Invocation) throws {
        self.invocation = invocation
        let flags = invocation.flags
        key = CredentialFile.key(of: invocation.arguments.first ?? "")
        user = flags.string("username") ?? ""
        password = flags.string("password") ?? ""
        if flags.has("username"), user.isEmpty { throw FlagFault("username is empty") }
        if flags.has("password") {
            guard !password.isEmpty else { throw FlagFault("password is empty") }
            if flags.bool("password-stdin") {
                throw FlagFault("conflicting options: cannot specify both --password and --password-stdin")
            }
            Screen.error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
        }
        if flags.bool("password-stdin") {
            guard !user.isEmpty else { throw FlagFault("the --password-stdin option requires --username to be set") }
            var text = String(decoding: try FileCalls.read(0, limit: 1 << 20, "stdin"), as: UTF8.self)
            if text.hasSuffix("\r\n") {
                text.removeLast()
            } else {
                if text.hasSuffix("\n") { text.removeLast() }
                if text.hasSuffix("\r") { text.removeLast() }
            }
            password = text
        }
    }

    func run() throws {
        var file = try CredentialFile(folder: invocation.configFolder)
        let kept = try? file.credential(for: key)
        if user.isEmpty, password.isEmpty, let kept, try isAccepted(kept) { return }
        var credential = RegistryCredential()
        credential.serverAddress = key
        (credential.username, credential.password) = try ask(kept?.username ?? "")
        let answer = try authenticate(credential)
        if let token = answer["IdentityToken"]?.string, !token.isEmpty {
            credential.password = ""
            credential.identityToken = token
        }
        // Once is enough.
        if try file.store(credential, for: key), kept == nil || kept?.password.isEmpty == true {
            Screen.error(
                "\nWARNING! Your credentials are stored unencrypted in '\(file.path)'.\nConfigure a credential helper to remove this warning. See\n"
                    + "https://docs.docker.com/go/credential-store/\n\n")
        }
        try say(answer)
    }

    private func say(_ answer: JSONValue) throws {
        if let status = answer["Status"]?.string, !status.isEmpty { try Screen.out(status + "\n") }
    }

    /// Whether what is kept still opens the door.
    private func isAccepted(_ kept: RegistryCredential) throws -> Bool {
        let name = kept.username.isEmpty ? "" : " [Username: \(kept.username)]"
        Screen.error(
            "Authenticating with existing credentials...\(name)\n\n"
                + "\(StreamCalls.isTerminal(2) ? "i Info →" : " Info ->") To login with a different account, "
                + "run 'skiff logout' followed by 'skiff login'\n\n\n")
        do {
            try say(try authenticate(kept))
            return true
        } catch let refusal as EngineRefusal {
            Screen.error(
                refusal.status == 401 ? "Stored credentials invalid or expired\n" : "Login did not succeed, error: \(refusal)\n"
            )
            return false
        }
    }

    private func authenticate(_ credential: RegistryCredential) throws -> JSONValue {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("username", credential.username)
            writer.member("password", credential.password)
            writer.member("serveraddress", credential.serverAddress)
            if !credential.identityToken.isEmpty { writer.member("identitytoken", credential.identityToken) }
        }
        return try invocation.client().post("/auth", json: writer.bytes)
    }

    private func ask(_ known: String) throws -> (String, String) {
        var (user, password) = (user, password)
        guard user.isEmpty || password.isEmpty else { return (user, password) }
        guard StreamCalls.isTerminal(0) else {
            throw FlagFault("Error: Cannot perform an interactive login from a non TTY device")
        }
        if user.isEmpty {
            try Screen.out("Username\(known.isEmpty ? "" : " (\(known))"): ")
            user = try Self.line().trimmingSpaces()
            if user.isEmpty { user = known }
            guard !user.isEmpty else { throw FlagFault("Error: Non-null Username Required") }
        }
        if password.isEmpty {
            // Before the question: whoever answers at once must not be seen either.
            let saved = try TerminalCalls.hideInput(0)
            defer { TerminalCalls.restore(saved) }
            try Screen.out("Password: ")
            password = try Self.line()
            try Screen.out("\n")
            guard !password.isEmpty else { throw FlagFault("Error: Password Required") }
        }
        return (user, password)
    }

    private static func line() throws -> String {
        var line: [UInt8] = []
        var byte: [UInt8] = [0]
        while line.count < 4096, try byte.withUnsafeMutableBytes({ try StreamCalls.read(0, into: $0) }) == 1, byte[0] != 0x0A {
            if byte[0] != 0x0D { line.append(byte[0]) }
        }
        return String(decoding: line, as: UTF8.self)
    }
}

extension Invocation {
    /// The header that shows the engine the credential for a name's registry, where one is kept.
    package func credentialHeaders(for reference: Reference) throws -> [(String, String)] {
        try headers(for: CredentialFile.key(of: reference.domain))
    }

    /// The header that shows the engine every credential that is kept (docker's build has it too).
    package func allCredentialHeaders() -> [(String, String)] {
        guard let file = try? CredentialFile(folder: configFolder) else { return [] }
        var writer = JSONWriter()
        writer.object { writer in
            for address in file.addresses {
                // A helper that does not answer is no obstacle for what is public.
                guard let credential = try? file.credential(for: address) else { continue }
                writer.key(address)
                writer.raw(credential.json)
            }
        }
        return [("X-Registry-Config", Base64Text.encode(writer.bytes, urlSafe: true))]
    }

    package func headers(for key: String) throws -> [(String, String)] {
        do {
            guard let credential = try CredentialFile(folder: configFolder).credential(for: key) else { return [] }
            return [("X-Registry-Auth", credential.header)]
        } catch {
            // What is public can still be had without a credential.
            Screen.error("WARNING: \(error)\n")
            return []
        }
    }
}
