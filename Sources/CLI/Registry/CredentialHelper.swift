import JSON
import Linux
import Model

/// A program `docker-credential-NAME` that keeps credentials: a verb as its argument, the server or a JSON document on its standard
/// input, the answer on its standard output (docker-credential-helpers' protocol).
package struct CredentialHelper: Sendable, Equatable {
    package let name: String

    private static let absent = "credentials not found in native keychain"
    /// The user name under which helpers keep an identity token.
    private static let tokenUser = "<token>"

    package init(name: String) { self.name = name }

    /// Nil where the helper has none.
    package func get(_ server: String) throws -> RegistryCredential? {
        let answer = try run("get", Array(server.utf8))
        guard answer.status == 0 else {
            if answer.text.contains(text: Self.absent) { return nil }
            throw refusal("get", answer.text)
        }
        guard let value = try? JSONValue(json: Array(answer.text.utf8)), let secret = value["Secret"]?.string else {
            throw refusal("get", "its answer is no JSON with a Secret")
        }
        var credential = RegistryCredential()
        let user = value["Username"]?.string ?? ""
        if user == Self.tokenUser {
            credential.identityToken = secret
        } else {
            credential.username = user
            credential.password = secret
        }
        return credential
    }

    package func store(_ credential: RegistryCredential, for server: String) throws {
        let isToken = !credential.identityToken.isEmpty
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("ServerURL", server)
            writer.member("Username", isToken ? Self.tokenUser : credential.username)
            writer.member("Secret", isToken ? credential.identityToken : credential.password)
        }
        let answer = try run("store", writer.bytes)
        guard answer.status == 0 else { throw refusal("store", answer.text) }
    }

    package func erase(_ server: String) throws {
        let answer = try run("erase", Array(server.utf8))
        guard answer.status == 0 || answer.text.contains(text: Self.absent) else { throw refusal("erase", answer.text) }
    }

    private func refusal(_ verb: String, _ text: String) -> Fault {
        Fault(
            .system, "error getting credentials - err: docker-credential-\(name) \(verb), out: `\(text.trimmingSpaces())`",
            subject: name)
    }

    private func run(_ verb: String, _ input: [UInt8]) throws -> (status: CInt, text: String) {
        guard !name.contains("/"), let path = LaunchCalls.find("docker-credential-\(name)") else {
            throw Fault(
                .notFound,
                "error getting credentials - err: exec: \"docker-credential-\(name)\": executable file not found in $PATH, out: ``",
                subject: name)
        }
        // Files in memory: a helper that neither reads nor writes cannot hang a pipe.
        let request = try Files.memory("request", input)
        let answer = try Files.memory("answer")
        let pid = try LaunchCalls.start(
            path, [verb], stdin: .descriptor(request.raw), stdout: .descriptor(answer.raw), stderr: .descriptor(2))
        let ending = try LaunchCalls.wait(pid)
        let text = String(decoding: try Files.readFromStart(answer.raw, limit: 1 << 20), as: UTF8.self)
        if case .exited(let status) = ending { return (status, text) }
        return (1, text.isEmpty ? "it was killed" : text)
    }
}
