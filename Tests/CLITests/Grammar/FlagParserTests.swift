import Testing

import CLI

private let flags: [Flag] = [
    .bool("interactive", "i", ""), .bool("tty", "t", ""), .list("publish", "p", ""), .string("name", nil, ""),
    .bool("rm", nil, ""),
    Flag("memory", "m", .bytes, ""), Flag("cpus", nil, .decimal, ""), Flag("pids-limit", nil, .int, ""),
    Flag("blkio-weight", nil, .uint16, ""), Flag("interval", nil, .duration, ""),
]

private func parse(_ words: String..., mixes: Bool = true) throws -> Parsed {
    try FlagParser.parse(words, flags, mixesFlags: mixes)
}

@Suite struct FlagParserTests {
    @Test func shortFlagsStandTogether() throws {
        let parsed = try parse("-it", "x")
        #expect(parsed.bool("interactive") && parsed.bool("tty"))
        #expect(parsed.arguments == ["x"])
    }

    @Test func valuesFollowAtOnceAfterEqualsOrAsNextWord() throws {
        #expect(
            try parse("-p8080:80", "-p=1:2", "-p", "3", "-itp4", "--publish", "5", "--publish=6").list("publish") == [
                "8080:80", "1:2", "3", "4", "5", "6",
            ])
    }

    @Test func theFirstArgumentEndsFlagsWhereTheyDoNotMix() throws {
        let parsed = try parse("-i", "image", "ls", "-t", mixes: false)
        #expect(parsed.arguments == ["image", "ls", "-t"])
        #expect(!parsed.bool("tty"))
    }

    @Test func flagsMayFollowArgumentsElsewhere() throws {
        let parsed = try parse("x", "--rm", "y")
        #expect(parsed.arguments == ["x", "y"] && parsed.bool("rm"))
    }

    @Test func twoDashesEndFlags() throws {
        #expect(try parse("--", "-i", "--", "x").arguments == ["-i", "--", "x"])
    }

    @Test func aDashAloneIsAnArgument() throws { #expect(try parse("-").arguments == ["-"]) }

    @Test func switchesTakeValues() throws {
        #expect(try !parse("--rm=false").bool("rm"))
        #expect(try parse("-i=1").bool("interactive"))
        #expect(try parse("--rm", "--rm=0").bool("rm") == false)
    }

    @Test(arguments: [
        (["--nosuch"], "unknown flag: --nosuch"), (["-z"], "unknown shorthand flag: 'z' in -z"),
        (["-iz"], "unknown shorthand flag: 'z' in -iz"), (["--name"], "flag needs an argument: --name"),
        (["-p"], "flag needs an argument: 'p' in -p"), (["--=x"], "bad flag syntax: --=x"),
        (["--rm=x"], "invalid argument \"x\" for \"--rm\" flag: strconv.ParseBool: parsing \"x\": invalid syntax"),
        (["-m", "x"], "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"),
        (["--cpus", "x"], "invalid argument \"x\" for \"--cpus\" flag: failed to parse x as a rational number"),
        (
            ["--pids-limit", "x"],
            "invalid argument \"x\" for \"--pids-limit\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"
        ),
        (
            ["--blkio-weight", "70000"],
            "invalid argument \"70000\" for \"--blkio-weight\" flag: strconv.ParseUint: parsing \"70000\": value out of range"
        ),
        (["--interval", "x"], "invalid argument \"x\" for \"--interval\" flag: time: invalid duration \"x\""),
    ]) func faultsHaveDockersWords(_ words: [String], _ message: String) {
        #expect(throws: FlagFault(message)) { try FlagParser.parse(words, flags, mixesFlags: true) }
    }

    @Test func helpIsAskedForWhereverFlagsAre() {
        for command in CommandTable.standard.commands {
            #expect(throws: FlagParser.HelpWanted.self) {
                try FlagParser.parse(["--help"], command.flags(), mixesFlags: command.mixesFlags)
            }
        }
        #expect(throws: FlagParser.HelpWanted.self) { try FlagParser.parse(["-h"], [], mixesFlags: true) }
    }

    @Test func everyCommandsFlagsAreUnique() {
        for command in CommandTable.standard.commands {
            let flags = command.flags()
            #expect(Set(flags.map(\.name)).count == flags.count, "\(command.name)")
            let shorts = flags.compactMap(\.short)
            #expect(Set(shorts).count == shorts.count, "\(command.name)")
        }
    }

    @Test func everySpellingNamesOneCommand() {
        let all = CommandTable.standard.commands.flatMap { [$0.name] + $0.aliases }
        #expect(Set(all).count == all.count)
        for spelling in all {
            #expect(CommandTable.standard.find(spelling.split(separator: " ").map(String.init)) != nil, "\(spelling)")
        }
    }
}
