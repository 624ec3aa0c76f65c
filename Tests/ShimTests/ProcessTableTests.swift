import Shim
import Testing

@Suite struct ProcessTableTests {
    @Test func aNameMayHoldParenthesesAndSpaces() throws {
        let stat =
            "42 (a ) (b) S 7 42 42 34816 42 4194304 1 2 3 4 150 50 0 0 20 -5 1 0 1000 8192000 25 18446744073709551615 1 1\n"
        let row = try #require(ProcessTable.row(42, stat: Array(stat.utf8), boot: 100))
        #expect(row.name == "a ) (b")
        #expect(row.parent == 7)
        #expect(row.terminal == "pts/0")
        #expect(row.cpuTime == 2_000_000_000)
        #expect(row.nice == -5)
        #expect(row.startedAt.nanoseconds == 110_000_000_000)
        #expect(row.virtualSize == 8_192_000 && row.residentSize == 25 * 4096)
    }

    @Test(arguments: ["", "1", "1 (x", "1 (x) S", ") ("]) func malformedTextIsNoProcess(_ text: String) {
        #expect(ProcessTable.row(1, stat: Array(text.utf8), boot: 0) == nil)
    }
}
