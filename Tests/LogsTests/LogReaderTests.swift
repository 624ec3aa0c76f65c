import Linux
import Logs
import Model
import Testing

@Suite struct LogReaderTests {
    private func write(_ count: Int, to fixture: LogFixture, size: Int? = nil, files: Int = 100) throws {
        let writer = try LogWriter(ShimLog(path: fixture.path, maximumSize: size, maximumFiles: files))
        for number in 0..<count {
            writer.write("\(number)\n", number % 3 == 0 ? .stderr : .stdout, now: Int64(number + 1) * 1_000_000)
            if number % 7 == 0 { writer.flush() }
        }
        writer.flush()
    }

    private func numbers(_ records: [LogRecord]) -> [Int] {
        records.compactMap { Int(String(decoding: $0.text.dropLast(), as: UTF8.self)) }
    }

    @Test(arguments: [0, 1, 5, 999, 1000, 2000]) func tailGivesTheLastRecordsOfAllFiles(_ tail: Int) throws {
        let fixture = try LogFixture()
        try write(1000, to: fixture, size: 5000)
        let found = numbers(try fixture.records(.init(tail: tail)))
        #expect(found == Array(max(0, 1000 - tail)..<1000))
    }

    @Test(arguments: [nil, 5000, 40_000]) func sinceAndUntilAreExact(_ size: Int?) throws {
        let fixture = try LogFixture()
        try write(3000, to: fixture, size: size)
        for number in [0, 1, 2, 511, 1499, 2998, 2999] {
            let time = Timestamp(nanoseconds: Int64(number + 1) * 1_000_000)
            #expect(numbers(try fixture.records(.init(since: time))) == Array(number..<3000))
            #expect(
                numbers(try fixture.records(.init(since: Timestamp(nanoseconds: time.nanoseconds + 1))))
                    == Array((number + 1)..<3000))
            #expect(numbers(try fixture.records(.init(until: time))) == Array(0...number))
        }
    }

    @Test func streamsAreChosen() throws {
        let fixture = try LogFixture()
        try write(30, to: fixture)
        #expect(numbers(try fixture.records(.init(stdout: false))) == Array(stride(from: 0, to: 30, by: 3)))
    }

    @Test func aLogThatDoesNotExistYetIsEmptyAndFollowed() throws {
        let fixture = try LogFixture()
        let reader = LogReader(path: fixture.path)
        _ = try reader.waitDescriptor()
        #expect(try reader.next() == nil)
        try write(1, to: fixture)
        #expect(try reader.next()?.text == Array("0\n".utf8))
    }

    @Test func aFollowerSeesEveryRecordOnceAcrossRotations() throws {
        let fixture = try LogFixture()
        let writer = try LogWriter(ShimLog(path: fixture.path, maximumSize: 4096, maximumFiles: 50))
        let reader = LogReader(path: fixture.path)
        var found: [Int] = []
        var number = 0
        for step in 0..<400 {
            for _ in 0..<Int.random(in: 0...20) {
                writer.write("\(number)\n", now: Int64(number) * 10)
                number += 1
            }
            writer.flush()
            if step % Int.random(in: 1...9) == 0 {
                while let record = try reader.next() { found += numbers([record]) }
            }
        }
        while let record = try reader.next() { found += numbers([record]) }
        #expect(found == Array(0..<number))
    }

    @Test func readingGoesOnAfterThePositionOfAnEarlierReader() throws {
        let fixture = try LogFixture()
        try write(500, to: fixture, size: 5000)
        let first = LogReader(path: fixture.path)
        for _ in 0..<123 { _ = try first.next() }
        let position = try #require(first.position)
        let next = Timestamp(nanoseconds: position.nanoseconds + 1)
        #expect(numbers(try fixture.records(.init(since: next))) == Array(123..<500))
    }

    @Test func aReaderThatIsLeftBehindGoesOnWithTheOldestFile() throws {
        let fixture = try LogFixture()
        let writer = try LogWriter(ShimLog(path: fixture.path, maximumSize: 4096, maximumFiles: 2))
        writer.write("0\n", now: 1)
        writer.flush()
        let reader = LogReader(path: fixture.path)
        #expect(try reader.next() != nil)
        for number in 1..<1000 {
            writer.write("\(number)\n", now: Int64(number) * 10)
            writer.flush()
        }
        var found: [Int] = []
        while let record = try reader.next() { found += numbers([record]) }
        // What its own file still holds, then the oldest that is left; never twice, never backwards
        #expect(found.last == 999)
        let grows = zip(found, found.dropFirst()).allSatisfy { $0 < $1 }
        #expect(grows && found.count < 999)
    }

    @Test func aFileEmptiedByHandGoesOn() throws {
        let fixture = try LogFixture()
        let writer = try LogWriter(ShimLog(path: fixture.path))
        writer.write("before\n", now: 10)
        writer.flush()
        let reader = LogReader(path: fixture.path)
        #expect(try reader.next() != nil)
        try LogFile.append(fixture.path).truncate(to: 0)
        #expect(try reader.next() == nil)
        writer.write("after\n", now: 20)
        writer.flush()
        #expect(try reader.next()?.text == Array("after\n".utf8))
    }

    @Test func dockersOwnLinesAndForeignOnesAreRead() throws {
        let fixture = try LogFixture()
        let lines = """
            {"log":"a\\u003cb\\n","stream":"stderr","attrs":{"tag":"x"},"time":"2024-01-02T03:04:05.6Z"}
            not json
            {"log":"x"}
            {"time":"2024-01-02T03:04:06Z","stream":"stdout","log":"\\ud83d\\ude00\\n"}

            """
        try SmallFile.replace(fixture.path, with: Array(lines.utf8))
        let texts = try fixture.records().map { String(decoding: $0.text, as: UTF8.self) }
        #expect(texts == ["a<b\n", "😀\n"])
    }

    @Test func damagedFilesNeverTrap() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let fixture = try LogFixture()
            try write(50, to: fixture)
            var bytes = try SmallFile.read(fixture.path)
            for _ in 0..<Int.random(in: 1...40, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: at)
                default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
                }
            }
            try SmallFile.replace(fixture.path, with: bytes)
            _ = try fixture.records()
            _ = try fixture.records(.init(tail: 10))
            _ = try fixture.records(.init(since: Timestamp(nanoseconds: 20_000_000)))
            let writer = try LogWriter(ShimLog(path: fixture.path))
            writer.write("last\n", now: 60_000_000_000)
            writer.flush()
            #expect(try fixture.records(.init(tail: 1)).last?.text == Array("last\n".utf8))
        }
    }
}
