import JSON
import Linux
import Model
import Runtime

/// `skiff-runtime open-root`: mounts the root of a container that does not run, with its volumes and binds, in a mount namespace
/// of its own, hands the engine a detached clone of it all and ends: the last descriptor's end unmounts it.
enum RootHelper {
    static func run() -> Int32 {
        let socket = Descriptor(owning: 3)
        var answer = RootAnswer()
        do {
            guard case .message(let bytes, _) = try SeqPacket.receive(on: socket.raw) else {
                throw Fault(.invalid, "open-root needs a request on descriptor 3")
            }
            let root = try open(try RootRequest(json: bytes))
            _ = try SeqPacket.send(answer.json, descriptors: [root.raw], on: socket.raw)
            return 0
        } catch {
            answer.fault = Fault(error)
            _ = try? SeqPacket.send(answer.json, on: socket.raw)
            return 1
        }
    }

    private static func open(_ request: RootRequest) throws -> Descriptor {
        let root: Descriptor
        switch request.rootfs {
        case .overlay(let lower, let upper, let work):
            root = try OverlayRoot.mount(lower: lower, upper: upper, work: work, isVolatile: request.isVolatile)
        case .directory(let path): root = try Mounts.clone(path, recursive: false)
        }
        return try StoppedRoot.open(root, mounts: request.mounts, isReadOnly: request.isReadOnly)
    }
}
