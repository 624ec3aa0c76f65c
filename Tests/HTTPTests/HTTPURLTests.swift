import HTTP
import Model
import Testing

@Suite struct HTTPURLTests {
    @Test(arguments: [
        ("http://Host", "http://host/"), ("https://host:443/a?b=c#d", "https://host/a?b=c"),
        ("http://[::1]:5000/x", "http://[::1]:5000/x"),
        ("https://h_1.example:8443?x=1", "https://h_1.example:8443/?x=1"), ("HTTP://127.0.0.1:80/", "http://127.0.0.1/"),
    ]) func aURLIsReadAndWritten(_ text: String, _ expected: String) { #expect(HTTPURL(text)?.description == expected) }

    @Test(arguments: [
        "ftp://host/", "http://", "http:///x", "http://user@host/", "http://user:secret@host/", "http://host:0/",
        "http://host:99999/",
        "http://host:/x", "http://ho st/", "http://host/a b", "http://[::1", "http://[x]/", "host", "", "file:///etc/passwd",
        "http://a\r\nb/",
        "http://host:5000:1/", "https://hö/", "javascript:alert(1)",
    ]) func whatIsNoURLOfARegistryIsRefused(_ text: String) { #expect(HTTPURL(text) == nil) }

    @Test(arguments: [
        ("/x?y", "http://h:5000/x?y"), ("z", "http://h:5000/v2/a/z"), ("?q=1", "http://h:5000/v2/a/b?q=1"),
        ("//other/x", "http://other/x"),
        ("https://s/x", "https://s/x"),
    ]) func aPlaceIsRelativeToWhatWasAsked(_ place: String, _ expected: String) throws {
        let url = try #require(HTTPURL("http://h:5000/v2/a/b?old=1"))
        #expect(url.resolving(place)?.description == expected)
    }

    @Test(arguments: ["file:///etc/passwd", "gopher://x/", "http://u:p@h/", "https://", "a b"]) func aPlaceElsewhereIsNone(
        _ place: String
    ) throws {
        #expect(try #require(HTTPURL("http://h/v2/")).resolving(place) == nil)
    }

    @Test func loopbackIsKnown() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] { #expect(HTTPURL.isLoopback(host), "\(host)") }
        for host in ["127.evil.example", "localhost.example", "128.0.0.1", "10.0.0.1", "1.2.3.127"] {
            #expect(!HTTPURL.isLoopback(host), "\(host)")
        }
    }

    @Test func queriesAreEncoded() throws {
        let url = try #require(HTTPURL("https://h/t?a=1"))
        #expect(
            url.adding("scope", "repository:a/b:pull,push x").description
                == "https://h/t?a=1&scope=repository%3Aa%2Fb%3Apull%2Cpush%20x")
    }

    @Test(arguments: ["", "a", "ab", "abc", "user:päss"]) func base64IsReadAsItWasWritten(_ text: String) {
        #expect(Base64Text.decode(Base64Text.encode(Array(text.utf8))) == Array(text.utf8))
    }

    @Test func base64KnowsBothAlphabets() {
        #expect(Base64Text.encode([0xFB, 0xFF]) == "+/8=")
        #expect(Base64Text.decode("-_8") == [0xFB, 0xFF])
        for text in ["a", "a===b", "*", "ab=c"] { #expect(Base64Text.decode(text) == nil, "\(text)") }
    }
}
