import Client
import JSON
import Linux
import Model

enum CompletionCommand {
    static let command: Command = Command(
        "completion", "Generate the autocompletion script for the specified shell", usage: "bash|zsh|fish", .exactly(1),
        completes: [.words(["bash", "zsh", "fish"])]
    ) { invocation in
        guard let script = CompletionScript.text(invocation.arguments[0]) else {
            throw FlagFault("no completion for \(GoText.quote(invocation.arguments[0])): use bash, zsh or fish")
        }
        try Screen.out(script)
        return 0
    }

    /// What the scripts call: the words so far, the last one unfinished; one candidate a line, a tab before its description.
    static let words: Command = Command(
        "__complete", group: .hidden, "Candidates for the last word", usage: "[WORD...]", .atLeast(0), mixesFlags: false
    ) { invocation in
        let candidates = Completion.candidates(CommandTable.standard, invocation.arguments) { values in
            (try? names(values, invocation)) ?? []
        }
        try Screen.out(candidates.map { $0 + "\n" }.joined())
        return 0
    }

    /// Names from the engine; one that does not run is not started for this.
    private static func names(_ values: Flag.Values, _ invocation: Invocation) throws -> [String] {
        let client = EngineClient(try invocation.client().endpoint, startsEngine: false)
        switch values {
        case .containers:
            let rows: [Docker.ContainerSummary] = try client.get("/containers/json", Query([("all", "1")]))
            return rows.flatMap { $0.names ?? [] }.map { String($0.drop { $0 == "/" }) }
        case .images:
            let rows: [Docker.ImageSummary] = try client.get("/images/json")
            return rows.flatMap { $0.repoTags ?? [] }.filter { $0 != "<none>:<none>" }
        case .networks:
            let rows: [JSONValue] = try client.get("/networks")
            return rows.compactMap { $0["Name"]?.string }
        case .volumes:
            let answer: Docker.VolumeListResponse = try client.get("/volumes")
            return (answer.volumes ?? []).compactMap(\.name)
        case .none, .files, .folders, .words: return []
        }
    }
}

/// Finds what may stand at the end of a command line.
package enum Completion {
    /// - Parameter names: of containers, images …
    package static func candidates(_ table: CommandTable, _ words: [String], names: (Flag.Values) -> [String]) -> [String] {
        let last = words.last ?? ""
        var rest = Array(words.dropLast())
        rest = withoutGlobals(rest)
        guard let (command, _, arguments) = table.find(rest) else { return commandWords(table, rest, last) }
        let flags = command.flags().filter { !$0.isHidden }
        var positions = 0
        var index = 0
        while index < arguments.count {
            let word = arguments[index]
            if word.hasPrefix("-"), word != "-" {
                if let flag = valueFlag(word, flags), index == arguments.count - 1 { return values(flag.values, last, names) }
                if valueFlag(word, flags) != nil { index += 1 }
            } else {
                positions += 1
                if !command.mixesFlags, positions > 1 { return [":files"] }
            }
            index += 1
        }
        if last.hasPrefix("-"), command.mixesFlags || positions == 0 {
            if let (name, value) = GoText.cut(last, "="), let flag = flags.first(where: { "--" + $0.name == name }) {
                return values(flag.values, value, names).map { $0.hasPrefix(":") ? $0 : name + "=" + $0 }
            }
            return flags.map { ("--" + $0.name, $0.help) }.filter { $0.0.hasPrefix(last) }.sorted { $0.0 < $1.0 }
                .map { $0.0 + "\t" + firstLine($0.1) }
        }
        let wanted =
            command.completes.isEmpty ? Flag.Values.none : command.completes[min(positions, command.completes.count - 1)]
        return values(wanted, last, names)
    }

    private static func firstLine(_ text: String) -> String { String(text.prefix { $0 != "\n" }) }

    private static func withoutGlobals(_ words: [String]) -> [String] {
        var words = words[...]
        while let first = words.first, first.hasPrefix("-") {
            words = words.dropFirst()
            if valueFlag(first, GlobalFlags.all) != nil { words = words.dropFirst() }
        }
        return Array(words)
    }

    /// The flag whose value is the next word.
    private static func valueFlag(_ word: String, _ flags: [Flag]) -> Flag? {
        guard !word.contains("=") else { return nil }
        let flag: Flag?
        if word.hasPrefix("--") {
            flag = flags.first { "--" + $0.name == word }
        } else {
            flag = flags.first { $0.short == word.last }
        }
        guard let flag, flag.kind != .bool else { return nil }
        return flag
    }

    private static func commandWords(_ table: CommandTable, _ words: [String], _ last: String) -> [String] {
        if let noun = table.nouns.first(where: { $0.name == words.first }) {
            return table.commands(of: noun).filter { $0.0.hasPrefix(last) }.map { $0.0 + "\t" + $0.1 }
        }
        guard words.isEmpty else { return [] }
        let commands = table.commands.filter { $0.group != .hidden }.compactMap { command in
            ([command.name] + command.aliases).first { !$0.contains(" ") }.map { ($0, command.summary) }
        }
        return (commands + table.nouns.map { ($0.name, $0.summary) }).filter { $0.0.hasPrefix(last) }.sorted { $0.0 < $1.0 }
            .map { $0.0 + "\t" + $0.1 }
    }

    private static func values(_ values: Flag.Values, _ last: String, _ names: (Flag.Values) -> [String]) -> [String] {
        switch values {
        case .none: []
        case .files: [":files"]
        case .folders: [":folders"]
        case .words(let words): words.filter { $0.hasPrefix(last) }
        case .containers, .images, .networks, .volumes: names(values).filter { $0.hasPrefix(last) }.sorted()
        }
    }
}

