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
    func reserve(_ requests: [PortRequest], targets: PortTargets, isOurs: (PortKey) -> Bool) throws {
        for request in requests { try reserve(request, targets, isOurs) }
    }

    private struct Refusal: Error {
        var address: IPAddress
        var fault: KernelFault
    }

    private func reserve(_ request: PortRequest, _ targets: PortTargets, _ isOurs: (PortKey) -> Bool) throws {
        let addresses = try targets.addresses(for: request)
        let candidates = request.hostPorts.map { Array($0) } ?? [UInt16](repeating: 0, count: 16)
        for (index, port) in candidates.enumerated() {
            do {
                if try take(request, addresses, port, isOurs) { return }
            } catch let refusal as Refusal {
                let (address, fault) = (refusal.address, refusal.fault)
                func text(_ reason: String) -> Fault { Self.fault(request, address, port, targets, reason) }
                guard fault.isAddressInUse else { throw text(Self.lowered(fault.reason)) }
                if index < candidates.count - 1 { continue }
                if isOurs(PortKey(address: address, proto: request.proto, port: port)) {
                    throw Fault(.system, "Bind for \(address.hostText):\(port) failed: port is already allocated")
                }
                throw text("address already in use")
            }
        }
        throw Self.fault(request, addresses.first ?? .v4(.any), 0, targets, "no free port was found")
    }

    /// The same port on all of the addresses. False when the port that the kernel picked for the first is taken on another.
    private func take(_ request: PortRequest, _ addresses: [IPAddress], _ port: UInt16, _ isOurs: (PortKey) -> Bool) throws
        -> Bool
    {
        var number = port
        var taken: [CInt] = []
        do {
            for address in addresses {
                number = try hold(request, address, number, &taken, isOurs)
            }
        } catch {
            for raw in taken { _ = Descriptor(owning: raw) }
            if let refusal = error as? Refusal, refusal.fault.isAddressInUse, port == 0 { return false }
            throw error
        }
        if addresses == [.v4(.any)] {
            // A service of the host that listens on [::] alone keeps it; nothing leads from there into a container without IPv6.
            var second: [CInt] = []
            do {
                _ = try hold(request, .v6(.any), number, &second, { _ in false })
            } catch let refusal as Refusal where refusal.fault.isAddressInUse && port == 0 {
                for raw in taken { _ = Descriptor(owning: raw) }
                return false
            } catch {}
            taken += second
        }
        let bindings = addresses.map { address in
            PortBinding(
                hostAddress: address, hostPort: number, containerPort: request.containerPort, proto: request.proto,
                exposure: request.exposure)
        }
        content.withLock { [taken] content in
            content.descriptors += taken
            content.bindings += bindings
        }
        return true
    }

    /// The port that it is.
    private func hold(
        _ request: PortRequest, _ address: IPAddress, _ port: UInt16, _ taken: inout [CInt], _ isOurs: (PortKey) -> Bool
    ) throws -> UInt16 {
        do {
            let socket = try NetPortSocket.reserve(request.proto, address, port: port)
            let number = try port == 0 ? NetPortSocket.port(of: socket.raw) : port
            taken.append(socket.release())
            return number
        } catch let fault as KernelFault where fault.isMissingProtocol && request.proto == .sctp {
            // No program of this host can listen either: only our own containers can have it.
            let candidates = port == 0 ? (0..<64).map { _ in UInt16.random(in: 32_768...60_999) } : [port]
            let free = candidates.first { !isOurs(PortKey(address: address, proto: .sctp, port: $0)) }
            guard let free else {
                throw Refusal(address: address, fault: NetPortSocket.inUse("\(address.hostText):\(port)/sctp"))
            }
            return free
        } catch let fault as KernelFault { throw Refusal(address: address, fault: fault) }
    }

    /// docker's text, which clients show and scripts match.
    private static func fault(
        _ request: PortRequest, _ address: IPAddress, _ port: UInt16, _ targets: PortTargets, _ reason: String
    ) -> Fault {
        let target = targets.target(for: address)?.hostText ?? ""
        return Fault(
            .system,
            "failed to bind host port for \(address.hostText):\(port):\(target):\(request.containerPort)/\(request.proto): \(reason)",
            subject: "\(address.hostText):\(port)/\(request.proto)")
    }

    private static func lowered(_ text: String) -> String { text.prefix(1).lowercased() + text.dropFirst() }
}

/// Where the published ports of one container lead, and where they are published unless the request says so.
struct PortTargets: Sendable {
    var v4: IPv4Address?
    var v6: IPv6Address?
    /// The network's own (docker's host_binding_ipv4 and _ipv6); nil is every address.
    var standard4: IPv4Address?
    var standard6: IPv6Address?

    func target(for address: IPAddress) -> IPAddress? {
        address.v4 != nil ? v4.map { .v4($0) } : v6.map { .v6($0) }
    }

    /// The host's addresses that a request means: those of the families that the container has.
    /// - Throws: `invalid` where the container has no address of the family.
    func addresses(for request: PortRequest) throws -> [IPAddress] {
        guard let wanted = request.hostAddress else {
            let all = [v4.map { _ in IPAddress.v4(standard4 ?? .any) }, v6.map { _ in IPAddress.v6(standard6 ?? .any) }]
            return all.compactMap { $0 }
        }
        if target(for: wanted) != nil { return [wanted] }
        let family = wanted.v4 != nil ? "IPv4" : "IPv6"
        throw Fault(
            .invalid,
            "cannot publish on \(wanted.hostText): the container has no \(family) address; connect it to a network that has \(family)",
            subject: wanted.description)
    }
}
