/// Flags before the command's name.
package enum GlobalFlags {
    package static var all: [Flag] {
        [
            .bool("debug", "D", "Enable debug mode"),
            Flag("host", "H", .list, "Engine socket to connect to", variable: "SKIFF_HOST", values: .files),
            .string(
                "log-level", "l", "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")",
                shows: "\"info\""),
            .string("context", "c", "Only \"default\" exists", hidden: true),
            .string("config", nil, "Location of client config files", hidden: true, values: .folders),
            .bool("version", "v", "Print version information and quit"),
        ]
    }
}
