import JSON
import Linux
import Model

/// Messages between the runtime and a container's process while it is being made: one letter and what belongs to it, over a
/// socket pair that execve(2) closes. Its end after `go` means that the process was executed.
enum InitMessage {
    // from the child
    /// The namespaces between are ready; the init's pid follows (decimal).
    static let cloned = UInt8(ascii: "c")
    /// Everything is mounted, the root not changed yet: hooks may run.
    static let hooks = UInt8(ascii: "h")
    /// The terminal's master comes along.
    static let console = UInt8(ascii: "t")
    /// A detached clone of the root comes along.
    static let root = UInt8(ascii: "r")
    /// A line for the log follows.
    static let warning = UInt8(ascii: "w")
    /// The number of the seccomp listener follows (decimal).
    static let listener = UInt8(ascii: "l")
    /// Ready to execute.
    static let ready = UInt8(ascii: "R")
    /// A fault follows (JSON); the child ends.
    static let fault = UInt8(ascii: "F")
    // from the runtime
    /// What the child waited for is done: maps, cgroup, hooks, listener.
    static let proceed = UInt8(ascii: "p")
    /// The cgroup is made; the doors to it come along.
    static let cgroup = UInt8(ascii: "e")
    /// The same, and before the doors the mount that shows it.
    static let cgroupTree = UInt8(ascii: "E")
    /// From the helper: the network namespace comes along; without one the child makes its own.
    static let network = UInt8(ascii: "n")
    static let go = UInt8(ascii: "g")

    static let limit = 16384

    /// The runtime's side: one message. A child that ended without reading what it was sent is heard nevertheless.
    static func receive(_ channel: CInt, descriptors: Int = 0) throws -> ReceivedMessage {
        do { return try Sockets.receive(channel, limit: limit, descriptors: descriptors) } catch let fault as KernelFault
            where fault.isReset
        { return try Sockets.receive(channel, limit: limit, descriptors: descriptors) }
    }
}

/// The child's end.
struct InitChannel {
    var socket: CInt

    func send(_ kind: UInt8, _ text: String = "", descriptor: CInt? = nil) throws {
        try Sockets.send(socket, [kind] + Array(text.utf8), descriptors: descriptor.map { [$0] } ?? [])
    }

    /// Waits for the runtime's word; when the runtime is gone the child ends.
    func expect(_ kind: UInt8) {
        guard let message = try? Sockets.receive(socket, limit: 16), message.bytes.first == kind else { Processes.exitNow(1) }
    }

    func warn(_ text: String) { try? send(InitMessage.warning, text) }

    /// Tells the fault and ends the process.
    func fail(_ error: any Error) -> Never {
        let fault = Fault(error)
        try? send(InitMessage.fault, fault.jsonText)
        Processes.exitNow(fault.kind == .commandNotFound ? 127 : fault.kind == .commandNotExecutable ? 126 : 1)
    }
}
