import Client
import Linux
import Model

/// `skiff`: parses the command line, runs the command and gives its exit status.
public func cliMain() -> Int32 {
    StreamCalls.ignoreBrokenPipes()
    return CommandLineRun(CommandTable.standard, Array(CommandLine.arguments.dropFirst())).status()
}

/// From words to an exit status.
package struct CommandLineRun {
    let table: CommandTable
    let words: [String]

    package init(_ table: CommandTable, _ words: [String]) {
        self.table = table
        self.words = words
    }

    package func status() -> CInt {
        do { return try run() } catch let fault as UsageFault {
            Screen.error(fault.text + "\n")
            return fault.status
        } catch let exit as ExitStatus {
            if !exit.text.isEmpty { Screen.error(exit.text + "\n") }
            return exit.status
        } catch let fault as KernelFault where fault.call == "write" && SocketCalls.isBrokenPipe(fault) {
            // Who reads our output has enough: end as programs do that do not catch the signal.
            SignalCalls.die(by: SignalCalls.brokenPipe)
        } catch let fault as Fault where fault.kind == .cancelled {
            if fault.message.hasPrefix("write:") { SignalCalls.die(by: SignalCalls.brokenPipe) }
            Screen.error(fault.message + "\n")
            return 1
        } catch {
            Screen.error(Self.text(error) + "\n")
            return 1
        }
    }

    /// An error as one line for the user.
    package static func text(_ error: any Error) -> String {
        switch error {
        case let fault as FlagFault: fault.message
        case let fault as TemplateFault: fault.message
        default: String(describing: error)
        }
    }

    private func run() throws -> CInt {
        let globals: Parsed
        do { globals = try FlagParser.parse(words, GlobalFlags.all, mixesFlags: false) } catch let fault as FlagFault {
            throw UsageFault(
                "\(fault.message)\n\nUsage:  skiff [OPTIONS] COMMAND [ARG...]\n\nRun 'skiff --help' for more information",
                status: 125)
        } catch is FlagParser.HelpWanted {
            return try help([])
        }
        if globals.bool("version") {
            try Screen.out("Skiff version \(Version.text), build \(Version.build)\n")
            return 0
        }
        guard let first = globals.arguments.first else { return try help([]) }
        if first == "help" { return try help(Array(globals.arguments.dropFirst())) }
        guard let (command, spelling, rest) = table.find(globals.arguments) else { return try noCommand(globals.arguments) }
        let flags: Parsed
        do { flags = try FlagParser.parse(rest, command.flags(), mixesFlags: command.mixesFlags) } catch let fault as FlagFault
        {
            throw UsageFault(
                "\(fault.message)\n\nUsage:  \(command.usageLine(spelling))\n\nRun 'skiff \(spelling) --help' for more information",
                status: 125)
        } catch is FlagParser.HelpWanted {
            try Screen.out(HelpText.command(command, spelling: spelling, width: Screen.width))
            return 0
        }
        try Self.checkArguments(command, spelling, flags.arguments.count)
        return try command.run(Invocation(command: command, spelling: spelling, flags: flags, globals: globals))
    }

    private func help(_ words: [String]) throws -> CInt {
        if words.isEmpty {
            try Screen.out(HelpText.program(table, width: Screen.width))
            return 0
        }
        if let (command, spelling, _) = table.find(words) {
            try Screen.out(HelpText.command(command, spelling: spelling, width: Screen.width))
            return 0
        }
        throw UsageFault("unknown help topic: \(words.joined(separator: " "))", status: 1)
    }

    private func noCommand(_ words: [String]) throws -> CInt {
        if let noun = table.nouns.first(where: { $0.name == words.first }) {
            if words.count == 1 {
                Screen.error(HelpText.noun(noun, table.commands(of: noun)))
                return 0
            }
            if words[1] == "--help" || words[1] == "-h" {
                try Screen.out(HelpText.noun(noun, table.commands(of: noun)))
                return 0
            }
            throw UsageFault(
                "skiff: unknown command: skiff \(noun.name) \(words[1])\n\nUsage:  skiff \(noun.name)\n\nRun 'skiff \(noun.name) --help' for more information",
                status: 1)
        }
        throw UsageFault(
            "skiff: unknown command: skiff \(words.first ?? "")\n\nRun 'skiff --help' for more information", status: 1)
    }

    static func checkArguments(_ command: Command, _ spelling: String, _ count: Int) throws {
        func plural(_ number: Int) -> String { number == 1 ? "1 argument" : "\(number) arguments" }
        let complaint: String
        switch command.arguments {
        case .none where count > 0: complaint = "accepts no arguments"
        case .exactly(let wanted) where count != wanted: complaint = "requires \(plural(wanted))"
        case .atLeast(let wanted) where count < wanted: complaint = "requires at least \(plural(wanted))"
        case .atMost(let wanted) where count > wanted: complaint = "requires at most \(plural(wanted))"
        case .between(let low, let high) where count < low || count > high:
            complaint = "requires at least \(low) and at most \(plural(high))"
        default: return
        }
        // Docker's own difference: "See" for commands that take at least some.
        let verb = if case .atLeast = command.arguments { "See" } else { "Run" }
        throw UsageFault(
            "skiff: 'skiff \(spelling)' \(complaint)\n\nUsage:  \(command.usageLine(spelling))\n\n\(verb) 'skiff \(spelling) --help' for more information",
            status: 1)
    }
}
