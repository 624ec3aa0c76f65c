import Model

/// The tables of one room. Each room keeps its part in a file of its own; `all` names the parts.
public struct SchemaPart: Sendable {
    public let name: String
    /// SQL that leads from version n to n + 1, in order; each may hold several statements. Released steps never change:
    /// what comes later is a new step at the end.
    public let steps: [String]

    public init(name: String, steps: [String]) {
        self.name = name
        self.steps = steps
    }

    /// Everything an engine keeps. Order matters where tables refer to one another.
    public static let all: [SchemaPart] = [.images, .containers, .networks, .pulls, .storage]
}

extension SQLiteConnection {
    /// Brings every part up to date, in one transaction.
    func migrate(_ parts: [SchemaPart]) throws {
        try transaction(begin: "BEGIN IMMEDIATE") { transaction in
            try execute(
                "CREATE TABLE IF NOT EXISTS schema_part (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID")
            for part in parts {
                let version =
                    try transaction.first("SELECT version FROM schema_part WHERE name = ?", part.name) { $0.int(0) } ?? 0
                guard version <= part.steps.count else {
                    throw Fault(
                        .unsupported,
                        "the state file was written by a newer skiff (\(part.name) has version \(version), "
                            + "this one knows \(part.steps.count)); use that version")
                }
                if version == part.steps.count { continue }
                for step in part.steps[version...] { try execute(step) }
                try transaction.run(
                    "INSERT INTO schema_part VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
                    part.name, part.steps.count)
            }
        }
    }
}
