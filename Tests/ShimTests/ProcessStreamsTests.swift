import Glibc
import Linux
import Logs
import Model
import Shim
import Testing

/// A process's streams whose other ends the test holds.
final class StreamsFixture: StreamsOwner {
    let streams: ProcessStreams
    let buffer: PageBuffer
    var process: (stdin: Handle?, stdout: Handle?, stderr: Handle?)
    let logPath: String
    var detaches = 0

    init(stdinOnce: Bool = true, isTerminal: Bool = false) throws {
        buffer = try PageBuffer(size: 64 << 10)
        logPath = try FileCalls.makeTemporaryFolder("/tmp/skiff-shim-XXXXXX") + "/log"
        var input = try Pipe()
        var output = try Pipe()
        var error = try Pipe()
        process = (Handle(input.takeInput()), Handle(output.takeOutput()), Handle(error.takeOutput()))
        streams = try ProcessStreams(
            output: output.takeInput(), error: error.takeInput(), input: input.takeOutput(), isTerminal: isTerminal,
            stdinOnce: stdinOnce, log: try LogWriter(ShimLog(path: logPath)), buffer: buffer)
        streams.owner = self
        for handle in [process.stdin, process.stdout, process.stderr] {
            if let handle { try PollIO.setNonblocking(handle.raw) }
        }
    }

    func detached(from streams: ProcessStreams) { detaches += 1 }

    func attach(_ stream: ShimStream, patience: Int64? = nil) throws -> TestClient {
        let (ours, theirs) = try TestClient.pair()
        try streams.attach(Descriptor(owning: theirs), stream, patience: patience)
        return TestClient(ours)
    }

    /// Turns of the loop until nothing happens for some milliseconds.
    func turn(_ milliseconds: Int64 = 20) throws {
        var turn = PollTurn()
        while true {
            turn.begin()
            turn.wake(at: Clock.monotonic + milliseconds * 1_000_000)
            streams.register(in: &turn)
            let busy = try turn.run()
            streams.endTurn(Clock.monotonic)
            if !busy { return }
        }
    }

    func say(_ text: String, error: Bool = false) throws {
        guard let handle = error ? process.stderr : process.stdout else { return }
        try PollIO.writeAll(Array(text.utf8), to: handle.raw)
    }

    func heard() throws -> String? {
        guard let stdin = process.stdin else { return nil }
        var out: [UInt8] = []
        while true {
            switch try PollIO.read(stdin.raw, into: buffer.bytes) {
            case .moved(let count): out += Array(buffer.bytes[..<count])
            case .wouldBlock: return String(decoding: out, as: UTF8.self)
            case .end: return out.isEmpty ? nil : String(decoding: out, as: UTF8.self)
            }
        }
    }

    func end() {
        process.stdout = nil
        process.stderr = nil
    }

    var logged: String {
        get throws {
            let reader = LogReader(path: logPath)
            var text = ""
            while let record = try reader.next() { text += String(decoding: record.text, as: UTF8.self) }
            return text
        }
    }
}

/// The client's end of an attachment.
final class TestClient {
    private(set) var raw: CInt
    private(set) var isEnded = false

    /// Both ends of a stream socket.
    static func pair() throws -> (CInt, CInt) {
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
            throw KernelFault("socketpair", errno: errno)
        }
        return (ends[0], ends[1])
    }

    init(_ raw: CInt) {
        self.raw = raw
        _ = fcntl(raw, F_SETFL, O_NONBLOCK)
    }

    deinit { if raw >= 0 { close(raw) } }

    func send(_ text: String) { _ = Array(text.utf8).withUnsafeBytes { write(raw, $0.baseAddress, $0.count) } }
    func halfClose() { shutdown(raw, CInt(SHUT_WR)) }
    func hangUp() {
        close(raw)
        raw = -1
    }

    /// What has come up to now.
    func bytes(limit: Int = .max) -> [UInt8] {
        var out: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while out.count < limit {
            let count = read(raw, &part, part.count)
            if count == 0 { isEnded = true }
            guard count > 0 else { break }
            out += part[..<count]
        }
        return out
    }

    var text: String { String(decoding: bytes(), as: UTF8.self) }
}

