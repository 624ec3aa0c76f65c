import Linux
import Model
import Runtime

/// What a running container's processes see as their root, for `cp` and `export`.
enum RootClone {
    /// A detached clone, made by a child that joins the mount namespace of the process behind `pidfd`, looks at nothing in it and
    /// ends. Changes that the container makes to its mounts later do not reach the clone.
    /// - Parameter mounts: with everything that is mounted below the root.
    static func make(of pidfd: CInt, mounts: Bool) throws -> Descriptor {
        let ends = try SeqPacket.pair().release()
        let ours = Descriptor(owning: ends[0])
        let theirs = Descriptor(owning: ends[1])
        let child = try Processes.clone()
        if child.isChild {
            do {
                try Processes.join(pidfd, .mount)
                let clone = try Mounts.clone("/", recursive: mounts)
                try StoppedRoot.disarm(clone.raw)
                _ = try SeqPacket.send(RootAnswer().json, descriptors: [clone.raw], on: theirs.raw)
            } catch {
                _ = try? SeqPacket.send(RootAnswer(fault: Fault(error)).json, on: theirs.raw)
            }
            Processes.exitNow(0)
        }
        _ = consume theirs
        let received = try SeqPacket.receive(on: ours.raw)
        _ = try? Processes.reap(child.pid, wait: true)
        guard case .message(let bytes, let passed) = received else {
            throw Fault(.system, "cannot look into the container: the helper process died")
        }
        guard let clone = passed.next() else {
            let fault = (try? RootAnswer(json: bytes))?.fault
            throw fault?.prefixed("cannot look into the container") ?? Fault(.system, "cannot look into the container")
        }
        return clone
    }
}
