/// Help texts: what a command is for and what it takes.
enum CommandHelp {
    private static let commands: [(name: String, arguments: String, text: String)] = [
        ("create", "[command options] <container-id>", "create a container"),
        (
            "delete", "[command options] <container-id>",
            "delete any resources held by the container often used with detached container"
        ),
        (
            "events", "[command options] <container-id>",
            "display container events such as OOM notifications, cpu, memory, and IO usage statistics"
        ),
        ("exec", "[command options] <container-id> <command> [command options]", "execute new process inside the container"),
        ("features", "", "show the enabled features"),
        (
            "kill", "[command options] <container-id> [signal]",
            "kill sends the specified signal (default: SIGTERM) to the container's init process"
        ),
        ("list", "[command options]", "list containers started by this runtime with the given root"),
        ("pause", "<container-id>", "pause suspends all processes inside the container"),
        ("ps", "[command options] <container-id> [ps options]", "ps displays the processes running inside a container"),
        ("resume", "<container-id>", "resumes all processes that have been previously paused"),
        ("run", "[command options] <container-id>", "create and run a container"),
        ("spec", "[command options]", "create a new specification file"),
        ("start", "<container-id>", "executes the user defined process in a created container"),
        ("state", "<container-id>", "output the state of a container"),
        ("update", "[command options] <container-id>", "update container resource constraints"),
    ]

    static let overview: String = {
        var text = """
            NAME:
               skiff-runtime - Open Container Initiative runtime

            USAGE:
               skiff-runtime [global options] command [command options] [arguments...]

            VERSION:
               \(RuntimeCommand.version)
               spec: 1.3.0

            COMMANDS:

            """
        for command in commands { text += "   \(padded(command.name)) \(command.text)\n" }
        return text + """

            GLOBAL OPTIONS:
               --debug             enable debug logging
               --log value         set the log file to write logs to (default: '/dev/stderr')
               --log-format value  set the log format ('text' (default), or 'json')
               --root value        root directory for storage of container state (default: "/run/skiff-runtime")
               --systemd-cgroup    enable systemd cgroup support
               --rootless value    ignore cgroup permission errors ('true', 'false', or 'auto')
               --help, -h          show help
               --version, -v       print the version

            """
    }()

    static func text(of name: String) -> String {
        guard let command = commands.first(where: { $0.name == name }) else { return overview }
        return "NAME:\n   skiff-runtime \(name) - \(command.text)\n\nUSAGE:\n   skiff-runtime \(name) \(command.arguments)\n\n"
    }

    private static func padded(_ name: String) -> String { name + String(repeating: " ", count: max(0, 10 - name.count)) }
}
