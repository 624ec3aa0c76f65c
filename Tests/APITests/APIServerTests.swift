import API
import Engine
import Glibc
import Linux
import Logging
import Model
import Synchronization
import Testing

/// A server with routes of its own on a socket in a scratch folder.
final class TestServer: Sendable {
    let path: String
    private let server: APIServer

    init(_ add: (inout Router<Route>) -> Void) async throws {
        let path = "/tmp/skiff-api-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
        self.path = path
        let socket = try DaemonProcess.listen(path, mode: 0o600, group: nil).release()
        var router = Router<Route>()
        add(&router)
        server = try await APIServer(
            sockets: [socket], router: router, threads: 1, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    func stop() async {
        await server.shutdown(grace: .milliseconds(200))
        unlink(path)
    }
}

/// Something that a test waits for.
final class Flag: Sendable {
    private let state = Mutex(false)
    func raise() { state.withLock { $0 = true } }
    func wait() async -> Bool {
        for _ in 0..<500 {
            if state.withLock({ $0 }) { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return false
    }
}

@Suite struct APIServerTests {
    static let host = "Host: docker\r\n"

    static func with(_ add: (inout Router<Route>) -> Void, _ body: (TestServer) async throws -> Void) async throws {
        let server = try await TestServer(add)
        do { try await body(server) } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    @Test func answersCarryDockersFields() async throws {
        try await Self.with {
            $0.addSystemForTests()
        } _: { server in
            let client = try RawClient(server.path)
            await client.send("GET /v1.50/_ping HTTP/1.1\r\n\(Self.host)\r\n")
            let (head, body) = await client.answer()
            #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(head.contains("Api-Version: \(Docker.apiVersion)\r\n"))
            #expect(head.contains("Server: Skiff/"))
            #expect(head.contains("Ostype: linux\r\n"))
            #expect(head.contains("Docker-Experimental: false\r\n"))
            #expect(body == "OK")
            await client.send("HEAD /_ping HTTP/1.1\r\n\(Self.host)\r\nGET /nothing HTTP/1.1\r\n\(Self.host)\r\n")
            #expect(await client.receive(until: "\r\n\r\n").contains("200 OK"))
            let missing = await client.answer()
            #expect(missing.head.hasPrefix("HTTP/1.1 404 Not Found\r\n"))
            #expect(missing.body == "{\"message\":\"page not found\"}\n")
        }
    }

    @Test func requestsSentTogetherAreAnsweredInTheirOrder() async throws {
        try await Self.with { router in
            router.get("/slow") { _ in
                try await Task.sleep(for: .milliseconds(50))
                return .text("slow")
            }
            router.inline("GET", "/fast") { _ in .text("fast") }
            router.post("/echo") { .text(String(decoding: $0.body, as: UTF8.self)) }
        } _: { server in
            let client = try RawClient(server.path)
            await client.send(
                "GET /slow HTTP/1.1\r\n\(Self.host)\r\nGET /fast HTTP/1.1\r\n\(Self.host)\r\n"
                    + "POST /echo HTTP/1.1\r\n\(Self.host)Content-Length: 5\r\n\r\nfirst"
                    + "POST /echo HTTP/1.1\r\n\(Self.host)Transfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n"
                    + "GET /fast HTTP/1.1\r\n\(Self.host)Connection: close\r\n\r\n")
            #expect(await client.bodies(5) == ["slow", "fast", "first", "second", "fast"])
            #expect(await client.isAtEnd())
        }
    }

    @Test func faultsBecomeStatusAndMessage() async throws {
        try await Self.with { router in
            for kind in Fault.Kind.allCases { router.get("/\(kind.rawValue)") { _ in throw Fault(kind, "no luck") } }
        } _: { server in
            let client = try RawClient(server.path)
            let statuses: [(Fault.Kind, Int)] = [
                (.invalid, 400), (.notFound, 404), (.conflict, 409), (.forbidden, 403), (.unsupported, 501),
                (.unavailable, 503), (.system, 500), (.commandNotFound, 400),
            ]
            for (kind, status) in statuses {
                await client.send("GET /\(kind.rawValue) HTTP/1.1\r\n\(Self.host)\r\n")
                let (head, body) = await client.answer()
                #expect(head.hasPrefix("HTTP/1.1 \(status) "))
                #expect(body == "{\"message\":\"no luck\"}\n")
            }
            await client.send("GET /notModified HTTP/1.1\r\n\(Self.host)\r\n")
            let head = await client.receive(until: "\r\n\r\n")
            #expect(head.hasPrefix("HTTP/1.1 304 "))
            #expect(!head.contains("Content-Length"))
        }
    }

    @Test func aStreamsHeadGoesOutBeforeItsFirstPiece() async throws {
        let release = Flag()
        try await Self.with { router in
            router.get("/wait") { _ in
                .stream("application/json") { out in
                    _ = await release.wait()
                    try await out.write(Array("{}\n".utf8))
                }
            }
        } _: { server in
            let client = try RawClient(server.path)
            await client.send("GET /wait HTTP/1.1\r\n\(Self.host)\r\n")
            #expect(await client.receive(until: "\r\n\r\n").contains("Transfer-Encoding: chunked"))
            release.raise()
            #expect(await client.receive(until: "0\r\n\r\n") == "3\r\n{}\n\r\n0\r\n\r\n")
            let old = try RawClient(server.path)
            await old.send("GET /wait HTTP/1.0\r\n\r\n")
            #expect(await !old.receive(until: "\r\n\r\n").contains("chunked"))
            #expect(await old.receive() == "{}\n")
        }
    }

    @Test func aClientThatGoesCancelsWhatOnlyReads() async throws {
        let (reading, changing) = (Flag(), Flag())
        try await Self.with { router in
            router.get("/events") { _ in
                .stream("application/json") { _ in
                    do { try await Task.sleep(for: .seconds(60)) } catch { reading.raise() }
                }
            }
            router.post("/start") { _ in
                try await Task.sleep(for: .milliseconds(100))
                changing.raise()
                return .empty()
            }
        } _: { server in
            for target in ["GET /events", "POST /start"] {
                let client = try RawClient(server.path)
                await client.send("\(target) HTTP/1.1\r\n\(Self.host)\r\n")
                try await Task.sleep(for: .milliseconds(30))
                client.close()
            }
            #expect(await reading.wait())
            #expect(await changing.wait())
        }
    }

    @Test func bodiesBeyondTheLimitAreRefused() async throws {
        try await Self.with { router in
            router.on("POST", "/small", body: .collect(limit: 10)) { _ in .text("ok") }
        } _: { server in
            let client = try RawClient(server.path)
            await client.send("POST /small HTTP/1.1\r\n\(Self.host)Content-Length: 11\r\n\r\n")
            #expect(await client.answer().head.hasPrefix("HTTP/1.1 413 "))
            #expect(await client.isAtEnd())
            let chunked = try RawClient(server.path)
            await chunked.send("POST /small HTTP/1.1\r\n\(Self.host)Transfer-Encoding: chunked\r\n\r\nB\r\n01234567890\r\n")
            #expect(await chunked.answer().head.hasPrefix("HTTP/1.1 413 "))
        }
    }

    @Test func aStreamedBodyComesWholeAndSlowsItsSender() async throws {
        try await Self.with { router in
            router.on("POST", "/load", body: .stream) { request in
                var count = 0
                while let piece = try await request.stream?.next() {
                    count += piece.count
                    if count < 2 << 20 { try await Task.sleep(for: .milliseconds(1)) }
                }
                return .text("\(count)")
            }
        } _: { server in
            let client = try RawClient(server.path)
            let piece = [UInt8](repeating: 7, count: 1 << 20)
            await client.send("POST /load HTTP/1.1\r\n\(Self.host)Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
            #expect(await client.receive(until: "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n")
            for _ in 0..<32 {
                await client.send("100000\r\n")
                await client.send(piece)
                await client.send("\r\n")
            }
            await client.send("0\r\n\r\n")
            #expect(await client.answer().body == "\(32 << 20)")
        }
    }

    @Test func anAnswerBeforeTheEndOfTheBodyLeavesTheConnectionUsable() async throws {
        try await Self.with { router in
            router.on("POST", "/no", body: .stream) { _ in throw Fault(.unsupported, "not built") }
            router.inline("GET", "/fast") { _ in .text("fast") }
        } _: { server in
            let client = try RawClient(server.path)
            await client.send("POST /no HTTP/1.1\r\n\(Self.host)Content-Length: 1000\r\n\r\n")
            #expect(await client.answer().head.hasPrefix("HTTP/1.1 501 "))
            await client.send([UInt8](repeating: 65, count: 1000))
            await client.send("GET /fast HTTP/1.1\r\n\(Self.host)\r\n")
            #expect(await client.answer().body == "fast")
        }
    }

    @Test func aTruncatedBodyFailsItsReader() async throws {
        let failed = Flag()
        try await Self.with { router in
            router.on("POST", "/load", body: .stream) { request in
                do { while try await request.stream?.next() != nil {} } catch { failed.raise() }
                return .empty()
            }
        } _: { server in
            let client = try RawClient(server.path)
            await client.send("POST /load HTTP/1.1\r\n\(Self.host)Content-Length: 100\r\n\r\nhalf")
            try await Task.sleep(for: .milliseconds(30))
            client.close()
            #expect(await failed.wait())
        }
    }

    @Test func peersAreCallers() async throws {
        try await Self.with { router in
            router.inline("GET", "/me") { .text("\($0.caller.uid) \($0.caller.pid)") }
        } _: { server in
            let client = try RawClient(server.path)
            await client.send("GET /me HTTP/1.1\r\n\(Self.host)\r\n")
            #expect(await client.answer().body == "\(geteuid()) \(getpid())")
        }
    }

    @Test func malformedRequestsAreAnsweredAndTheConnectionClosed() async throws {
        try await Self.with { _ in
        } _: { server in
            let client = try RawClient(server.path)
            await client.send("NONSENSE\r\n\r\n")
            #expect(await client.answer().head.hasPrefix("HTTP/1.1 400 "))
            #expect(await client.isAtEnd())
        }
    }
}

extension Router<Route> {
    mutating func addSystemForTests() {
        let routes = engineRoutes { throw Fault(.unavailable, "no engine in this test") }
        self = routes
    }
}
