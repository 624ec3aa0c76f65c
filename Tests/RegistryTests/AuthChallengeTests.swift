import Registry
import Testing

@Suite struct AuthChallengeTests {
    @Test func aTokenServersChallengeIsRead() {
        let text = #"Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push""#
        #expect(
            AuthChallenge.parse([text]) == [
                AuthChallenge(
                    scheme: "bearer",
                    parameters: ["realm": "https://auth.example/token", "service": "reg", "scope": "repository:a/b:pull,push"])
            ])
    }

    @Test func severalChallengesAreReadFromOneFieldOrMore() {
        let schemes = AuthChallenge.parse([#"Basic realm="x", Bearer realm=y"#, "Negotiate"]).map(\.scheme)
        #expect(schemes == ["basic", "bearer", "negotiate"])
    }

    @Test func theFirstOfTwoRealmsCounts() {
        let read = AuthChallenge.parse([#"Bearer realm="https://good",realm="https://evil""#])
        #expect(read.first?.parameters["realm"] == "https://good")
    }

    @Test func quotesAreUnescaped() {
        #expect(AuthChallenge.parse([#"Basic realm="a \"b\" \\""#]).first?.parameters["realm"] == #"a "b" \"#)
    }

    @Test(arguments: ["", ",,,", "\"", "=x", "Bearer realm=\"open", "Bearer ,,, =\"", String(repeating: "a ", count: 10_000)])
    func nonsenseIsNoChallengeThatHelps(_ text: String) {
        #expect(AuthChallenge.parse([text]).allSatisfy { $0.parameters["realm"] == nil })
    }
}