@Suite struct ProcessStreamsTests {
    @Test func outputGoesToTheLogAndToEveryClient() throws {
        let fixture = try StreamsFixture()
        let raw = try fixture.attach(ShimStream())
        let framed = try fixture.attach(ShimStream(framing: .multiplexed))
        let onlyErrors = try fixture.attach(ShimStream(stdout: false))
        try fixture.say("out\n")
        try fixture.turn()
        try fixture.say("err\n", error: true)
        try fixture.turn()
        #expect(raw.text == "out\nerr\n")
        #expect(
            framed.bytes() == [1, 0, 0, 0, 0, 0, 0, 4] + Array("out\n".utf8) + [2, 0, 0, 0, 0, 0, 0, 4] + Array("err\n".utf8))
        #expect(onlyErrors.text == "err\n")
        #expect(try fixture.logged == "out\nerr\n")
        fixture.end()
        try fixture.turn()
        #expect(raw.text.isEmpty && raw.isEnded)
        #expect(fixture.streams.isDrained && !fixture.streams.hasClients)
    }

    @Test func aHalfCloseIsTheEndOfStdinAndOutputGoesOn() throws {
        let fixture = try StreamsFixture()
        let client = try fixture.attach(ShimStream(stdin: true, early: Array("early ".utf8)))
        client.send("late\n")
        client.halfClose()
        try fixture.turn()
        #expect(try fixture.heard() == "early late\n")
        #expect(try fixture.heard() == nil)
        try fixture.say("still here\n")
        try fixture.turn()
        #expect(client.text == "still here\n" && !client.isEnded)
    }

    @Test func withoutStdinOnceTheEndOfInputEndsTheAttachmentOnly() throws {
        let fixture = try StreamsFixture(stdinOnce: false)
        let client = try fixture.attach(ShimStream(stdin: true))
        client.send("stop\n")
        client.halfClose()
        try fixture.turn()
        #expect(try fixture.heard() == "stop\n")
        #expect(try fixture.heard() == "")
        #expect(client.text.isEmpty && client.isEnded)
        #expect(!fixture.streams.hasClients)
    }

    @Test func aClientThatIsKilledEndsStdinOnce() throws {
        let fixture = try StreamsFixture()
        let client = try fixture.attach(ShimStream(stdin: true))
        client.send("last words")
        client.hangUp()
        try fixture.turn()
        #expect(try fixture.heard() == "last words")
        #expect(try fixture.heard() == nil)
        #expect(!fixture.streams.hasClients)
        try fixture.say("to the log\n")
        try fixture.turn()
        #expect(try fixture.logged == "to the log\n")
    }

    @Test func detachKeysLetTheClientGoAndStdinOpen() throws {
        let fixture = try StreamsFixture(isTerminal: true)
        let client = try fixture.attach(ShimStream(stdin: true, detachKeys: [16, 17]))
        client.send("x\u{10}")
        try fixture.turn()
        client.send("\u{11}y")
        try fixture.turn()
        #expect(fixture.detaches == 1)
        #expect(client.text.isEmpty && client.isEnded)
        #expect(try fixture.heard() == "x")
        #expect(try fixture.heard() == "")
    }

    @Test func aFullClientMakesTheProcessWaitWithoutMemoryGrowing() throws {
        let fixture = try StreamsFixture()
        let client = try fixture.attach(ShimStream())
        let line = String(repeating: "x", count: 1023) + "\n"
        var written = 0
        for _ in 0..<200 {
            for _ in 0..<64 {
                guard let raw = fixture.process.stdout?.raw else { break }
                let result = try Array(line.utf8).withUnsafeBytes { try PollIO.write(raw, $0) }
                if case .moved(let count) = result { written += count }
            }
            try fixture.turn(1)
        }
        // The client's queue, its socket and the pipe hold it, no more
        #expect(written < 3 << 20)
        // A client that reads gets all of it
        var got = 0
        while got < written {
            let part = client.bytes(limit: 1 << 16).count
            got += part
            try fixture.turn(1)
            if part == 0, client.isEnded { break }
        }
        #expect(got == written)
    }

    @Test func aStuckClientIsDisconnectedAndTheLogGoesOn() throws {
        let fixture = try StreamsFixture()
        let client = try fixture.attach(ShimStream(), patience: 50_000_000)
        let other = try fixture.attach(ShimStream(stdout: false))
        let block = [UInt8](repeating: UInt8(ascii: "y"), count: 4095) + [0x0A]
        var written = 0
        while written < 8 << 20 {
            guard let raw = fixture.process.stdout?.raw else { break }
            if case .moved(let count) = try block.withUnsafeBytes({ try PollIO.write(raw, $0) }) { written += count }
            try fixture.turn(1)
        }
        fixture.end()
        try fixture.turn(100)
        #expect(try fixture.logged.utf8.count == written)
        _ = client.raw
        #expect(other.bytes().isEmpty && other.isEnded)
    }

    @Test func inputThatTheProcessDoesNotReadIsBounded() throws {
        let fixture = try StreamsFixture()
        let client = try fixture.attach(ShimStream(stdin: true))
        let block = [UInt8](repeating: 7, count: 1 << 16)
        var sent = 0
        for _ in 0..<100 {
            let count = block.withUnsafeBytes { write(client.raw, $0.baseAddress, $0.count) }
            if count > 0 { sent += count }
            try fixture.turn(1)
        }
        #expect(sent < 1 << 20)
    }

    @Test func outputLeftByAnEndedProcessIsKeptAndAStrangersHoldIsBounded() throws {
        let fixture = try StreamsFixture()
        try fixture.say("last line")
        fixture.streams.processEnded()
        try fixture.turn(1)
        // Somebody still holds the other ends
        #expect(!fixture.streams.isDrained)
        fixture.streams.endTurn(Clock.monotonic + 3_000_000_000)
        #expect(fixture.streams.isDrained)
        fixture.streams.endTurn(Clock.monotonic)
        #expect(try fixture.logged == "last line")
    }

    @Test func clientsAreLimited() throws {
        let fixture = try StreamsFixture()
        var clients: [TestClient] = []
        for _ in 0..<ProcessStreams.clientLimit { clients.append(try fixture.attach(ShimStream())) }
        #expect(throws: Fault.self) { try fixture.attach(ShimStream()) }
        #expect(clients.count == ProcessStreams.clientLimit)
    }
}
