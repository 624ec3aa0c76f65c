import Linux
import Testing

import CLI

@Suite struct HelpTextTests {
    @Test func execHasDockersLayout() {
        let text = HelpText.command(ExecCommand.command, spelling: "exec", width: 80)
        #expect(
            text == """
                Usage:  skiff exec [OPTIONS] CONTAINER COMMAND [ARG...]

                Execute a command in a running container

                Aliases:
                  skiff container exec, skiff exec

                Options:
                  -d, --detach               Detached mode: run command in the background
                      --detach-keys string   Override the key sequence for detaching a
                                             container
                  -e, --env list             Set environment variables
                      --env-file list        Read in a file of environment variables
                  -i, --interactive          Keep STDIN open even if not attached
                      --privileged           Give extended privileges to the command
                  -t, --tty                  Allocate a pseudo-TTY
                  -u, --user string          Username or UID (format:
                                             "<name|uid>[:<group|gid>]")
                  -w, --workdir string       Working directory inside the container

                """)
    }

    @Test func noLineOfAnyHelpIsWiderThanItsScreen() {
        for command in CommandTable.standard.commands {
            for line in HelpText.flags(command.flags(), width: 80).split(separator: "\n") {
                #expect(line.count <= 85, "\(command.name): \(line)")
            }
        }
    }

    @Test func narrowScreensPutTextsBelow() {
        let text = HelpText.flags([.bool("a-very-long-name-of-a-flag-indeed", nil, "Words")], width: 40)
        #expect(text.contains("\n                Words"))
    }

    /// `skiff __man docs/man` and `skiff completion …` make them anew.
    @Test func committedPagesAndScriptsAreOfThisTable() throws {
        let root = String(#filePath.dropLast("Tests/CLITests/Grammar/HelpTextTests.swift".count))
        for page in ManPages.pages(.standard) {
            #expect(
                String(decoding: try FileCalls.read(root + "docs/man/" + page.name), as: UTF8.self) == page.text, "\(page.name)"
            )
        }
        for (shell, file) in [("bash", "skiff.bash"), ("zsh", "_skiff"), ("fish", "skiff.fish")] {
            #expect(
                String(decoding: try FileCalls.read(root + "Packaging/completions/" + file), as: UTF8.self)
                    == CompletionScript.text(shell))
        }
    }

    @Test func manPagesCoverEveryCommand() {
        let names = ManPages.pages(.standard).map(\.name)
        #expect(names.contains("skiff.1") && names.contains("skiff-run.1") && names.contains("skiff-container-inspect.1"))
        for page in ManPages.pages(.standard) { #expect(page.text.hasPrefix(".TH ")) }
    }
}
