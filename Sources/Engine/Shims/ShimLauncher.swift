import JSON
import Linux
import Model

/// What a shim is started with.
struct ShimLaunch: Sendable {
    var id: ObjectID
    var spec: OCI.Spec
    var config: ShimConfig
    /// The network namespace; nil lets the spec decide.
    var netns: CInt?
    /// Kept open by the shim while the container lives.
    var hold: [CInt]
    /// Kept beside the bundle, so that an engine which comes before the start was recorded knows the addresses.
    var sandbox: SandboxRecord?
}

/// Writes bundles and starts shims. Blocking: runs on the engine's pool.
struct ShimLauncher: Sendable {
    var layout: Layout
    var runtimeBinary: String

    /// The descriptors of a shim in order: standard streams, control connection, network namespace, what it holds.
    static let netnsDescriptor: CInt = 4
    static let sandboxFile = "sandbox.json"

    /// Makes the bundle anew and starts its shim; success means that the shim's program executes. Answers the engine's end of
    /// the control connection and the shim's pid.
    func launch(_ launch: ShimLaunch) throws -> (control: HeldDescriptor, pid: CInt) {
        let folder = layout.shim(launch.id)
        try removeTree(folder)
        try Descriptor.makeDirectories(folder)
        try writeFile(folder + "/config.json", launch.spec.json)
        try writeFile(folder + "/shim.json", launch.config.json)
        if let sandbox = launch.sandbox { try writeFile(folder + "/" + Self.sandboxFile, sandbox.json) }
        CrashPoint.startPrepared.reach()

        let ends = try SeqPacket.pair().release()
        let ours = HeldDescriptor(Descriptor(owning: ends[0]))
        let theirs = HeldDescriptor(Descriptor(owning: ends[1]))
        try PollIO.setNonblocking(ours.raw)
        let null = try Descriptor.open("/dev/null", .readWrite)
        let errors = try Descriptor.open(folder + "/shim.log", [.write, .create, .truncate], permissions: 0o600)

        var arguments = ["skiff-runtime", "shim", "--bundle", folder]
        var descriptors = [null.raw, null.raw, errors.raw, theirs.raw]
        if let netns = launch.netns {
            arguments += ["--netns", String(descriptors.count)]
            descriptors.append(netns)
        }
        for held in launch.hold {
            arguments += ["--hold", String(descriptors.count)]
            descriptors.append(held)
        }
        let pid = try spawn(
            SpawnRequest(
                path: runtimeBinary, arguments: arguments,
                environment: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], descriptors: descriptors))
        CrashPoint.startSpawned.reach()
        return (ours, pid)
    }
}

extension ShimLauncher {
    /// Ends and removes what a shim that was killed left behind. Blocking; repeatable.
    func clear(_ id: ObjectID, cgroup: String) throws {
        let code = try runToEnd(["skiff-runtime", "clear-shim", "--id", id.text, "--cgroup", cgroup])
        guard code == 0 else { throw Fault(.system, "skiff-runtime clear-shim ended with status \(code)", subject: id.text) }
    }

    /// Mounts the root of a container that does not run, with all that is in the request: unmounted when the last descriptor
    /// of it is closed. Blocking.
    func openRoot(_ request: RootRequest) throws -> HeldDescriptor {
        let ends = try SeqPacket.pair().release()
        let ours = Descriptor(owning: ends[0])
        // Closed once the helper has its own, so that its death is seen
        var theirs: HeldDescriptor? = HeldDescriptor(Descriptor(owning: ends[1]))
        let null = try Descriptor.open("/dev/null", .readWrite)
        _ = try SeqPacket.send(request.json, on: ours.raw)
        let pid = try spawn(
            SpawnRequest(
                path: runtimeBinary, arguments: ["skiff-runtime", "open-root"],
                environment: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                descriptors: [null.raw, null.raw, null.raw, ends[1]]))
        withExtendedLifetime(theirs) {}
        theirs = nil
        let received: SeqPacket.Received
        do { received = try SeqPacket.receive(on: ours.raw) } catch {
            _ = waitForChild(pid)
            throw error
        }
        _ = waitForChild(pid)
        guard case .message(let bytes, let passed) = received else {
            throw Fault(.system, "skiff-runtime open-root ended without a word")
        }
        guard let root = passed.next() else {
            let fault = (try? RootAnswer(json: bytes))?.fault
            throw fault?.prefixed("cannot open the container's root")
                ?? Fault(.system, "cannot open the container's root")
        }
        return HeldDescriptor(root)
    }

    /// Runs the runtime binary and waits for it. Blocking.
    private func runToEnd(_ arguments: [String]) throws -> CInt {
        let null = try Descriptor.open("/dev/null", .readWrite)
        let pid = try spawn(
            SpawnRequest(
                path: runtimeBinary, arguments: arguments,
                environment: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                descriptors: [null.raw, null.raw, null.raw]))
        return waitForChild(pid)
    }
}
