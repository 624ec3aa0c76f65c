import CLI
import JSON
import Linux
import Model
import TestSupport
import Testing

@Suite struct CredentialFileTests {
    private static func credential(_ user: String, _ password: String) -> RegistryCredential {
        RegistryCredential(username: user, password: password)
    }

    @Test func whatIsStoredIsFoundAndNothingElseChanges() throws {
        let scratch = try Scratch()
        let path = try scratch.file(
            "config.json", #"{"psFormat":"table {{.ID}}","auths":{"old.example":{"auth":"dTpw"}},"plugins":{"x":{"y":"1"}}}"#,
            mode: 0o644)
        var file = try CredentialFile(folder: scratch.path)
        #expect(try file.store(Self.credential("me", "se:cret"), for: "new.example:5000"))
        #expect(try Files.status(path).permissions == 0o600)
        let text = String(decoding: try Files.read(path), as: UTF8.self)
        #expect(
            text == """
                {
                \t"psFormat": "table {{.ID}}",
                \t"auths": {
                \t\t"old.example": {
                \t\t\t"auth": "dTpw"
                \t\t},
                \t\t"new.example:5000": {
                \t\t\t"auth": "bWU6c2U6Y3JldA=="
                \t\t}
                \t},
                \t"plugins": {
                \t\t"x": {
                \t\t\t"y": "1"
                \t\t}
                \t}
                }

                """)
        let again = try CredentialFile(folder: scratch.path)
        let found = try again.credential(for: "new.example:5000")
        #expect(found?.username == "me")
        #expect(found?.password == "se:cret")
        #expect(try again.credential(for: "old.example")?.password == "p")
        #expect(try again.credential(for: "other.example") == nil)
        try file.erase("old.example")
        #expect(try CredentialFile(folder: scratch.path).credential(for: "old.example") == nil)
    }

    @Test func theHubAndOldKeysAreFound() throws {
        let scratch = try Scratch()
        _ = try scratch.file(
            "config.json",
            #"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"https://reg.example/v1/":{"auth":"YTpi"}}}"#)
        let file = try CredentialFile(folder: scratch.path)
        #expect(try file.credential(for: try Reference("debian"))?.username == "u")
        #expect(try file.credential(for: try Reference("reg.example/x"))?.username == "a")
        #expect(try file.credential(for: try Reference("ghcr.io/x/y")) == nil)
    }

    @Test func anIdentityTokenIsKeptInsteadOfThePassword() throws {
        let scratch = try Scratch()
        var file = try CredentialFile(folder: scratch.path + "/made")
        var credential = Self.credential("me", "")
        credential.identityToken = "tok"
        #expect(try file.store(credential, for: "r.example"))
        let found = try CredentialFile(folder: scratch.path + "/made").credential(for: "r.example")
        #expect(found?.identityToken == "tok")
        #expect(found?.password == "")
        #expect(try Files.status(scratch.path + "/made").permissions == 0o700)
    }

    @Test func aFileThatIsNoJSONIsLeftAlone() throws {
        let scratch = try Scratch()
        let path = try scratch.file("config.json", "{not json")
        #expect(throws: Fault.self) { try CredentialFile(folder: scratch.path) }
        #expect(String(decoding: try Files.read(path), as: UTF8.self) == "{not json")
    }

    @Test func helpersAreChosenByRegistry() throws {
        let scratch = try Scratch()
        _ = try scratch.file("config.json", #"{"credsStore":"all","credHelpers":{"one.example":"one","none.example":""}}"#)
        let file = try CredentialFile(folder: scratch.path)
        #expect(file.helper(for: "one.example") == CredentialHelper(name: "one"))
        #expect(file.helper(for: "two.example") == CredentialHelper(name: "all"))
    }

    @Test func aHelperIsAsked() throws {
        let scratch = try Scratch()
        let place = "/usr/local/bin/docker-credential-nosuchhelperhere"
        #expect(!Files.exists(place))
        #expect(throws: Fault.self) { try CredentialHelper(name: "nosuchhelperhere").get("r.example") }
        #expect(throws: Fault.self) { try CredentialHelper(name: "../../tmp/evil").get("r.example") }
        _ = scratch
    }

    @Test func theHeaderIsDockersAuthConfig() throws {
        var credential = Self.credential("me", "p\u{FF}?")
        credential.serverAddress = "r.example"
        let bytes = try #require(Base64Text.decode(credential.header))
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == "{\"username\":\"me\",\"password\":\"p\u{FF}?\",\"serveraddress\":\"r.example\"}")
        #expect(!credential.header.contains("+") && !credential.header.contains("/"))
    }
}
