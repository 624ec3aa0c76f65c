import Client
import Linux
import Model

/// `KEY=value` words and the files that hold them.
package enum KeyValues {
    package static func pair(_ text: String) throws -> String {
        guard !text.isEmpty, text.first != "=" else { throw FlagFault("invalid argument: \(text)") }
        return text
    }

    package static func variable(_ text: String) throws -> String {
        guard !text.isEmpty, text.first != "=" else { throw FlagFault("invalid environment variable: \(text)") }
        return text
    }

    /// Those that belong to a container's own namespaces.
    package static func sysctl(_ text: String) throws -> String {
        let kernel = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"].map {
            "kernel." + $0
        }
        guard let (name, _) = GoText.cut(text, "="),
            kernel.contains(name) || name.hasPrefix("net.") || name.hasPrefix("fs.mqueue.")
        else { throw FlagFault("sysctl '\(text)' is not allowed") }
        return text
    }

    package static func label(_ text: String) throws -> String {
        let (key, _) = GoText.cut(text, "=") ?? (text, "")
        guard !key.trimmingSpaces().isEmpty else { throw FlagFault("invalid label '\(text)': empty name") }
        return text
    }

    /// Words as a dictionary; a word without `=` has an empty value.
    package static func dictionary(_ words: [String]) -> [String: String] {
        var result: [String: String] = [:]
        for word in words {
            let (key, value) = GoText.cut(word, "=") ?? (word, "")
            result[key] = value
        }
        return result
    }

    /// Files first, then words: `KEY` alone takes this process's value, and is left as it is where there is none.
    package static func environment(files: [String], words: [String]) throws -> [String] {
        var result: [String] = []
        for file in files { result += try lines(of: file, takesEnvironment: true) }
        for word in words {
            _ = try variable(word)
            result.append(word.contains("=") ? word : FileCalls.variable(word).map { "\(word)=\($0)" } ?? word)
        }
        return result
    }

    package static func labels(files: [String], words: [String]) throws -> [String: String] {
        var all: [String] = []
        for file in files { all += try lines(of: file, takesEnvironment: false) }
        return dictionary(all + words)
    }

    /// Docker's env-file: a line is `KEY=value` as it stands; `#` begins a comment line; `KEY` alone takes this process's value.
    static func lines(of file: String, takesEnvironment: Bool) throws -> [String] {
        let content: [UInt8]
        do { content = try FileCalls.read(file) } catch let fault as KernelFault {
            throw FlagFault("open \(file): \(fault.reason.lowercasedFirst)")
        }
        return try lines(content, file: file, takesEnvironment: takesEnvironment)
    }

    package static func lines(_ content: [UInt8], file: String, takesEnvironment: Bool) throws -> [String] {
        var bytes = content[...]
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
        var result: [String] = []
        for (index, rawLine) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            guard let text = String(validating: rawLine, as: UTF8.self) else {
                throw FlagFault(
                    "invalid env file (\(file)): invalid utf8 bytes at line \(index + 1): \(GoText.quote(String(decoding: rawLine, as: UTF8.self)))"
                )
            }
            var line = Substring(text)
            if line.hasSuffix("\r") { line = line.dropLast() }
            line = line.drop { $0 == " " || $0 == "\t" }
            if line.isEmpty || line.hasPrefix("#") { continue }
            guard let (key, value) = GoText.cut(String(line), "=") else {
                let name = line.trimmingSpaces()
                try check(name, file, line)
                // A label without a value is left out, as docker does.
                if takesEnvironment, let value = FileCalls.variable(name) { result.append("\(name)=\(value)") }
                continue
            }
            try check(key, file, line)
            result.append("\(key)=\(value)")
        }
        return result
    }

    private static func check(_ key: String, _ file: String, _ line: Substring) throws {
        guard !key.isEmpty else { throw FlagFault("invalid env file (\(file)): no variable name on line '\(line)'") }
        guard !key.contains(where: { $0.isWhitespace }) else {
            throw FlagFault("invalid env file (\(file)): variable '\(key)' contains whitespaces")
        }
    }
}

extension String {
    /// Go's errors begin with a small letter, libc's do not.
    package var lowercasedFirst: String { prefix(1).lowercased() + dropFirst() }
}
