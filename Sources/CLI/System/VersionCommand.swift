import Client
import JSON
import Linux
import Model

enum VersionCommand {
    static let command = Command(
        "version", group: .common, "Show the Skiff version information", usage: "[OPTIONS]", .none,
        flags: [
            .string(
                "format", "f",
                "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template."
            )
        ]
    ) { invocation in
        let format = invocation.flags.string("format") ?? ""
        var server: JSONValue?
        var failure: (any Error)?
        do { server = try invocation.client().get("/version", as: JSONValue.self) } catch { failure = error }
        if format.isEmpty {
            try Screen.out(text(server))
        } else {
            let whole = JSONValue.object([.init(key: "Client", value: client)] + [.init(key: "Server", value: server ?? .null)])
            let template = format == "json" ? nil : try Template(Listing<Int>.unescaped(format))
            try Screen.out((try template?.run(TemplateValue(whole)) ?? whole.jsonText) + "\n")
        }
        if let failure { throw failure }
        return 0
    }

    private static var client: JSONValue {
        .object(
            [
                ("Version", Version.text), ("ApiVersion", Docker.apiVersion), ("GitCommit", Version.build), ("Os", "linux"),
                ("Arch", arch), ("Context", "default"),
            ]
            .map { .init(key: $0.0, value: .string($0.1)) })
    }

    private static var arch: String {
        #if arch(x86_64)
            "amd64"
        #else
            "arm64"
        #endif
    }

    private static func text(_ server: JSONValue?) -> String {
        var lines = [
            "Client:", " Version:           \(Version.text)", " API version:       \(Docker.apiVersion)",
            " Git commit:        \(Version.build)", " OS/Arch:           linux/\(arch)", " Context:           default",
        ]
        guard let server else { return lines.joined(separator: "\n") + "\n" }
        func word(_ key: String) -> String { server[key]?.string ?? "" }
        let platform = server["Platform"]?["Name"]?.string ?? ""
        lines += ["", "Server:" + (platform.isEmpty ? "" : " " + platform)]
        lines += [
            " Engine:", "  Version:          \(word("Version"))",
            "  API version:      \(word("ApiVersion")) (minimum version \(word("MinAPIVersion")))",
        ]
        if !word("GoVersion").isEmpty { lines.append("  Go version:       \(word("GoVersion"))") }
        lines.append("  Git commit:       \(word("GitCommit"))")
        if !word("BuildTime").isEmpty { lines.append("  Built:            \(word("BuildTime"))") }
        lines += [
            "  OS/Arch:          \(word("Os"))/\(word("Arch"))", "  Experimental:     \(server["Experimental"]?.bool ?? false)",
        ]
        for component in server["Components"]?.array ?? [] where component["Name"]?.string != "Engine" {
            lines.append(" \(component["Name"]?.string ?? ""):")
            lines.append("  Version:          \(component["Version"]?.string ?? "")")
            if let commit = component["Details"]?["GitCommit"]?.string { lines.append("  GitCommit:        \(commit)") }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
