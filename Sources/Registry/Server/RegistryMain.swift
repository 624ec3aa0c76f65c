import HTTP
import Linux
import Model

/// `skiffd registry …`: a registry server, a process of its own that knows nothing of the engine.
/// Answers the process's exit code: 0, 1 when it failed or found damage, 125 for a command line that makes no sense.
public func registryMain(_ arguments: [String]) -> Int32 {
    do {
        switch try RegistryOptions.parse(arguments) {
        case .help:
            DaemonProcess.writeOutput(RegistryHelp.text)
            return 0
        case .check(let options, let repairs): return try RegistryProgram.check(options, repairs: repairs)
        case .serve(let options):
            try RegistryProgram(options).run()
            return 0
        }
    } catch {
        let fault = Fault(error)
        DaemonProcess.writeError(Array("skiff registry: \(fault)\n".utf8))
        if fault.kind == .invalid { DaemonProcess.writeError(Array("See 'skiff registry serve --help'.\n".utf8)) }
        return fault.kind == .invalid ? 125 : 1
    }
}

/// The server with everything that it needs.
final class RegistryProgram: Sendable {
    private let options: RegistryOptions
    private let log: RegistryLog
    private let store: RegistryStore
    private let service: RegistryService
    private let server: HTTPServer
    private let isStopping = Monitor(false)

    init(_ options: RegistryOptions) throws {
        self.options = options
        log = RegistryLog(options.logFormat)
        let log = log
        // before anything is opened that outlives a fault
        let tls = try Self.context(options)
        let access = try Self.access(options, log)
        let store = try RegistryStore(root: options.root, limits: options.limits, log: log)
        self.store = store
        try store.recover()
        var wanted = options.mirror
        wanted?.credential = try options.mirrorCredentials.map(Self.credential)
        let mirror = try wanted.map { try RegistryMirror($0, store: store) }
        try store.note(isMirror: mirror != nil)
        let service = RegistryService(store: store, policy: options.policy, access: access, mirror: mirror)
        self.service = service
        var settings = ServerSettings()
        settings.connections = options.connections
        let isQuiet = options.isQuiet
        server = HTTPServer(
            settings: settings, tls: tls, report: { record in if !isQuiet || record.status >= 500 { log.access(record) } }
        ) { request in service.answer(request) }
    }

    private static func context(_ options: RegistryOptions) throws -> TLSContext? {
        guard let certificate = options.certificate, let key = options.key else { return nil }
        do { return try TLSContext(certificate: certificate, key: key) } catch let fault as WireFault {
            throw Fault(.invalid, "--tls-cert \(fault.message)", subject: certificate)
        }
    }

    /// The mirror's own user, from a file that others cannot read.
    private static func credential(_ path: String) throws -> RegistryCredential {
        let text: String
        do { text = String(decoding: try Files.read(path, limit: 64 << 10), as: UTF8.self) } catch let fault as KernelFault {
            throw Fault(.invalid, "cannot read --mirror-credentials \(path)", subject: path, cause: fault)
        }
        let line = String(text.prefix { !$0.isNewline })
        guard let colon = line.firstIndex(of: ":"), colon > line.startIndex else {
            throw Fault(.invalid, "--mirror-credentials \(path): the first line is not USER:PASSWORD", subject: path)
        }
        return RegistryCredential(username: String(line[..<colon]), password: String(line[line.index(after: colon)...]))
    }

    private static func access(_ options: RegistryOptions, _ log: RegistryLog) throws -> any RegistryAccess {
        if let path = options.htpasswd { return try HtpasswdAccess(path: path, log: log) }
        let token = options.token
        if let realm = token.realm, let service = token.service, let issuer = token.issuer, let keys = token.keys {
            return TokenAccess(realm: realm, service: service, issuer: issuer, keys: try TokenKeys.read(keys))
        }
        return OpenAccess()
    }

