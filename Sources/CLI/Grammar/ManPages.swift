import Linux
import Model

/// Man pages from the command tables: `skiff __man FOLDER` writes skiff.1, skiff-run.1, …
package enum ManPages {
    static let command: Command = Command(
        "__man", group: .hidden, "Write the man pages into a folder", usage: "FOLDER", .exactly(1)
    ) { invocation in
        let folder = invocation.arguments[0]
        do {
            try FileCalls.makeFolder(folder, mode: 0o755)
            for (name, text) in pages(CommandTable.standard) {
                let file = try FileCalls.create(folder + "/" + name)
                try StreamCalls.writeAll(file.raw, Array(text.utf8))
            }
        } catch let fault as KernelFault { throw FlagFault("cannot write man pages: \(fault)") }
        return 0
    }

    /// File names and their contents.
    package static func pages(_ table: CommandTable) -> [(name: String, text: String)] {
        let documented = table.commands.filter { !$0.name.hasPrefix("__") }
        return [("skiff.1", main(table))] + documented.map { ("skiff-" + dashed($0.name) + ".1", page($0)) }
    }

    private static func dashed(_ name: String) -> String { String(name.map { $0 == " " ? "-" : $0 }) }

    private static func escape(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "\\": result += "\\e"
            case "-": result += "\\-"
            case "'" where result.isEmpty || result.hasSuffix("\n"): result += "\\(aq"
            case "." where result.isEmpty || result.hasSuffix("\n"): result += "\\&."
            default: result.append(character)
            }
        }
        return result
    }

    private static func head(_ title: String) -> String {
        ".TH \(title.uppercased()) 1 \"\" \"Skiff \(Version.text)\" \"Skiff\"\n"
    }

    private static func options(_ flags: [Flag]) -> String {
        flags.filter { !$0.isHidden }.sorted { $0.name < $1.name }.map { flag in
            var head = flag.short.map { "\\fB\\-\($0)\\fR, " } ?? ""
            head += "\\fB\\-\\-\(escape(flag.name))\\fR"
            if !flag.type.isEmpty { head += " \\fI\(escape(flag.type))\\fR" }
            let lines = flag.help.split(separator: "\n").map { escape(String($0)) }.joined(separator: "\n.br\n")
            let shown = flag.shownDefault.map { " (default \(escape($0)))" } ?? ""
            return ".TP\n\(head)\n\(lines)\(shown)\n"
        }.joined()
    }

    private static func page(_ command: Command) -> String {
        var text = head("skiff-" + dashed(command.name))
        text += ".SH NAME\nskiff\\-\(escape(dashed(command.name))) \\- \(escape(command.summary))\n"
        text += ".SH SYNOPSIS\n\\fBskiff \(escape(command.name))\\fR \(escape(command.usage))\n"
        text += ".SH DESCRIPTION\n\(escape(command.summary)).\n"
        if let details = command.details { text += ".PP\n.nf\n\(escape(details))\n.fi\n" }
        let names = HelpText.spellings(command)
        if names.count > 1 {
            text += ".PP\nOther spellings: " + names.map { "\\fBskiff \(escape($0))\\fR" }.joined(separator: ", ") + ".\n"
        }
        let flags = options(command.flags())
        if !flags.isEmpty { text += ".SH OPTIONS\n" + flags }
        if ["run", "create", "exec", "start", "attach"].contains(command.name) {
            text +=
                ".SH EXIT STATUS\nThe status of the container's process; 125 when the engine refused, 126 when the command cannot be executed,\n"
            text += "127 when it was not found, 128 plus the number of the signal that ended it.\n"
        }
        return text + ".SH SEE ALSO\n\\fBskiff\\fR(1), \\fBskiffd\\fR(8)\n"
    }

    private static func main(_ table: CommandTable) -> String {
        var text = head("skiff")
        text += ".SH NAME\nskiff \\- a container engine for Linux\n.SH SYNOPSIS\n\\fBskiff\\fR [OPTIONS] COMMAND [ARG...]\n"
        text +=
            ".SH DESCRIPTION\n\\fBskiff\\fR runs programs in containers. It speaks to \\fBskiffd\\fR(8) over a Unix socket and starts it where\n"
        text +=
            "none answers. Commands and their flags follow docker's.\n.SH OPTIONS\n" + options(GlobalFlags.all)
            + ".SH COMMANDS\n"
        for command in table.commands.sorted(by: { $0.name < $1.name }) where !command.name.hasPrefix("__") {
            text +=
                ".TP\n\\fB\(escape(command.name))\\fR\n\(escape(command.summary)); see \\fBskiff\\-\(escape(dashed(command.name)))\\fR(1)\n"
        }
        text +=
            ".SH ENVIRONMENT\n.TP\n\\fBSKIFF_HOST\\fR\nThe engine's socket, \\fIunix:///path\\fR, where \\fB\\-H\\fR is not given.\n"
        text +=
            ".TP\n\\fBDOCKER_HOST\\fR\nNot read: it names docker's engine, and a command that removes things must not reach another engine than\n"
        text +=
            "the one that is meant. Docker's own client speaks to skiff with \\fIDOCKER_HOST=unix:///run/skiff/skiff.sock\\fR.\n"
        text +=
            ".TP\n\\fBXDG_RUNTIME_DIR\\fR\nUsers other than root first look for an engine of their own at \\fI$XDG_RUNTIME_DIR/skiff/skiff.sock\\fR.\n"
        text += ".SH FILES\n.TP\n\\fI/run/skiff/skiff.sock\\fR\nThe engine's socket.\n.TP\n\\fI/run/skiff/skiffd.log\\fR\n"
        text += "What an engine says that was started by \\fBskiff\\fR.\n"
        return text + ".SH SEE ALSO\n\\fBskiffd\\fR(8), \\fBskiff\\-runtime\\fR(8)\n"
    }
}
