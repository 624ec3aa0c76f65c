import Model
import Testing

import CLI

@Suite struct ValueTests {
    @Test func envFilesAsTheyStand() throws {
        let text = "\u{FEFF}# comment\n\nA=b c \n  B= x\nC=\r\nNOSUCHVARIABLEHERE\n"
        #expect(try KeyValues.lines(Array(text.utf8), file: "f", takesEnvironment: true) == ["A=b c ", "B= x", "C="])
    }

    @Test func badEnvFilesAreNamed() {
        #expect(throws: FlagFault("invalid env file (f): variable 'A B' contains whitespaces")) {
            try KeyValues.lines(Array("A B=c\n".utf8), file: "f", takesEnvironment: true)
        }
        #expect(throws: FlagFault("invalid env file (f): no variable name on line '=x'")) {
            try KeyValues.lines(Array("=x\n".utf8), file: "f", takesEnvironment: true)
        }
        #expect(throws: FlagFault.self) { try KeyValues.lines([0xFF, 0x41, 0x3D], file: "f", takesEnvironment: true) }
    }

    @Test func commaSeparatedValuesWithQuotes() throws {
        #expect(throws: FlagFault.self) { try GoText.csv("a,d\"") }
        #expect(try GoText.csv("type=bind,\"src=/a,b\",dst=/c") == ["type=bind", "src=/a,b", "dst=/c"])
        #expect(try GoText.csv("\"a\"\"b\"") == ["a\"b"])
        #expect(throws: FlagFault.self) { try GoText.csv("\"a") }
    }

    @Test(arguments: ["1.2.3.4", "::1", "fe80::1%eth0", "2001:db8::", "::ffff:1.2.3.4"]) func addresses(_ text: String) {
        #expect(NetworkValues.isAddress(text))
    }

    @Test(arguments: ["", "1.2.3", "1.2.3.256", "01.2.3.4", "x", ":::", "1:2:3:4:5:6:7:8:9", "::1::"]) func noAddresses(
        _ text: String
    ) {
        #expect(!NetworkValues.isAddress(text))
    }

    @Test func timesForTheAPI() throws {
        let now: Int64 = 1_700_000_000_500_000_000
        #expect(try TimeArgument.parse("10s", now: now) == "1699999990.500000000")
        #expect(try TimeArgument.parse("2023-11-14T22:13:20Z", now: now) == "1700000000.000000000")
        #expect(try TimeArgument.parse("2023-11-14T22:13:20.000000007Z", now: now) == "1700000000.000000007")
        #expect(try TimeArgument.parse("2023-11-14T22:13Z", now: now) == "1699999980.000000000")
        #expect(try TimeArgument.parse("1700000000", now: now) == "1700000000")
        #expect(try TimeArgument.parse("", now: now) == "")
        #expect(throws: FlagFault.self) { try TimeArgument.parse("yesterday", now: now) }
    }

    @Test func imageNames() {
        #expect(
            ImageName.familiar("debian") == "debian:latest"
                && ImageName.familiar("localhost:5000/x") == "localhost:5000/x:latest")
        #expect(ImageName.split("localhost:5000/x:1") == ("localhost:5000/x", "1"))
        #expect(ImageName.familiar("x@sha256:abc") == "x@sha256:abc")
    }

    @Test func exitStatusByTheEnginesWords() {
        #expect(RunFault.status("exec: \"x\": executable file not found in $PATH") == 127)
        #expect(RunFault.status("exec: \"/x\": stat /x: no such file or directory") == 127)
        #expect(RunFault.status("exec: \"/etc\": permission denied") == 126 && RunFault.status("is a directory") == 126)
        #expect(RunFault.status("anything else") == 125)
    }
}
