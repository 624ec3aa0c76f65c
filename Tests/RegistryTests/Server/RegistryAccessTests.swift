import Archive
import HTTP
import Model
import Registry
import TestSupport
import Testing

/// Who may do what: passwords and tokens.
@Suite struct RegistryAccessTests {
    // htpasswd -nbBC 4 alice secret
    private static func hash(_ password: String) -> String {
        let output = run(["/usr/bin/htpasswd", "-nbBC", "4", "u", password]).output
        return output.split(separator: ":", maxSplits: 1).last.map { String($0.prefix { !$0.isNewline }) } ?? ""
    }

    private static func basic(_ text: String) -> HTTPFields {
        ["Authorization": "Basic " + Base64Text.encode(Array(text.utf8))]
    }

    @Test func onlyKnownUsersEnter() throws {
        let scratch = try Scratch()
        let file = try scratch.file("users", "# team\nalice:\(Self.hash("secret"))\n\nbob:\(Self.hash("pa:ss"))\n")
        let access = try HtpasswdAccess(path: file, log: RegistryLog(.text, isQuiet: true))
        let fixture = try ServiceFixture(access: access)
        let refused = fixture.ask("GET", "/v2/")
        #expect(refused.status == 401 && refused.code == "UNAUTHORIZED")
        #expect(refused["WWW-Authenticate"]?.hasPrefix("Basic realm=") == true)
        #expect(fixture.ask("GET", "/v2/", Self.basic("alice:secret")).status == 200)
        #expect(fixture.ask("GET", "/v2/", Self.basic("alice:secret")).status == 200)
        #expect(fixture.ask("GET", "/v2/", Self.basic("bob:pa:ss")).status == 200)
        for wrong in ["alice:", "alice:secret2", "alice", ":secret", "eve:secret", "alice:secret\u{0}", "Alice:secret"] {
            #expect(fixture.ask("GET", "/v2/", Self.basic(wrong)).status == 401, "\(wrong)")
        }
        #expect(fixture.ask("GET", "/v2/", ["Authorization": "Basic ###"]).status == 401)
        #expect(fixture.ask("GET", "/v2/", ["Authorization": "Bearer abc"]).status == 401)
        #expect(fixture.ask("POST", "/v2/a/blobs/uploads/").status == 401)
        #expect(fixture.ask("GET", "/v2/_catalog").status == 401)
    }