/// The scripts that join shells to `skiff __complete`.
package enum CompletionScript {
    package static func text(_ shell: String) -> String? {
        switch shell {
        case "bash": bash
        case "zsh": zsh
        case "fish": fish
        default: nil
        }
    }

    private static let bash = #"""
        # bash completion for skiff
        _skiff() {
            local IFS=$'\n' line current="${COMP_WORDS[COMP_CWORD]}" candidates=()
            local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
            while read -r line; do
                case "$line" in
                    :files) compopt -o filenames 2>/dev/null; candidates+=($(compgen -f -- "$current")) ;;
                    :folders) compopt -o filenames 2>/dev/null; candidates+=($(compgen -d -- "$current")) ;;
                    ?*) candidates+=("${line%%$'\t'*}") ;;
                esac
            done < <(skiff __complete "${words[@]}" 2>/dev/null)
            # bash breaks words at colons: what stands before the last one is there already
            if [[ "$current" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
                local prefix="${current%"${current##*:}"}" index
                for index in "${!candidates[@]}"; do candidates[index]="${candidates[index]#"$prefix"}"; done
            fi
            COMPREPLY=("${candidates[@]}")
        }
        complete -F _skiff skiff

        """#

    private static let zsh = #"""
        #compdef skiff
        # zsh completion for skiff
        _skiff() {
            local -a candidates
            local line word
            while IFS= read -r line; do
                case "$line" in
                    :files) _files; return ;;
                    :folders) _files -/; return ;;
                    ?*)
                        word="${line%%$'\t'*}"
                        word="${word//:/\\:}"
                        if [[ "$line" == *$'\t'* ]]; then candidates+=("$word:${line#*$'\t'}"); else candidates+=("$word"); fi
                        ;;
                esac
            done < <(skiff __complete "${(@)words[2,$CURRENT]}" 2>/dev/null)
            _describe 'skiff' candidates
        }
        if [ "$funcstack[1]" = "_skiff" ]; then _skiff "$@"; else compdef _skiff skiff; fi

        """#

    private static let fish = #"""
        # fish completion for skiff
        function __skiff_complete
            set -l words (commandline -opc) (commandline -ct)
            for line in (skiff __complete $words[2..-1] 2>/dev/null)
                switch $line
                    case ':files'
                        __fish_complete_path (commandline -ct)
                    case ':folders'
                        __fish_complete_directories (commandline -ct)
                    case '?*'
                        echo $line
                end
            end
        end
        complete -c skiff -f -a '(__skiff_complete)'

        """#
}
