/// One flag of a command: data, from which parsing, help, man pages and completions come.
package struct Flag: Sendable {
    package enum Kind: Sendable, Equatable {
        case bool
        case string
        case int
        case uint16
        case uint
        /// May be given more than once.
        case list
        /// `1.5g`: a number of bytes.
        case bytes
        /// `1m30s`.
        case duration
        /// A decimal number.
        case decimal
        /// A word or, without a value, `bare`.
        case optional(bare: String)
    }

    /// What completions offer for a value.
    package enum Values: Sendable, Equatable {
        case none
        case files
        case folders
        case containers
        case images
        case networks
        case volumes
        case words([String])
    }

    package let name: String
    package let short: Character?
    package let kind: Kind
    /// The word behind the flag in help texts.
    package let type: String
    package let help: String
    /// As help texts show it, without `(default …)`; nil: none is shown.
    package let shownDefault: String?
    package let isHidden: Bool
    /// The environment variable that gives a value where the flag is absent.
    package let variable: String?
    package let values: Values
    /// Says what is wrong with a value before the command runs, as a `FlagFault`.
    package let check: (@Sendable (String) throws -> Void)?

    package init(
        _ name: String, _ short: Character? = nil, _ kind: Kind, _ help: String, type: String? = nil, shows: String? = nil,
        hidden: Bool = false, variable: String? = nil, values: Values = .none,
        check: (@Sendable (String) throws -> Void)? = nil
    ) {
        self.check = check
        self.name = name
        self.short = short
        self.kind = kind
        self.help = help
        self.type = type ?? Flag.usualType(kind)
        shownDefault = shows
        isHidden = hidden
        self.variable = variable
        self.values = values
    }

    private static func usualType(_ kind: Kind) -> String {
        switch kind {
        case .bool: ""
        case .string, .optional: "string"
        case .int: "int"
        case .uint16: "uint16"
        case .uint: "uint"
        case .list: "list"
        case .bytes: "bytes"
        case .duration: "duration"
        case .decimal: "decimal"
        }
    }

    /// `-m, --memory`, as errors name it.
    package var spelled: String { short.map { "-\($0), --\(name)" } ?? "--\(name)" }
}

extension Flag {
    /// Words for the commonest kinds, so that tables stay readable.
    package static func bool(
        _ name: String, _ short: Character? = nil, _ help: String, shows: String? = nil, hidden: Bool = false
    ) -> Flag {
        Flag(name, short, .bool, help, shows: shows, hidden: hidden)
    }

    package static func string(
        _ name: String, _ short: Character? = nil, _ help: String, type: String? = nil, shows: String? = nil,
        hidden: Bool = false,
        values: Values = .none
    ) -> Flag {
        Flag(name, short, .string, help, type: type, shows: shows, hidden: hidden, values: values)
    }

    package static func list(
        _ name: String, _ short: Character? = nil, _ help: String, type: String? = nil, shows: String? = nil,
        values: Values = .none,
        check: (@Sendable (String) throws -> Void)? = nil
    ) -> Flag {
        Flag(name, short, .list, help, type: type, shows: shows, values: values, check: check)
    }
}
