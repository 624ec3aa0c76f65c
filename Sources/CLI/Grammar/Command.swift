/// How many arguments a command takes.
package enum ArgumentRule: Sendable, Equatable {
    case none
    case exactly(Int)
    case atLeast(Int)
    case atMost(Int)
    case between(Int, Int)
}

/// One command: data and the function that does it.
package struct Command: Sendable {
    package enum Group: Int, Sendable, CaseIterable {
        case common, management, plain, hidden
    }

    /// The words after `skiff`, `container ls`.
    package let name: String
    /// Other full spellings, `ps`, `container list`.
    package let aliases: [String]
    package let group: Group
    package let summary: String
    /// What follows the command's name in its usage line.
    package let usage: String
    package let arguments: ArgumentRule
    /// False: the first argument ends the flags, as in `run IMAGE ls -l`.
    package let mixesFlags: Bool
    package let flags: @Sendable () -> [Flag]
    package let details: String?
    /// What completions offer for arguments: the last entry stands for all further ones.
    package let completes: [Flag.Values]
    package let run: @Sendable (Invocation) throws -> CInt

    package init(
        _ name: String, aliases: [String] = [], group: Group = .plain, _ summary: String, usage: String,
        _ arguments: ArgumentRule,
        mixesFlags: Bool = true, flags: @escaping @Sendable @autoclosure () -> [Flag] = [], details: String? = nil,
        completes: [Flag.Values] = [], run: @escaping @Sendable (Invocation) throws -> CInt
    ) {
        self.name = name
        self.aliases = aliases
        self.group = group
        self.summary = summary
        self.usage = usage
        self.arguments = arguments
        self.mixesFlags = mixesFlags
        self.flags = flags
        self.details = details
        self.completes = completes
        self.run = run
    }

    /// `skiff run [OPTIONS] IMAGE [COMMAND] [ARG...]`
    package func usageLine(_ spelling: String? = nil) -> String {
        let tail = usage.isEmpty ? "" : " " + usage
        return "skiff \(spelling ?? name)\(tail)"
    }
}

/// A word that other commands stand under: `container`, `image`.
package struct Noun: Sendable {
    package let name: String
    package let summary: String
    package init(_ name: String, _ summary: String) {
        self.name = name
        self.summary = summary
    }
}
