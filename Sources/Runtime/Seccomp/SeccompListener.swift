import JSON
import Linux
import Model

/// What happens to the descriptor of a filter with SCMP_ACT_NOTIFY (runtime specification, "The Container Process State").
public enum SeccompListener {
    /// Hands the listener to whoever listens at `linux.seccomp.listenerPath`, with the state of the container. Done by the
    /// runtime itself, outside the filter, before the container's process may go on; the descriptor stays borrowed.
    public static func send(
        _ listener: CInt, to profile: OCI.Seccomp, pid: CInt, state: OCI.State
    ) throws {
        let field = "linux.seccomp.listenerPath"
        guard let path = profile.listenerPath, !path.isEmpty else { return }
        let message = OCI.SeccompState(
            ociVersion: OCI.version, fds: ["seccompFd"], pid: Int(pid), metadata: profile.listenerMetadata, state: state)
        do {
            let socket = try Sockets.connect(path)
            let bytes = message.json
            var sent = try Sockets.send(socket.raw, bytes, descriptors: [listener])
            while sent < bytes.count { sent += try Sockets.send(socket.raw, Array(bytes[sent...])) }
        } catch let fault as KernelFault {
            throw Fault(.system, "\(field): cannot hand the listener to \(path)", subject: field, cause: fault)
        }
    }
}
