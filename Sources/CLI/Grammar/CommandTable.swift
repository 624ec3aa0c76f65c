/// All commands: what help, completion and man pages are made from.
package struct CommandTable: Sendable {
    package let commands: [Command]
    package let nouns: [Noun]

    package static let standard: CommandTable = CommandTable(
        commands: [
            RunCommand.command, ExecCommand.command, PsCommand.command, ImagesCommand.command, VersionCommand.command,
            InfoCommand.command,
            RunCommand.create, AttachCommand.command, StartCommand.command, LifecycleCommands.stop, LifecycleCommands.restart,
            LifecycleCommands.kill, LifecycleCommands.pause, LifecycleCommands.unpause, LifecycleCommands.wait,
            LifecycleCommands.remove,
            LifecycleCommands.rename, LifecycleCommands.update, LogsCommand.command, TopCommand.command, PortCommand.command,
            CommitCommand.command, CopyCommand.command, DiffCommand.command, StatsCommand.command, HistoryCommand.command,
            ImageChangeCommands.tag,
            ImageChangeCommands.remove,
            TransferCommands.pull, TransferCommands.push, LoginCommands.login, LoginCommands.logout, TransferCommands.search,
            ArchiveCommands.importFile, ArchiveCommands.load, ArchiveCommands.save, ArchiveCommands.export,
            BootstrapCommand.command,
            InspectCommand.command, EventsCommand.command,
            // Spelled with their noun only
            LifecycleCommands.prune, ImageChangeCommands.prune, DiskUsageCommand.command, CheckCommand.command,
            SystemCommands.prune, PortAuditCommand.command,
            NetworkCommands.list, NetworkCreateCommand.command, NetworkCommands.remove, NetworkCommands.prune,
            NetworkCommands.connect, NetworkCommands.disconnect,
            RegistryCommands.serve, RegistryCommands.check,
            ManifestCommands.create, ManifestCommands.annotate, ManifestCommands.inspect, ManifestCommands.push,
            ManifestCommands.remove,
            VolumeCommands.list, VolumeCommands.create, VolumeCommands.remove, VolumeCommands.prune,
            InspectCommand.of("container", "Display detailed information on one or more containers", completes: .containers),
            InspectCommand.of("image", "Display detailed information on one or more images", completes: .images),
            InspectCommand.of("network", "Display detailed information on one or more networks", completes: .networks),
            InspectCommand.of("volume", "Display detailed information on one or more volumes", completes: .volumes),
            CompletionCommand.command, CompletionCommand.words, ManPages.command,
        ] + MissingCommands.all,
        nouns: [
            Noun("container", "Manage containers"), Noun("image", "Manage images"),
            Noun("manifest", "Manage Docker image manifests and manifest lists"), Noun("network", "Manage networks"),
            Noun("registry", "Run a registry"), Noun("system", "Manage Skiff"), Noun("volume", "Manage volumes"),
        ])

    package init(commands: [Command], nouns: [Noun]) {
        self.commands = commands
        self.nouns = nouns
    }

    /// The command that the first words name, how it was spelled, and the words behind it.
    package func find(_ words: [String]) -> (Command, String, [String])? {
        guard let first = words.first else { return nil }
        // `port audit`, beside `port CONTAINER`.
        if words.count > 1, let command = command(first + " " + words[1]) {
            return (command, first + " " + words[1], Array(words.dropFirst(2)))
        }
        if nouns.contains(where: { $0.name == first }) {
            return nil
        }
        return command(first).map { ($0, first, Array(words.dropFirst())) }
    }

    private func command(_ spelling: String) -> Command? {
        commands.first { $0.name == spelling || $0.aliases.contains(spelling) }
    }

    /// The commands under a noun, with the word that follows it.
    package func commands(of noun: Noun) -> [(String, String)] {
        var result: [(String, String)] = []
        for command in commands {
            for spelling in [command.name] + command.aliases where spelling.hasPrefix(noun.name + " ") {
                result.append((String(spelling.dropFirst(noun.name.count + 1)), command.summary))
                break
            }
        }
        return result.sorted { $0.0 < $1.0 }
    }
}
