import Client
import Linux
import Model

/// `skiff registry …`: runs the `skiffd` beside this program as a registry server, in this process's place. The server speaks TLS,
/// which this static program does not have, and never talks to the engine.
enum RegistryCommands {
    static let serve = Command(
        "registry serve", group: .hidden, "Run a registry of one's own", usage: "[OPTIONS]", .none,
        flags: [
            .bool("delete", nil, "Manifests, tags and blobs may be deleted"),
            .bool("delete-untagged", nil, "Collect manifests without a tag, an index or a subject"),
            .string("grace", nil, "How long a blob stays that no manifest names", type: "duration", shows: "1h"),
            .string("htpasswd", nil, "Users and their passwords (bcrypt); read again when it changes", values: .files),
            .list("listen", nil, "Address and port to serve", shows: "127.0.0.1:5000"),
            .string("log-format", nil, "Format of the log", shows: "\"text\"", values: .words(["text", "json"])),
            .string("max-blob-size", nil, "Refuse larger blobs", type: "bytes"),
            .string("max-connections", nil, "Connections at one time", type: "int", shows: "512"),
            .string("max-uploads", nil, "Uploads open at one time", type: "int", shows: "4096"),
            .string("mirror", nil, "URL of a registry to be a pull-through mirror of"),
            .string("mirror-check", nil, "How long a tag is not asked for again upstream", type: "duration", shows: "1m"),
            .string("mirror-credentials", nil, "File with USER:PASSWORD for the mirrored registry", values: .files),
            .string("mirror-ttl", nil, "What nobody asked for so long goes", type: "duration", shows: "7d"),
            .bool("quiet", nil, "No line in the log for each request"),
            .bool("read-only", nil, "Nothing can be pushed or deleted"),
            root,
            .string("tls-cert", nil, "Certificate with its chain (PEM); read again on SIGHUP", values: .files),
            .string("tls-key", nil, "Key of the certificate (PEM)", values: .files),
            .string("token-issuer", nil, "Who must have issued a token"),
            .string("token-keys", nil, "Public keys or certificates (PEM), or a JWKS, that sign tokens", values: .files),
            .string("token-realm", nil, "URL where clients get tokens"),
            .string("token-service", nil, "What this registry is called in tokens"),
            .string("upload-ttl", nil, "Drop an upload that rests so long", type: "duration", shows: "24h"),
        ],
        details:
            "The registry runs in the foreground, needs no root and has a folder of its own; SIGTERM lets requests in progress end.\n"
            + "\nExamples:\n  skiff registry serve\n"
            + "  skiff registry serve --listen :5000 --tls-cert cert.pem --tls-key key.pem --htpasswd users\n"
            + "  skiff registry serve --listen 127.0.0.1:5001 --mirror https://registry-1.docker.io\n"
    ) { try run("serve", $0) }

    static let check = Command(
        "registry check", group: .hidden, "Verify everything that a registry keeps", usage: "[OPTIONS]", .none,
        flags: [.bool("repair", nil, "Remove what is damaged, so that it can be pushed again"), root],
        details: "No server may use the folder meanwhile.\n\nExamples:\n  skiff registry check --root /srv/registry"
    ) { try run("check", $0) }

    private static let root = Flag.string(
        "root", nil, "Folder of the registry (default /var/lib/skiff-registry, for users $XDG_DATA_HOME/skiff/registry)",
        values: .folders)

    private static func run(_ verb: String, _ invocation: Invocation) throws -> CInt {
        guard let program = EngineProgram.path else {
            throw Fault(.notFound, "no skiffd is beside skiff or in PATH: it is the program that serves registries")
        }
        var words = [program, "registry", verb]
        for flag in invocation.command.flags() {
            for value in invocation.flags.list(flag.name) { words.append("--\(flag.name)=\(value)") }
        }
        throw Fault(KernelFault("exec", errno: Processes.execute(program, words, FileCalls.environment), program))
    }
}
