import Linux
import Model
import Synchronization

/// Host ports taken for one container: the sockets that hold them, and the bindings that came out.
final class HostPorts: Sendable {
    private struct Content {
        var bindings: [PortBinding] = []
        var descriptors: [CInt] = []
    }

    private let content = Mutex(Content())

    deinit { for raw in release() { _ = Descriptor(owning: raw) } }

    var bindings: [PortBinding] { content.withLock { $0.bindings } }

    /// The caller owns the descriptors from here on.
    func release() -> [CInt] {
        content.withLock { content in
            defer { content.descriptors = [] }
            return content.descriptors
        }
    }

    /// Takes every port; after a fault, drop the object. `isOurs` tells whether one of our containers has a port.
    /// - Throws: `system` with docker's text when a port is in use or the address is not this host's.
    func reserve(_ requests: [PortRequest], target: IPAddress, isOurs: (PortKey) -> Bool) throws {
        for request in requests { try reserve(request, target, isOurs) }
    }

    private func reserve(_ request: PortRequest, _ target: IPAddress, _ isOurs: (PortKey) -> Bool) throws {
        let address = request.hostAddress ?? .v4(.any)
        guard case .v4 = address else {
            throw Fault(
                .unsupported, "cannot publish on \(address.hostText): this version publishes on IPv4 addresses only",
                subject: address.description)
        }
        let candidates = request.hostPorts.map { Array($0) } ?? [UInt16](repeating: 0, count: 16)
        for (index, port) in candidates.enumerated() {
            do {
                if try take(request, address, port) { return }
            } catch let fault as KernelFault where fault.isAddressInUse {
                if index < candidates.count - 1 { continue }
                let key = PortKey(address: address.isUnspecified ? nil : address, proto: request.proto, port: port)
                if isOurs(key) { throw Fault(.system, "Bind for \(address):\(port) failed: port is already allocated") }
                throw Self.fault(request, address, port, target, "address already in use")
            } catch let fault as KernelFault {
                throw Self.fault(request, address, port, target, Self.lowered(fault.reason))
            }
        }
        throw Self.fault(request, address, 0, target, "no free port was found")
    }

    /// False when the port that the kernel picked is taken on IPv6.
    private func take(_ request: PortRequest, _ address: IPAddress, _ port: UInt16) throws -> Bool {
        let socket = try NetPortSocket.reserve(request.proto, address, port: port)
        let number = try port == 0 ? NetPortSocket.port(of: socket.raw) : port
        if address.isUnspecified {
            // A service of the host that listens on [::] alone keeps it; nothing leads from there into a container yet.
            do {
                let second = try NetPortSocket.reserve(request.proto, .v6(.any), port: number).release()
                content.withLock { $0.descriptors.append(second) }
            } catch let fault as KernelFault where fault.isAddressInUse && port == 0 {
                return false
            } catch {}
        }
        let first = socket.release()
        let binding = PortBinding(
            hostAddress: address, hostPort: number, containerPort: request.containerPort, proto: request.proto,
            exposure: request.exposure)
        content.withLock { content in
            content.descriptors.append(first)
            content.bindings.append(binding)
        }
        return true
    }

    /// docker's text, which clients show and scripts match.
    private static func fault(
        _ request: PortRequest, _ address: IPAddress, _ port: UInt16, _ target: IPAddress, _ reason: String
    ) -> Fault {
        Fault(
            .system,
            "failed to bind host port for \(address.hostText):\(port):\(target):\(request.containerPort)/\(request.proto): \(reason)",
            subject: "\(address.hostText):\(port)/\(request.proto)")
    }

    private static func lowered(_ text: String) -> String { text.prefix(1).lowercased() + text.dropFirst() }
}
