import Linux
import Logs
import Model
import Runtime

/// The parent of one container: owns its stdio and its log, answers engines, waits for its end, cleans up.
/// One thread, one loop; nothing of it needs an engine to be there.
///
/// When the shim itself is killed, its engine sees the control connection end without an `exit` event and kills what is left
/// through the cgroup; an engine that comes later finds neither `exit.json` nor anybody at `shim.sock` and does the same.
/// (PR_SET_PDEATHSIG would not do: the kernel clears it when a program changes its user or has file capabilities.)
final class ContainerKeeper: Pollable {
    static let connectionLimit = 16

    let bundle: String
    let config: ShimConfig
    let state: ContainerState
    let cgroup: Cgroup?
    /// Holds the first process back until `start`.
    var created: CreatedContainer?
    let pidfd: Handle
    let streams: ProcessStreams
    let buffer: PageBuffer
    /// A detached clone of the container's root, for `root` requests.
    var rootMount: Handle?
    /// Its mount namespace: taken down at the end beside other work, before which the exit is told.
    private var mounts: Handle?
    /// Reserved host ports and the like: closed at the container's end, so that the next start finds them free.
    var held: [Handle]

    var phase = ShimPhase.created
    var startedAt: Timestamp?
    /// How the first process ended.
    var ended: (child: EndedChild, at: Timestamp)?
    /// Why the first process never ran.
    var startFault: Fault?
    var oomKilled = false
    var execs = ExecTable()
    var oomWatch: OOMWatch?
    var connections: [ControlConnection] = []
    /// Execs that cannot even be killed do not hold up the container's exit beyond this.
    var execDeadline: Int64?
    /// After the exit event: control connections are closed at that time, flushed or not.
    var goodbye: Int64?

    private var signalled = false
    private var listener: Handle?
    private var listenerPause: Int64?
    /// After a second without anything to do the memory is given back.
    private static let idleTime: Int64 = 1_000_000_000
    private var releaseAt: Int64?

    init(
        _ arguments: ShimArguments, config: ShimConfig, created: consuming CreatedContainer, pidfd: Handle,
        rootMount: Handle?, streams: ProcessStreams, buffer: PageBuffer, listener: Handle
    ) {
        bundle = arguments.bundle
        self.config = config
        state = created.state
        mounts = Handle(created.mountNamespace())
        cgroup = created.cgroup
        self.pidfd = pidfd
        self.rootMount = rootMount
        self.streams = streams
        self.buffer = buffer
        self.listener = listener
        held = arguments.hold.map { Handle(Descriptor(owning: $0)) }
        self.created = consume created
        streams.owner = self
    }

    /// What holds the container's mounts, for `destroyContainer`; nothing of it is here any more then.
    func takeMounts() -> [CInt] {
        var held: [CInt] = []
        for handle in [mounts, rootMount] {
            if let handle, let own = try? Processes.duplicate(handle.raw, atLeast: 3) { held.append(own.release()) }
        }
        mounts = nil
        rootMount = nil
        return held
    }

    // MARK: The loop

    private static let signalPart = 0
    private static let listenerPart = 1

    /// Until the container has ended and all is said.
    func run(_ signals: SignalWake) throws {
        var turn = PollTurn()
        while !isOver {
            turn.begin()
            turn.add(signals.descriptor.raw, .input, self, part: Self.signalPart)
            register(in: &turn)
            let wasBusy = try turn.run()
            if signalled {
                signalled = false
                signals.clear()
                reap()
            }
            endTurn(wasBusy: wasBusy)
        }
    }

    func register(in turn: inout PollTurn) {
        if let listener, connections.count < Self.connectionLimit, listenerPause == nil {
            turn.add(listener.raw, .input, self, part: Self.listenerPart)
        }
        for connection in connections { connection.register(in: &turn) }
        streams.register(in: &turn)
        execs.register(in: &turn)
        oomWatch?.register(in: &turn)
        turn.wake(at: listenerPause)
        turn.wake(at: goodbye ?? execDeadline)
        turn.wake(at: releaseAt)
    }

    func ready(_ events: PollSet.Events, part: Int) {
        if part == Self.signalPart { signalled = true } else { accept() }
    }

    private func endTurn(wasBusy: Bool) {
        let now = Clock.monotonic
        streams.endTurn(now)
        let exits = execs.endTurn(now)
        for exit in exits { broadcast(.execExit(exit)) }
        execs.letClientsGo(exits)
        oomWatch?.endTurn(now)
        connections.removeAll { $0.isClosed }
        if let pause = listenerPause, now >= pause { listenerPause = nil }
        switch phase {
        case .created where connections.isEmpty && ended == nil: abandon()
        case .stopped where goodbye == nil && streams.isDrained && (execs.isEmpty || now >= execDeadline ?? .max): finish()
        default: break
        }
        if let goodbye, now >= goodbye || connections.allSatisfy({ $0.isFlushed }) {
            for connection in connections { connection.close() }
            connections = []
        }
        if wasBusy {
            releaseAt = now + Self.idleTime
        } else if let release = releaseAt, now >= release {
            releaseAt = nil
            buffer.discard()
            IdleMemory.release()
        }
    }

    /// Everything is done: nobody is left to be told or to be given output.
    private var isOver: Bool { goodbye != nil && connections.isEmpty && !streams.hasClients && !execs.hasClients }

    // MARK: Connections

    /// Takes a connection that an engine made before this process was started, or made to the socket.
    func connect(_ socket: consuming Descriptor) throws {
        connections.append(try ControlConnection(socket, owner: self))
    }

    private func accept() {
        guard let listener else { return }
        do {
            guard let socket = try SeqPacket.accept(listener.raw) else { return }
            let peer = try SeqPacket.peer(of: socket.raw)
            // The socket's mode keeps others out; this does as well when it was changed
            guard peer.uid == 0 || peer.uid == Processes.userID else { return }
            try connect(socket)
        } catch {
            // Out of descriptors or memory: not at once again
            listenerPause = Clock.monotonic + 1_000_000_000
        }
    }

    func closeListener() { listener = nil }

    func broadcast(_ event: ShimEvent) { for connection in connections { connection.send(.event(event)) } }
}
