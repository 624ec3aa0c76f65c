import API
import Engine
import Glibc
import Linux
import Model
import Testing

@Suite struct HijackTests {
    /// Takes a connection over as a shim does: sends back what came, `early` first, in capitals; then closes.
    static func serve(_ connection: HijackedConnection) {
        guard let descriptor = connection.take() else { return }
        let raw = descriptor.release()
        let early = connection.early
        try? startThread {
            let flags = fcntl(raw, F_GETFL)
            _ = fcntl(raw, F_SETFL, flags & ~O_NONBLOCK)
            func echo(_ bytes: ArraySlice<UInt8>) {
                let text = Array(String(decoding: bytes, as: UTF8.self).uppercased().utf8)
                _ = write(raw, text, text.count)
            }
            echo(early[...])
            var chunk = [UInt8](repeating: 0, count: 4096)
            while case let count = read(raw, &chunk, chunk.count), count > 0 { echo(chunk[..<count]) }
            echo(Array(" bye".utf8)[...])
            _ = close(raw)
        }
    }

    static func routes(_ router: inout Router<Route>) {
        router.on("POST", "/attach", mayHijack: true) { _ in .hijack("application/vnd.docker.raw-stream") { serve($0) } }
        router.on("POST", "/missing", mayHijack: true) { _ in throw Fault(.notFound, "No such container: x") }
        router.inline("GET", "/fast") { _ in .text("fast") }
    }

    @Test func anUpgradeIsAnsweredWith101() async throws {
        try await APIServerTests.with(Self.routes) { server in
            let client = try RawClient(server.path)
            await client.send("GET /fast HTTP/1.1\r\nHost: d\r\n\r\n")
            #expect(await client.answer().body == "fast")
            await client.send(
                "POST /attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n")
            let head = await client.receive(until: "\r\n\r\n")
            #expect(head.hasPrefix("HTTP/1.1 101 UPGRADED\r\n"))
            #expect(head.contains("Content-Type: application/vnd.docker.raw-stream\r\n"))
            #expect(head.contains("Connection: Upgrade\r\nUpgrade: tcp\r\n"))
            await client.send("hello")
            #expect(await client.receive(count: 5) == "HELLO")
            client.closeOutput()
            #expect(await client.receive() == " BYE")
        }
    }

    @Test func withoutAnUpgradeTheStreamFollowsA200() async throws {
        try await APIServerTests.with(Self.routes) { server in
            let client = try RawClient(server.path)
            await client.send("POST /attach HTTP/1.1\r\nHost: d\r\n\r\n")
            let head = await client.receive(until: "\r\n\r\n")
            #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(!head.contains("Content-Length"))
            #expect(!head.contains("chunked"))
            await client.send("x")
            #expect(await client.receive(count: 1) == "X")
        }
    }

    /// Clients may send stdin without waiting for the answer, with a body before it or none, with or without an upgrade.
    @Test(arguments: ["Connection: Upgrade\r\nUpgrade: tcp\r\n", ""], [0, 2, 100_000])
    func bytesBehindTheRequestBelongToTheStream(upgrade: String, later: Int) async throws {
        try await APIServerTests.with(Self.routes) { server in
            let client = try RawClient(server.path)
            let tail = String(repeating: "z", count: later)
            await client.send(
                "POST /attach HTTP/1.1\r\nHost: d\r\n\(upgrade)Content-Length: 2\r\n\r\n{}GET / early\r\n\r\n" + tail)
            client.closeOutput()
            _ = await client.receive(until: "\r\n\r\n")
            #expect(await client.receive() == "GET / EARLY\r\n\r\n" + tail.uppercased() + " BYE")
        }
    }

    @Test func aRefusalIsAnOrdinaryAnswer() async throws {
        try await APIServerTests.with(Self.routes) { server in
            let client = try RawClient(server.path)
            await client.send("POST /missing HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            let (head, body) = await client.answer()
            #expect(head.hasPrefix("HTTP/1.1 404 "))
            #expect(body == "{\"message\":\"No such container: x\"}\n")
            await client.send("GET /fast HTTP/1.1\r\nHost: d\r\n\r\n")
            #expect(await client.answer().body == "fast")
        }
    }

    @Test func theStreamGoesOnWhenTheServerIsGone() async throws {
        let server = try await TestServer(Self.routes)
        let client = try RawClient(server.path)
        await client.send("POST /attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        _ = await client.receive(until: "\r\n\r\n")
        await client.send("a")
        #expect(await client.receive(count: 1) == "A")
        await server.stop()
        await client.send("b")
        #expect(await client.receive(count: 1) == "B")
    }

    @Test func manyHijacksLeaveNoDescriptorBehind() async throws {
        try await APIServerTests.with(Self.routes) { server in
            for round in 0..<100 {
                let client = try RawClient(server.path)
                await client.send("POST /attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly")
                _ = await client.receive(until: "\r\n\r\n")
                #expect(await client.receive(count: 5) == "EARLY", "round \(round)")
                client.closeOutput()
                #expect(await client.receive() == " BYE", "round \(round)")
            }
        }
    }
}
