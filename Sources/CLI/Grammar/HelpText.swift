/// Help texts in docker's layout.
package enum HelpText {
    /// The help of one command.
    package static func command(_ command: Command, spelling: String, width: Int) -> String {
        var text = "Usage:  \(command.usageLine(spelling))\n\n\(command.summary)\n"
        if let details = command.details { text += "\n\(details)\n" }
        let names = spellings(command)
        if names.count > 1 { text += "\nAliases:\n  " + names.map { "skiff " + $0 }.joined(separator: ", ") + "\n" }
        let options = flags(command.flags(), width: width)
        if !options.isEmpty { text += "\nOptions:\n" + options }
        return text
    }

    /// Management spelling first, as docker orders them.
    package static func spellings(_ command: Command) -> [String] {
        let all = [command.name] + command.aliases
        return all.filter { $0.contains(" ") } + all.filter { !$0.contains(" ") }
    }

    /// The help of a noun: its commands.
    package static func noun(_ noun: Noun, _ commands: [(String, String)]) -> String {
        "Usage:  skiff \(noun.name) COMMAND\n\n\(noun.summary)\n\nCommands:\n" + list(commands)
            + "\nRun 'skiff \(noun.name) COMMAND --help' for more information on a command.\n"
    }

    /// `skiff --help`
    package static func program(_ table: CommandTable, width: Int) -> String {
        func group(_ group: Command.Group) -> [(String, String)] {
            table.commands.filter { $0.group == group }.compactMap { command in
                HelpText.spellings(command).last { !$0.contains(" ") }.map { ($0, command.summary) }
            }
        }
        let plain = group(.plain).sorted { $0.0 < $1.0 }
        return "Usage:  skiff [OPTIONS] COMMAND\n\nA container engine for Linux\n\nCommon Commands:\n" + list(group(.common))
            + "\nManagement Commands:\n" + list(table.nouns.map { ($0.name, $0.summary) }) + "\nCommands:\n" + list(plain)
            + "\nGlobal Options:\n" + flags(GlobalFlags.all, width: width)
            + "\nRun 'skiff COMMAND --help' for more information on a command.\n"
    }

    private static func list(_ entries: [(String, String)]) -> String {
        let width = max(11, entries.map { $0.0.utf8.count }.max() ?? 0)
        return entries.map { "  " + $0.0 + String(repeating: " ", count: width - $0.0.utf8.count + 1) + $0.1 + "\n" }.joined()
    }

    /// The table of flags, wrapped as pflag wraps it.
    package static func flags(_ flags: [Flag], width: Int) -> String {
        let shown = flags.filter { !$0.isHidden }.sorted { $0.name < $1.name }
        let heads = shown.map { flag in
            let head = flag.short.map { "  -\($0), --\(flag.name)" } ?? "      --\(flag.name)"
            return flag.type.isEmpty ? head : head + " " + flag.type
        }
        let longest = (heads.map { $0.utf8.count }.max() ?? 0) + 1
        var text = ""
        for (flag, head) in zip(shown, heads) {
            let usage = flag.help + (flag.shownDefault.map { " (default \($0))" } ?? "")
            text += head + String(repeating: " ", count: longest - head.utf8.count + 2)
            text += wrap(Array(usage.utf8), indent: longest + 2, width: width - 1) + "\n"
        }
        return text
    }

    static func wrap(_ text: [UInt8], indent: Int, width: Int) -> String {
        var indent = indent
        var room = width - indent
        var result = ""
        if room < 24 {
            indent = 16
            room = width - indent
            result += "\n" + String(repeating: " ", count: indent)
        }
        let margin = "\n" + String(repeating: " ", count: indent)
        func indented(_ part: [UInt8]) -> String {
            part.split(separator: 0x0A, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }.joined(
                separator: margin)
        }
        guard room >= 24 else { return result + indented(text) }
        let slop = 5
        room -= slop
        var (line, rest) = split(text, at: room, slop: slop)
        result += indented(line)
        while !rest.isEmpty {
            (line, rest) = split(rest, at: room, slop: slop)
            result += margin + indented(line)
        }
        return result
    }

    private static func split(_ text: [UInt8], at limit: Int, slop: Int) -> ([UInt8], [UInt8]) {
        if limit + slop > text.count { return (text, []) }
        guard let space = text[..<limit].lastIndex(where: { $0 == 0x20 || $0 == 0x09 || $0 == 0x0A }), space > 0 else {
            return (text, [])
        }
        if let line = text[..<limit].lastIndex(of: 0x0A), line > 0, line < space {
            return (Array(text[..<line]), Array(text[(line + 1)...]))
        }
        return (Array(text[..<space]), Array(text[(space + 1)...]))
    }
}