    @Test func hashesThatAreNotBcryptAreRefused() throws {
        let scratch = try Scratch()
        let file = try scratch.file("users", "alice:$apr1$abc$def\n")
        #expect { try HtpasswdAccess(path: file, log: RegistryLog(.text, isQuiet: true)) } throws: { error in
            Fault(error).message.contains(":1: the hash of alice is not bcrypt")
        }
        #expect(!PasswordHash.isBcrypt("$2y$05$short"))
        #expect(throws: (any Error).self) { try HtpasswdAccess(path: "/nonexistent", log: RegistryLog(.text)) }
    }

    // MARK: Tokens

    private static let now: Int64 = 1_800_000_000

    /// Keys of a test, made by openssl.
    private struct Keys {
        let scratch: Scratch
        let publicFile: String

        init(_ kind: String, _ name: String) throws {
            scratch = try Scratch(name)
            let make: String
            switch kind {
            case "RS256": make = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"
            case "ES256": make = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
            default: make = "-algorithm ED25519"
            }
            let script = """
                cd '\(scratch.path)' && openssl genpkey \(make) -out key.pem 2>/dev/null && openssl pkey -in key.pem -pubout -out pub.pem
                """
            guard run(["/bin/sh", "-c", script]).status == 0 else { throw SetupFailure("openssl made no key") }
            publicFile = scratch.path + "/pub.pem"
        }

        /// A signature as tokens have it; ECDSA's numbers are taken out of their ASN.1.
        func sign(_ text: String, _ algorithm: String) throws -> [UInt8] {
            let input = try scratch.file("input", text)
            let how =
                algorithm == "EdDSA"
                ? "pkeyutl -sign -rawin -in '\(input)' -inkey key.pem" : "dgst -sha256 -sign key.pem '\(input)'"
            let output = run(["/bin/sh", "-c", "cd '\(scratch.path)' && openssl \(how) | od -An -v -tx1 | tr -d ' \\n'"]).output
            let digits = Array(output.utf8)
            let bytes = stride(from: 0, to: digits.count - 1, by: 2).compactMap {
                UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16)
            }
            guard algorithm == "ES256" else { return bytes }
            var numbers: [UInt8] = []
            var place = 2
            for _ in 0..<2 {
                let length = Int(bytes[place + 1])
                let number = bytes[(place + 2)..<(place + 2 + length)].drop { $0 == 0 }
                numbers += [UInt8](repeating: 0, count: 32 - number.count) + number
                place += 2 + length
            }
            return numbers
        }
    }

    private static func url(_ bytes: [UInt8]) -> String {
        Base64Text.encode(bytes).replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    private static func body(
        issuer: String = "forge", audience: String = "\"registry\"", expires: Int64 = now + 300, before: Int64? = nil,
        access: String = "[{\"type\":\"repository\",\"name\":\"team/app\",\"actions\":[\"pull\"]}]"
    ) -> String {
        "{\"iss\":\"\(issuer)\",\"aud\":\(audience),\"exp\":\(expires)"
            + (before.map { ",\"nbf\":\($0)" } ?? "") + ",\"access\":\(access)}"
    }

    private static func token(_ keys: Keys, _ algorithm: String, head: String? = nil, body: String = body()) throws -> String {
        let head = head ?? "{\"typ\":\"JWT\",\"alg\":\"\(algorithm)\"}"
        let signed = url(Array(head.utf8)) + "." + url(Array(body.utf8))
        return try signed + "." + url(keys.sign(signed, algorithm))
    }

    private static func fixture(_ keys: Keys, _ name: String) throws -> ServiceFixture {
        let access = TokenAccess(
            realm: "https://forge/token", service: "registry", issuer: "forge", keys: try TokenKeys.read(keys.publicFile),
            clock: { now })
        return try ServiceFixture(name, access: access)
    }

    private static func bearer(_ token: String) -> HTTPFields { ["Authorization": "Bearer \(token)"] }

    @Test(arguments: ["RS256", "ES256", "EdDSA"]) func aTokenGrantsWhatItSays(_ algorithm: String) throws {
        let keys = try Keys(algorithm, "keys\(algorithm)")
        let fixture = try Self.fixture(keys, "grants\(algorithm)")
        let bare = fixture.ask("GET", "/v2/team/app/tags/list")
        #expect(
            bare["WWW-Authenticate"]
                == "Bearer realm=\"https://forge/token\",service=\"registry\",scope=\"repository:team/app:pull\"")
        let good = Self.bearer(try Self.token(keys, algorithm))
        #expect(fixture.ask("GET", "/v2/", good).status == 200)
        #expect(fixture.ask("GET", "/v2/team/app/tags/list", good).status == 404)
        let push = fixture.ask("POST", "/v2/team/app/blobs/uploads/", good)
        #expect(push.status == 401)
        #expect(
            push["WWW-Authenticate"]?.contains("scope=\"repository:team/app:pull,push\",error=\"insufficient_scope\"") == true)
        #expect(fixture.ask("GET", "/v2/team/other/tags/list", good).status == 401)
        #expect(fixture.ask("GET", "/v2/_catalog", good).status == 401)
        #expect(fixture.ask("DELETE", "/v2/team/app/manifests/1", good).status == 401)
        let all = "[{\"type\":\"registry\",\"name\":\"catalog\",\"actions\":[\"*\"]}]"
        let catalog = Self.bearer(try Self.token(keys, algorithm, body: Self.body(access: all)))
        #expect(fixture.ask("GET", "/v2/_catalog", catalog).status == 200)
    }

    @Test func aTokenIsForOneIssuerOneServiceAndItsTime() throws {
        let keys = try Keys("ES256", "claims")
        let fixture = try Self.fixture(keys, "claimsService")
        func status(_ body: String) throws -> Int {
            fixture.ask("GET", "/v2/", Self.bearer(try Self.token(keys, "ES256", body: body))).status
        }
        #expect(try status(Self.body(audience: "[\"x\",\"registry\"]")) == 200)
        #expect(try status(Self.body(issuer: "other")) == 401)
        #expect(try status(Self.body(audience: "\"other\"")) == 401)
        #expect(try status(Self.body(audience: "[]")) == 401)
        #expect(try status(Self.body(expires: Self.now - 61)) == 401)
        #expect(try status(Self.body(expires: Self.now - 30)) == 200)
        #expect(try status(Self.body(before: Self.now + 61)) == 401)
        #expect(try status("{\"iss\":\"forge\",\"aud\":\"registry\"}") == 401)
        #expect(try status("[]") == 401)
    }

    /// CVE-2025-24976 and its relatives: the token does not choose its key, nor its algorithm.
    @Test func aTokenDoesNotBringItsOwnKey() throws {
        let keys = try Keys("RS256", "owner")
        let stranger = try Keys("RS256", "stranger")
        let fixture = try Self.fixture(keys, "inject")
        func status(_ token: String) -> Int { fixture.ask("GET", "/v2/", Self.bearer(token)).status }
        #expect(status(try Self.token(keys, "RS256")) == 200)
        #expect(status(try Self.token(stranger, "RS256")) == 401)
        let pem = run(["/bin/cat", stranger.publicFile]).output.split(separator: "\n").dropFirst().dropLast().joined()
        for member in [
            "\"jwk\":{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "\"x5c\":[\"\(pem)\"]", "\"jku\":\"https://evil/keys\"",
            "\"kid\":\"../../etc/passwd\"", "\"kid\":\"' OR 1=1\"",
        ] {
            let head = "{\"alg\":\"RS256\",\(member)}"
            #expect(status(try Self.token(stranger, "RS256", head: head)) == 401, "\(member)")
            #expect(status(try Self.token(keys, "RS256", head: head)) == 200, "\(member)")
        }
        let body = Self.url(Array(Self.body().utf8))
        for algorithm in ["none", "None", "HS256", "RS512", "ES256", ""] {
            let head = Self.url(Array("{\"alg\":\"\(algorithm)\"}".utf8))
            #expect(status("\(head).\(body).") == 401, "\(algorithm)")
            #expect(status("\(head).\(body).AAAA") == 401, "\(algorithm)")
        }
        #expect(status(try Self.token(keys, "RS256", head: "{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}")) == 401)
        let good = try Self.token(keys, "RS256")
        #expect(status(good + ".") == 401)
        #expect(status(good + "=") == 401)
        #expect(status(String(good.dropLast(4))) == 401)
        #expect(status("a.b.c") == 401)
    }

    @Test func keysComeFromPEMAndJWKS() throws {
        #expect(throws: (any Error).self) {
            try TokenKeys.pem("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n")
        }
        #expect(throws: (any Error).self) { try TokenKeys.pem("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n") }
        // RFC 8037, A.2 and RFC 7517, A.1
        let set = """
            {"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            {"kty":"EC","crv":"P-256","kid":"1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc"},{"kty":"oct","k":"AA"}]}
            """
        #expect(try TokenKeys.jwks(Array(set.utf8)).count == 1)
        #expect(try TokenKeys.jwks(Array(set.replacing("\"enc\"", with: "\"sig\"").utf8)).count == 2)
        #expect(throws: (any Error).self) {
            try TokenKeys.jwks(Array(set.replacing("\"enc\"", with: "\"sig\"").replacing("4Etl", with: "5Etl").utf8))
        }
    }
}
