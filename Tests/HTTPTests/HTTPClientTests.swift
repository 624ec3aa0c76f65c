import Glibc
import HTTP
import Linux
import Model
import TestSupport
import Testing

/// A server on loopback that answers each request with a text that the test gives, on threads.
final class TestServer: Sendable {
    let port: UInt16
    let seen = Monitor([RequestHead]())
    let connections = Monitor(0)
    private let listener: SharedDescriptor

    init(tls: TLSContext? = nil, _ answer: @escaping @Sendable (RequestHead) -> String?) throws {
        let socket = Descriptor(owning: Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let raw = socket.raw
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0, Glibc.listen(raw, 64) == 0 else { throw SetupFailure("listen: errno \(errno)") }
        port = try NetPortSocket.port(of: socket.raw)
        let listener = SharedDescriptor(socket)
        self.listener = listener
        try startThread { [seen, connections] in
            while let accepted = try? Sockets.accept(listener.raw).release() {
                connections.update { $0 += 1 }
                try? startThread {
                    do {
                        let channel = try Channel(Descriptor(owning: accepted), idleTimeout: 3000)
                        if let tls { try channel.startTLS(server: tls) }
                        while let head = try channel.readRequest() {
                            seen.update { $0.append(head) }
                            _ = try BodyReader(channel, try head.bodyFraming()).readAll(limit: 1 << 20)
                            guard let text = answer(head) else { return }
                            try channel.write(Array(text.utf8))
                        }
                        channel.endWriting()
                    } catch {}
                }
            }
        }
    }

    deinit { StreamSocket.end(listener.raw) }

    func url(_ target: String = "/", scheme: HTTPURL.Scheme = .http, host: String = "127.0.0.1") -> HTTPURL {
        HTTPURL(scheme: scheme, host: host, port: port, target: target)
    }
}

@Suite struct HTTPClientTests {
    private static func ok(_ body: String, _ fields: String = "") -> String {
        "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)"
    }

    private func text(_ answer: HTTPAnswer) throws -> String {
        String(decoding: try answer.readAll(limit: 1000), as: UTF8.self)
    }

    @Test func aConnectionIsKeptForTheNextRequest() throws {
        let server = try TestServer { Self.ok($0.target) }
        let client = HTTPClient()
        for target in ["/a", "/b", "/c"] {
            #expect(try text(client.send(HTTPRequest("GET", server.url(target)), tls: nil, cancellation: nil)) == target)
        }
        #expect(server.connections.update { $0 } == 1)
    }

    @Test func aConnectionThatTheServerEndedIsNotUsedAgain() throws {
        let server = try TestServer { Self.ok($0.target, $0.target == "/a" ? "Connection: close\r\n" : "") }
        let client = HTTPClient()
        for target in ["/a", "/b"] {
            #expect(try text(client.send(HTTPRequest("GET", server.url(target)), tls: nil, cancellation: nil)) == target)
        }
        #expect(server.connections.update { $0 } == 2)
    }

    @Test func aBodyThatWasNotReadDoesNotSpoilTheNextAnswer() throws {
        let server = try TestServer { Self.ok($0.target == "/big" ? String(repeating: "x", count: 900) : "small") }
        let client = HTTPClient()
        do {
            let answer = try client.send(HTTPRequest("GET", server.url("/big")), tls: nil, cancellation: nil)
            #expect(answer.status == 200)
        }
        #expect(try text(client.send(HTTPRequest("GET", server.url("/next")), tls: nil, cancellation: nil)) == "small")
    }

    @Test func aHeadHasNoBody() throws {
        let server = try TestServer { $0.method == "HEAD" ? "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" : Self.ok("x") }
        let client = HTTPClient()
        #expect(try text(client.send(HTTPRequest("HEAD", server.url()), tls: nil, cancellation: nil)) == "")
        #expect(try text(client.send(HTTPRequest("GET", server.url()), tls: nil, cancellation: nil)) == "x")
    }

    @Test func aBodyIsSentWithItsLengthOrInChunks() throws {
        let server = try TestServer { Self.ok($0.fields["Content-Length"] ?? $0.fields["Transfer-Encoding"] ?? "none") }
        let client = HTTPClient()
        let bodies: [(HTTPRequest.Body, String)] = [
            (.none, "0"), (.bytes(Array("abc".utf8)), "3"),
            (.stream(length: 5) { sink in try Array("hello".utf8).withUnsafeBytes { try sink.write($0) } }, "5"),
            (.stream(length: nil) { sink in try Array("hello".utf8).withUnsafeBytes { try sink.write($0) } }, "chunked"),
        ]
        for (body, expected) in bodies {
            let request = HTTPRequest("PUT", server.url(), body: body)
            #expect(try text(client.send(request, tls: nil, cancellation: nil)) == expected)
        }
    }

    @Test func aBodyOfAnotherLengthThanSaidIsAFault() throws {
        let server = try TestServer { _ in Self.ok("") }
        let request = HTTPRequest(
            "PUT", server.url(),
            body: .stream(length: 5) { sink in try Array("hi".utf8).withUnsafeBytes { try sink.write($0) } })
        #expect(throws: Fault.self) { try HTTPClient().send(request, tls: nil, cancellation: nil) }
    }

