import Client
import Linux
import Model

/// One call of a command: what was given, and the engine.
package final class Invocation {
    package let command: Command
    /// How the command was called, `container ls`.
    package let spelling: String
    package let flags: Parsed
    private let globals: Parsed
    private var made: EngineClient?

    package init(command: Command, spelling: String, flags: Parsed, globals: Parsed) {
        self.command = command
        self.spelling = spelling
        self.flags = flags
        self.globals = globals
    }

    package var arguments: [String] { flags.arguments }

    /// Where the client's configuration is, when --config says so.
    package var configFolder: String? { globals.string("config").flatMap { $0.isEmpty ? nil : $0 } }

    /// The engine that -H, SKIFF_HOST or the default names.
    package func client() throws -> EngineClient {
        if let made { return made }
        let hosts = globals.list("host")
        guard hosts.count < 2 else { throw Fault(.invalid, "specify only one -H") }
        let endpoint: Endpoint
        if let host = hosts.first ?? FileCalls.variable("SKIFF_HOST"), !host.isEmpty {
            endpoint = try Endpoint(host: host)
        } else {
            endpoint = Endpoint.usual()
        }
        let client = EngineClient(endpoint)
        made = client
        return client
    }
}

/// Text to the terminal or pipe: what is written here is complete before the process ends.
package enum Screen {
    package static func out(_ text: String) throws { try StreamCalls.writeAll(1, Array(text.utf8)) }
    package static func error(_ text: String) { try? StreamCalls.writeAll(2, Array(text.utf8)) }

    package static var width: Int { TerminalCalls.size(0)?.columns ?? 80 }
}

/// A command's own exit status, with what is to be said about it; an empty text says nothing.
package struct ExitStatus: Error {
    package let status: CInt
    package let text: String
    package init(_ status: CInt, _ text: String = "") {
        self.status = status
        self.text = text
    }
}
