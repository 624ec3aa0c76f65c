import Linux
import Model

/// The command line of `skiffd registry …`, which `skiff registry …` becomes.
struct RegistryOptions: Sendable {
    enum Wish {
        case serve(RegistryOptions)
        case check(RegistryOptions, repairs: Bool)
        case help
    }

    var root = RegistryOptions.standardRoot
    var listen: [String] = []
    var certificate: String?
    var key: String?
    var htpasswd: String?
    var token = TokenSettings()
    var policy = RegistryPolicy()
    var limits = RegistryLimits()
    var mirror: MirrorSettings?
    var mirrorCredentials: String?
    private var times = MirrorSettings(upstream: "")
    var connections = 512
    var logFormat = RegistryLog.Format.text
    var isQuiet = false

    /// Where bearer tokens come from.
    struct TokenSettings: Sendable {
        var realm: String?
        var service: String?
        var issuer: String?
        var keys: String?
        var isWanted: Bool { realm != nil || service != nil || issuer != nil || keys != nil }
    }

    static var standardRoot: String {
        if FileCalls.userID == 0 { return "/var/lib/skiff-registry" }
        if let folder = FileCalls.variable("XDG_DATA_HOME"), folder.hasPrefix("/") { return folder + "/skiff/registry" }
        return (FileCalls.variable("HOME") ?? "/tmp") + "/.local/share/skiff/registry"
    }

    private static let switches: Set<String> = ["read-only", "delete", "delete-untagged", "quiet", "repair", "help"]

    static func parse(_ arguments: [String]) throws -> Wish {
        var rest = arguments[...]
        guard let verb = rest.popFirst() else { return .help }
        if verb == "--help" || verb == "-h" || verb == "help" { return .help }
        guard verb == "serve" || verb == "check" else { throw Fault(.invalid, "unknown command: registry \(verb)") }
        var options = RegistryOptions()
        var repairs = false
        while let argument = rest.popFirst() {
            if argument == "-h" { return .help }
            guard argument.hasPrefix("--"), argument.count > 2 else {
                throw Fault(.invalid, "unexpected argument \"\(argument)\"")
            }
            let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
                String.init)
            let name = parts[0]
            if switches.contains(name) {
                let isOn = parts.count == 1 || parts[1] == "true"
                if name == "help", isOn { return .help }
                if name == "repair" { repairs = isOn } else { options.set(name, isOn) }
                continue
            }
            guard let value = parts.count == 2 ? parts[1] : rest.popFirst() else {
                throw Fault(.invalid, "flag needs an argument: \(argument)")
            }
            do { try options.set(name, value) } catch let fault as Fault {
                throw fault.message == "unknown" ? Fault(.invalid, "unknown flag: --\(name)") : fault.prefixed("--\(name)")
            }
        }
        if verb == "check" { return .check(options, repairs: repairs) }
        try options.validate()
        return .serve(options)
    }

    private mutating func set(_ name: String, _ isOn: Bool) {
        switch name {
        case "read-only": policy.isReadOnly = isOn
        case "delete": policy.allowsDelete = isOn
        case "delete-untagged": policy.deletesUntagged = isOn
        default: isQuiet = isOn
        }
    }

    private mutating func set(_ name: String, _ value: String) throws {
        switch name {
        case "root": root = value
        case "listen": listen.append(value)
        case "tls-cert": certificate = value
        case "tls-key": key = value
        case "htpasswd": htpasswd = value
        case "token-realm": token.realm = value
        case "token-service": token.service = value
        case "token-issuer": token.issuer = value
        case "token-keys": token.keys = value
        case "mirror": mirror = MirrorSettings(upstream: value)
        case "mirror-ttl": times.age = try DurationText.parse(value)
        case "mirror-check": times.check = try DurationText.parse(value)
        case "mirror-credentials": mirrorCredentials = value
        case "max-connections": connections = try Self.number(value, 1...100_000)
        case "max-blob-size": limits.uploadSize = try Self.size(value)
        case "max-uploads": limits.uploads = try Self.number(value, 1...1_000_000)
        case "grace": limits.grace = try DurationText.parse(value)
        case "upload-ttl": limits.uploadRest = try DurationText.parse(value)
        case "log-format":
            guard let format = RegistryLog.Format(rawValue: value) else {
                throw Fault(.invalid, "\"\(value)\" is neither text nor json")
            }
            logFormat = format
        default: throw Fault(.invalid, "unknown")
        }
    }

    private mutating func validate() throws {
        if listen.isEmpty { listen = ["127.0.0.1:5000"] }
        for text in listen where SocketAddress(text) == nil {
            throw Fault(.invalid, "--listen \(text): an address with a port is wanted, 127.0.0.1:5000 or [::]:5000 or :5000")
        }
        guard root.hasPrefix("/"), root.count > 1 else { throw Fault(.invalid, "--root \(root): an absolute path is wanted") }
        guard (certificate == nil) == (key == nil) else { throw Fault(.invalid, "--tls-cert and --tls-key belong together") }
        guard htpasswd == nil || !token.isWanted else {
            throw Fault(.invalid, "--htpasswd and --token-… exclude one another: who may enter has one answer")
        }
        if token.isWanted, token.realm == nil || token.service == nil || token.issuer == nil || token.keys == nil {
            throw Fault(.invalid, "--token-realm, --token-service, --token-issuer and --token-keys belong together")
        }
        mirror?.age = times.age
        mirror?.check = times.check
    }

    // MARK: Values

    private static func number(_ text: String, _ range: ClosedRange<Int>) throws -> Int {
        guard let number = Int(text), range.contains(number) else {
            throw Fault(.invalid, "\"\(text)\" is no number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// `500MB`, `10GiB`, `1g`, plain bytes.
    static func size(_ text: String) throws -> Int64 {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let unit = text.dropFirst(digits.count).lowercased()
        let factors: [String: Int64] = [
            "": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "kb": 1000, "m": 1 << 20, "mib": 1 << 20, "mb": 1_000_000,
            "g": 1 << 30, "gib": 1 << 30, "gb": 1_000_000_000, "t": 1 << 40, "tib": 1 << 40, "tb": 1_000_000_000_000,
        ]
        guard let number = Int64(digits), let factor = factors[unit] else {
            throw Fault(.invalid, "\"\(text)\" is no size such as 500MB or 10GiB")
        }
        let (product, overflow) = number.multipliedReportingOverflow(by: factor)
        guard !overflow, product > 0 else { throw Fault(.invalid, "\"\(text)\" is no size such as 500MB or 10GiB") }
        return product
    }
}
