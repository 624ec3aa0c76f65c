import CLI
import JSON
import Testing

@Suite struct ProgressDisplayTests {
    private static func message(_ text: String) throws -> JSONValue { try JSONValue(json: Array(text.utf8)) }

    @Test func withoutATerminalOnlyWhatEndsIsShown() throws {
        var display = ProgressDisplay(isTerminal: false, width: 80)
        #expect(
            try display.show(Self.message(#"{"status":"Pulling from library/x","id":"latest"}"#))
                == "latest: Pulling from library/x\n")
        #expect(
            try display.show(Self.message(#"{"status":"Pulling fs layer","progressDetail":{},"id":"ab"}"#))
                == "ab: Pulling fs layer\n")
        #expect(
            try display.show(Self.message(#"{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"ab"}"#))
                == "")
        #expect(try display.show(Self.message(#"{"progressDetail":{},"aux":{"Tag":"x"}}"#)) == "")
    }

    @Test func onATerminalEachLayerHasItsLine() throws {
        var display = ProgressDisplay(isTerminal: true, width: 120)
        #expect(
            try display.show(Self.message(#"{"status":"Waiting","progressDetail":{},"id":"a"}"#))
                == "\n\u{1B}[1A\u{1B}[2K\ra: Waiting\r\u{1B}[1B")
        #expect(
            try display.show(Self.message(#"{"status":"Waiting","progressDetail":{},"id":"b"}"#))
                == "\n\u{1B}[1A\u{1B}[2K\rb: Waiting\r\u{1B}[1B")
        let half = try display.show(
            Self.message(#"{"status":"Downloading","progressDetail":{"current":5000000,"total":10000000},"id":"a"}"#))
        #expect(
            half == "\u{1B}[2A\u{1B}[2K\ra: Downloading [" + String(repeating: "=", count: 25) + ">"
                + String(repeating: " ", count: 25)
                + "]      5MB/10MB\r\u{1B}[2B")
        #expect(try display.show(Self.message(#"{"status":"Status: done"}"#)) == "Status: done\n")
        #expect(try display.show(Self.message(#"{"status":"Waiting","progressDetail":{},"id":"b"}"#)).hasPrefix("\n\u{1B}[1A"))
    }

    @Test func aNarrowTerminalGetsNoBar() throws {
        var display = ProgressDisplay(isTerminal: true, width: 80)
        let text = try display.show(
            Self.message(#"{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"a"}"#))
        #expect(text.contains("a: Downloading       5B/10B\r"))
    }
}
