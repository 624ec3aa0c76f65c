import Linux
import Logs
import Model
import Testing

/// A folder of its own per test.
struct LogFixture {
    let folder: String
    var path: String { folder + "/json.log" }

    init() throws { folder = try FileCalls.makeTemporaryFolder("/tmp/skiff-logs-XXXXXX") }

    func records(_ options: LogReader.Options = .init()) throws -> [LogRecord] {
        let reader = LogReader(path: path, options: options)
        var records: [LogRecord] = []
        while let record = try reader.next() { records.append(record) }
        return records
    }

    var text: String { get throws { String(decoding: try SmallFile.read(path), as: UTF8.self) } }
}

extension LogWriter {
    func write(_ text: String, _ stream: LogStream = .stdout, now: Int64 = 1_000_000_000) {
        write(Array(text.utf8), stream, now: now)
    }

    func write(_ bytes: [UInt8], _ stream: LogStream = .stdout, now: Int64 = 1_000_000_000) {
        bytes.withUnsafeBytes { write($0, stream: stream, now: now) }
    }
}

@Suite struct LogWriterTests {
    @Test func aLineIsDockersJSON() throws {
        let fixture = try LogFixture()
        let writer = try LogWriter(ShimLog(path: fixture.path))
        writer.write("a\"b\\c\td\u{1}\u{e9}\u{2028}<&>\r\n", now: 1_700_000_000_123_456_789)
        writer.flush()
        #expect(
            try fixture.text
                == #"{"log":"a\"b\\c\td\u0001é\u2028<&>\r\n","stream":"stdout","time":"2023-11-14T22:13:20.123456789Z"}"# + "\n"
        )
    }

    @Test func aLineIsWrittenWhenItsEndHasCome() throws {
        let fixture = try LogFixture()
        let writer = try LogWriter(ShimLog(path: fixture.path))
        writer.write("half ")
        writer.write("other\n", .stderr)
        writer.flush()
        #expect(try fixture.records().map(\.text) == [Array("other\n".utf8)])
        writer.write("done\nrest")
        writer.finish(.stdout)
        writer.flush()
        let texts = try fixture.records().map { String(decoding: $0.text, as: UTF8.self) }
        #expect(texts == ["other\n", "half done\n", "rest"])
    }

    @Test func timesGrowStrictlyAlsoWhenTheClockGoesBack() throws {
        let fixture = try LogFixture()
        do {
            let writer = try LogWriter(ShimLog(path: fixture.path))
            writer.write("1\n2\n3\n", now: 5_000_000_000)
            writer.write("4\n", now: 1_000_000_000)
            writer.flush()
        }
        let writer = try LogWriter(ShimLog(path: fixture.path))
        writer.write("5\n", now: 2_000_000_000)
        writer.flush()
        #expect(try fixture.records().map(\.time.nanoseconds) == (0..<5).map { 5_000_000_000 + $0 })
    }

    @Test func badUTF8IsReplacedAndLongLinesAreCutBetweenCharacters() throws {
        let fixture = try LogFixture()
        let writer = try LogWriter(ShimLog(path: fixture.path))
        writer.write([0xFF, 0x41, 0xC3, 0x0A])
        writer.write("x" + String(repeating: "é", count: 20_000) + "\n")
        writer.flush()
        let records = try fixture.records()
        #expect(String(decoding: records[0].text, as: UTF8.self) == "\u{FFFD}A\u{FFFD}\n")
        let rest = records.dropFirst().map(\.text)
        #expect(rest.allSatisfy { $0.count <= LogFormat.recordLimit })
        #expect(String(decoding: rest.joined(), as: UTF8.self) == "x" + String(repeating: "é", count: 20_000) + "\n")
    }

    @Test func anUnfinishedLineOfADeadWriterStaysOneBadLine() throws {
        let fixture = try LogFixture()
        do {
            let writer = try LogWriter(ShimLog(path: fixture.path))
            writer.write("one\n")
            writer.flush()
        }
        let torn = try SmallFile.read(fixture.path) + Array(#"{"log":"tw"#.utf8)
        try SmallFile.replace(fixture.path, with: torn)
        let writer = try LogWriter(ShimLog(path: fixture.path))
        writer.write("three\n")
        writer.flush()
        #expect(try fixture.records().map(\.text) == [Array("one\n".utf8), Array("three\n".utf8)])
    }

    @Test func rotationKeepsSoManyFilesAndLosesNothingBetweenThem() throws {
        let fixture = try LogFixture()
        let writer = try LogWriter(ShimLog(path: fixture.path, maximumSize: 10_000, maximumFiles: 3))
        for number in 0..<1000 {
            writer.write("line \(number)\n", now: Int64(number) * 1000)
            writer.flush()
        }
        #expect(LogFile.identity(of: fixture.path + ".2") != nil)
        #expect(LogFile.identity(of: fixture.path + ".3") == nil)
        #expect(try SmallFile.read(fixture.path + ".1").count <= 10_000)
        let texts = try fixture.records().map { String(decoding: $0.text, as: UTF8.self) }
        #expect(texts.count > 250)
        #expect(texts == (1000 - texts.count..<1000).map { "line \($0)\n" })
    }

    @Test func anyPiecesOfAnyBytesComeBackAsTheyWere() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<30 {
            let fixture = try LogFixture()
            let writer = try LogWriter(ShimLog(path: fixture.path, maximumSize: nil))
            // Characters of one to four bytes, control characters, quotes, line breaks
            let alphabet: [Character] = ["a", "é", "€", "😀", "\"", "\\", "\n", "\u{7}", "\u{2029}", "\u{10FFFF}", "\r"]
            var text = ""
            for _ in 0..<Int.random(in: 0..<20_000, using: &random) {
                text.append(alphabet.randomElement(using: &random) ?? "x")
            }
            if Bool.random(using: &random) { text += String(repeating: "€", count: 12_000) }
            let bytes = Array(text.utf8)
            var at = 0
            while at < bytes.count {
                let piece = min(bytes.count - at, Int.random(in: 1...9000, using: &random))
                writer.write(Array(bytes[at..<(at + piece)]))
                if Bool.random(using: &random) { writer.flush() }
                at += piece
            }
            writer.finish(.stdout)
            writer.flush()
            let back = Array(try fixture.records().map(\.text).joined())
            #expect(back == bytes)
        }
    }

    @Test func whatCannotBeWrittenIsCountedAndNeverWaitedFor() throws {
        let writer = try LogWriter(ShimLog(path: "/dev/full"))
        writer.write("1\n2\n")
        writer.flush()
        writer.write("3\n")
        writer.flush()
        #expect(writer.lostRecords == 3)
    }
}
