import Model

/// Flags of one command, as Go's flag package reads them for runc: `--name`, `-name`, `--name value`, `--name=value`; `--` and
/// the first word that is no flag end them (`interspersed`: only `--` does).
package struct CommandOptions {
    /// What a command knows: long names, short ones by the long name they stand for.
    package struct Known {
        var values: [String] = []
        var switches: [String] = []
        var short: [(letter: String, name: String)] = []
        var interspersed = true

        package init(
            values: [String] = [], switches: [String] = [], short: [(letter: String, name: String)] = [],
            interspersed: Bool = true
        ) {
            self.values = values
            self.switches = switches
            self.short = short
            self.interspersed = interspersed
        }
    }

    package private(set) var operands: [String] = []
    private var values: [(name: String, value: String)] = []
    private var switches: [String] = []

    package init(_ arguments: ArraySlice<String>, _ known: Known) throws {
        var rest = arguments
        while let word = rest.popFirst() {
            if word == "--" {
                operands += rest
                return
            }
            guard word.hasPrefix("-"), word != "-" else {
                operands.append(word)
                if known.interspersed { continue }
                operands += rest
                return
            }
            try take(word, &rest, known)
        }
    }

    private mutating func take(_ word: String, _ rest: inout ArraySlice<String>, _ known: Known) throws {
        var name = String(word.drop { $0 == "-" })
        var value: String?
        if let equals = name.firstIndex(of: "=") {
            value = String(name[name.index(after: equals)...])
            name = String(name[..<equals])
        }
        name = known.short.first { $0.letter == name }?.name ?? name
        if known.switches.contains(name) || name == "help" {
            switch value {
            case nil, "true", "1", "t", "T", "TRUE", "True": switches.append(name)
            case "false", "0", "f", "F", "FALSE", "False": switches.removeAll { $0 == name }
            case .some(let other): throw Fault(.invalid, "invalid boolean value \"\(other)\" for -\(name)")
            }
            return
        }
        guard known.values.contains(name) else { throw Fault(.invalid, "flag provided but not defined: -\(name)") }
        guard let given = value ?? rest.popFirst() else { throw Fault(.invalid, "flag needs an argument: -\(name)") }
        values.append((name, given))
    }

    package func has(_ name: String) -> Bool { switches.contains(name) }
    /// The last of several.
    package func value(_ name: String) -> String? { values.last { $0.name == name }?.value }
    package func all(_ name: String) -> [String] { values.filter { $0.name == name }.map(\.value) }

    package func integer<T: FixedWidthInteger>(_ name: String, _ type: T.Type = T.self) throws -> T? {
        guard let text = value(name) else { return nil }
        guard let number = T(text) else { throw Fault(.invalid, "invalid value \"\(text)\" for flag -\(name): not a number") }
        return number
    }

    /// The only operand; runc's words when there are more or fewer.
    package func onlyOperand(_ command: String) throws -> String {
        guard operands.count == 1 else {
            throw UsageFault(command, "\"\(command)\" requires exactly 1 argument(s)")
        }
        return operands[0]
    }
}

/// A command line that is not understood: the message, then the command's help.
package struct UsageFault: Error, CustomStringConvertible {
    package let command: String
    package let description: String
    init(_ command: String, _ message: String) {
        self.command = command
        description = message
    }
}
