import Model
import Shim
import Testing

@Suite struct CommandOptionsTests {
    private let known = CommandOptions.Known(
        values: ["bundle", "env"], switches: ["detach"], short: [("b", "bundle"), ("e", "env"), ("d", "detach")])

    @Test func flagsAreReadAsGoReadsThem() throws {
        let options = try CommandOptions(["-b", "/x", "--env=A=1", "-env", "B=2", "-d", "id"], known)
        #expect(options.value("bundle") == "/x")
        #expect(options.all("env") == ["A=1", "B=2"])
        #expect(options.has("detach"))
        #expect(options.operands == ["id"])
    }

    @Test func switchesTakeValuesWithEqualsOnly() throws {
        #expect(try !CommandOptions(["--detach=false", "id"], known).has("detach"))
        #expect(try CommandOptions(["--detach", "false"], known).operands == ["false"])
        #expect(throws: Fault.self) { try CommandOptions(["--detach=maybe"], known) }
    }

    @Test func wordsOfACommandAreLeftAlone() throws {
        var strict = known
        strict = CommandOptions.Known(values: ["env"], switches: [], short: [("e", "env")], interspersed: false)
        let options = try CommandOptions(["-e", "A=1", "id", "ls", "-l", "--env", "x"], strict)
        #expect(options.operands == ["id", "ls", "-l", "--env", "x"])
        #expect(try CommandOptions(["id", "--", "-b"], known).operands == ["id", "-b"])
    }

    @Test func unknownFlagsAreNamed() {
        #expect(throws: Fault.self) { try CommandOptions(["--nosuch"], known) }
        #expect(throws: Fault.self) { try CommandOptions(["--bundle"], known) }
    }
}