    @Test func nobodyListens() throws {
        let server = try TestServer { _ in nil }
        let fault = #expect(throws: WireFault.self) {
            try HTTPClient().send(
                HTTPRequest("GET", HTTPURL(scheme: .http, host: "127.0.0.1", port: 1)), tls: nil, cancellation: nil)
        }
        #expect(fault?.kind == .unreachable)
        let cut = #expect(throws: WireFault.self) {
            try HTTPClient().send(HTTPRequest("GET", server.url()), tls: nil, cancellation: nil)
        }
        #expect(cut?.kind == .cut)
    }

    @Test func aNameThatDoesNotExistIsSaid() {
        let url = HTTPURL(scheme: .http, host: "registry.invalid")
        let fault = #expect(throws: WireFault.self) {
            try HTTPClient().send(HTTPRequest("GET", url), tls: nil, cancellation: nil)
        }
        #expect(fault?.kind == .unknownHost)
        #expect(fault?.message.hasPrefix("lookup registry.invalid: ") == true)
    }

    @Test func aProxyGetsTheWholeAddress() throws {
        let proxy = try TestServer {
            Self.ok($0.target + " " + ($0.fields["Proxy-Authorization"] ?? "") + " " + ($0.fields["Host"] ?? ""))
        }
        var settings = ProxySettings()
        settings.http = "http://user:p%40ss@127.0.0.1:\(proxy.port)"
        settings.none = "direct.example,.inside.example,10.0.0.0/8"
        let client = HTTPClient(proxies: settings)
        let url = HTTPURL(scheme: .http, host: "registry.invalid", target: "/v2/")
        #expect(
            try text(client.send(HTTPRequest("GET", url), tls: nil, cancellation: nil))
                == "http://registry.invalid/v2/ Basic \(Base64Text.encode(Array("user:p@ss".utf8))) registry.invalid")
    }

    @Test func aTunnelThatIsRefusedIsSaid() throws {
        let proxy = try TestServer { $0.method == "CONNECT" ? "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" : nil }
        var settings = ProxySettings()
        settings.https = "127.0.0.1:\(proxy.port)"
        let url = HTTPURL(scheme: .https, host: "registry.invalid")
        let fault = #expect(throws: WireFault.self) {
            try HTTPClient(proxies: settings).send(HTTPRequest("GET", url), tls: TLSContext(client: .init()), cancellation: nil)
        }
        #expect(fault?.message.contains("403") == true)
        #expect(proxy.seen.update { $0.first?.target } == "registry.invalid:443")
    }
}

@Suite struct TLSTests {
    /// An authority and certificates that it signed, made once.
    final class Authority {
        let scratch: Scratch

        init() throws {
            scratch = try Scratch("tls")
            let script = """
                set -e; cd '\(scratch.path)'
                key() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key; }
                key ca; openssl req -x509 -new -key ca.key -subj /CN=test-authority -days 2 -out ca.crt
                make() { key $1; openssl req -new -key $1.key -subj /CN=$1 -out $1.csr
                  printf 'subjectAltName=%s' "$2" >$1.ext
                  openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days ${3:-2} -extfile $1.ext -out $1.crt; }
                make good DNS:localhost,IP:127.0.0.1; make other DNS:other.example; make wild DNS:local*,DNS:*; make old DNS:localhost -1 || make old DNS:localhost 0
                """
            let result = run(["/bin/bash", "-c", script])
            guard result.status == 0 else { throw SetupFailure("openssl: \(result.error)") }
        }

        func server(_ name: String) throws -> TLSContext {
            try TLSContext(certificate: "\(scratch.path)/\(name).crt", key: "\(scratch.path)/\(name).key")
        }

        func client(_ change: (inout TLSContext.ClientSettings) -> Void = { _ in }) throws -> TLSContext {
            var settings = TLSContext.ClientSettings()
            settings.authorities = [scratch.path + "/ca.crt"]
            change(&settings)
            return try TLSContext(client: settings)
        }
    }

    private func get(_ authority: Authority, _ certificate: String, host: String, _ client: TLSContext) throws -> String {
        let server = try TestServer(tls: try authority.server(certificate)) { head in
            "HTTP/1.1 200 OK\r\nContent-Length: \(head.target.utf8.count)\r\n\r\n\(head.target)"
        }
        let answer = try HTTPClient().send(
            HTTPRequest("GET", server.url("/x", scheme: .https, host: host)), tls: client, cancellation: nil)
        return String(decoding: try answer.readAll(limit: 100), as: UTF8.self)
    }

    @Test func aCertificateForTheNameOrTheAddressIsTaken() throws {
        let authority = try Authority()
        for host in ["localhost", "127.0.0.1"] { #expect(try get(authority, "good", host: host, authority.client()) == "/x") }
    }

    @Test(arguments: ["other", "wild", "old"]) func aCertificateForSomethingElseIsRefused(_ name: String) throws {
        let authority = try Authority()
        let fault = #expect(throws: WireFault.self) { try get(authority, name, host: "localhost", authority.client()) }
        #expect(fault?.kind == .tls)
        #expect(fault?.message.contains("not trusted") == true, "\(fault?.message ?? "")")
    }

    @Test func anAuthorityThatNobodyNamedIsRefused() throws {
        let authority = try Authority()
        let fault = #expect(throws: WireFault.self) {
            try get(authority, "good", host: "localhost", TLSContext(client: TLSContext.ClientSettings()))
        }
        #expect(fault?.kind == .tls)
    }

    @Test func withoutVerificationAnyCertificateWillDo() throws {
        let authority = try Authority()
        #expect(try get(authority, "other", host: "localhost", authority.client { $0.verifies = false }) == "/x")
    }

    @Test func aFileThatIsNoCertificateIsNamed() throws {
        let scratch = try Scratch()
        let path = try scratch.file("bad.crt", "nonsense")
        var settings = TLSContext.ClientSettings()
        settings.authorities = [path]
        let fault = #expect(throws: WireFault.self) { try TLSContext(client: settings) }
        #expect(fault?.message.contains("bad.crt") == true)
    }
}