    /// Serves until SIGTERM or SIGINT.
    func run() throws {
        DaemonProcess.limitHeaps(2)
        let signals = try SignalPipe([Signals.hangup, Signals.interrupt, Signals.terminate])
        Signals.ignore(Signals.pipe)
        _ = try? DaemonProcess.raiseFileLimit()
        for listener in try listeners() {
            let address = (try? ListenSocket.address(of: listener.raw)).map(\.description) ?? "a socket"
            log.info("listening on \(address)", [("root", options.root), ("tls", options.certificate == nil ? "no" : "yes")])
            let server = server
            try startThread { server.serve(listener) }
        }
        try startThread { self.collectForEver() }
        try? DaemonProcess.notify("READY=1")
        while true {
            let signal = try signals.next()
            guard signal == Signals.hangup else { break }
            reload()
        }
        try? DaemonProcess.notify("STOPPING=1")
        log.info("stopping")
        isStopping.update { $0 = true }
        server.stop(grace: 10_000)
        try store.syncDatabase()
    }

    /// Sockets of a service manager, or those that `--listen` names.
    private func listeners() throws -> [SharedDescriptor] {
        let given = DaemonProcess.activatedSockets()
        if !given.isEmpty { return given.map { SharedDescriptor(Descriptor(owning: $0)) } }
        return try options.listen.map { text in
            guard let address = SocketAddress(text) else { throw Fault(.invalid, "--listen \(text)") }
            do { return SharedDescriptor(try ListenSocket.open(address)) } catch let fault as KernelFault {
                throw Fault(.unavailable, "cannot listen on \(text): \(fault.reason.lowercased())", subject: text)
            }
        }
    }

    /// SIGHUP: the certificate is read again, as after its renewal.
    private func reload() {
        do {
            guard let context = try Self.context(options) else { return }
            server.use(context)
            log.info("the certificate was read again")
        } catch { log.error("the certificate stays as it was: \(Fault(error))") }
    }

    private func collectForEver() {
        // often enough that what is over its time goes within a tenth more
        let pause = max(1, min(options.limits.grace.seconds, options.limits.uploadRest.seconds, 3600) / 10)
        var next = Clock.monotonic + pause * 1_000_000_000
        while !isStopping.update({ $0 }) {
            NetClock.sleep(milliseconds: 200)
            guard Clock.monotonic >= next else { continue }
            do {
                let counts = try store.collect(
                    deletesUntagged: options.policy.deletesUntagged, mirrorAge: options.mirror?.age)
                if !counts.isEmpty {
                    log.info(
                        "collected",
                        [
                            ("blobs", "\(counts.blobs)"), ("bytes", "\(counts.bytes)"), ("manifests", "\(counts.manifests)"),
                            ("uploads", "\(counts.uploads)"),
                        ])
                }
            } catch { log.error("collection: \(Fault(error))") }
            next = Clock.monotonic + pause * 1_000_000_000
        }
    }

    // MARK: Check

    static func check(_ options: RegistryOptions, repairs: Bool) throws -> Int32 {
        guard Files.exists(options.root + "/registry.db") else {
            throw Fault(.notFound, "\(options.root) holds no registry: name its folder with --root", subject: options.root)
        }
        let store = try RegistryStore(root: options.root, log: RegistryLog(options.logFormat))
        let findings = try store.check(repairs: repairs)
        for damage in findings.damages { DaemonProcess.writeOutput(damage + "\n") }
        DaemonProcess.writeOutput(
            "\(findings.manifests) manifests, \(findings.blobs) blobs, \(findings.bytes) bytes, \(findings.uploads) uploads: "
                + (findings.damages.isEmpty ? "nothing is wrong" : "\(findings.damages.count) things are wrong")
                + (repairs && findings.repaired > 0 ? ", \(findings.repaired) were removed, to be pushed again" : "") + "\n")
        return findings.damages.count > findings.repaired ? 1 : 0
    }
}

extension RegistryLog {
    func access(_ record: AccessRecord) {
        var members: [(String, String)] = [
            ("peer", record.peer), ("method", record.method), ("target", String(record.target.prefix(512))),
            ("status", "\(record.status)"), ("bytes", "\(record.sent)"), ("us", "\(record.microseconds)"),
        ]
        if !record.agent.isEmpty { members.append(("agent", "\"\(record.agent.prefix(120))\"")) }
        if let note = record.note { members.append(("note", "\"\(note.prefix(200))\"")) }
        info("request", members)
    }
}
