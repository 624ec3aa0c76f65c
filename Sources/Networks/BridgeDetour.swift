import Linux
import Model
import Synchronization

/// Leads what a container sends to the host past the bridge's own rules, into the host by the bridge's link.
///
/// Where br_netfilter is on (net.bridge.bridge-nf-call-iptables and -ip6tables; dockerd and Kubernetes switch it on), the kernel
/// translates addresses while a packet is still on the bridge, and two things fail that work otherwise (net/bridge/br_netfilter_*.c):
/// an answer that is translated back to ::1 meets ip6_rcv_core with a loopback address from a link that is not lo, and is dropped;
/// and a packet to a published port whose container is on the same bridge does not leave the bridge, whose ports are isolated
/// from each other on networks without ICC.
///
/// So a program at the container's port (tc-bpf(8)) hands over, as if the bridge's link had received it, what the container sends
/// to the bridge's Ethernet address from its own addresses: exactly what the bridge would have done without br_netfilter. All
/// else (other sources, ARP, ICMPv6) goes by the bridge and its guard. Only where one of the two cases can arise.
package final class BridgeDetour: Sendable {
    private let fault = Mutex<KernelFault?>(nil)
    private let warn: @Sendable (String) -> Void

    init(warn: @escaping @Sendable (String) -> Void) { self.warn = warn }

    /// Whose packets, and where to.
    package struct Route: Sendable, Equatable {
        package var bridge: Int32
        package var bridgeMAC: MACAddress
        package var mac: MACAddress
        package var ipv4: IPv4Address?
        package var ipv6: IPv6Address?

        package init(bridge: Int32, bridgeMAC: MACAddress, mac: MACAddress, ipv4: IPv4Address?, ipv6: IPv6Address?) {
            self.bridge = bridge
            self.bridgeMAC = bridgeMAC
            self.mac = mac
            self.ipv4 = ipv4
            self.ipv6 = ipv6
        }
    }

    /// Every container of a network without ICC may ask for a port of its own network.
    static func isWanted(on network: NetworkRecord) -> Bool { network.bridge?.allowsNeighbours == false }

    /// The endpoint's link is there. The program lives as long as the link does; a second time replaces it. What the kernel
    /// lacks is said once, when there is something to say.
    func lead(_ endpoint: EndpointRecord, on network: StandingNetwork, _ host: NetlinkSocket) {
        guard let name = endpoint.hostInterface, let mac = endpoint.mac, let bridge = network.record.bridge?.bridge,
            !endpoint.addresses.isEmpty, let port = host.index(ofLink: name)
        else { return }
        do {
            guard let bridgeMAC = try host.link(named: bridge)?.mac else { return }
            let program = try TrafficProgram.load(
                Self.program(
                    Route(
                        bridge: network.index, bridgeMAC: bridgeMAC, mac: mac, ipv4: endpoint.ipv4?.address,
                        ipv6: endpoint.ipv6?.address)))
            try host.transact([
                // The bridge no longer sees these packets' source address, and would forget where it is.
                RouteRequest.place(mac, behind: port), RouteRequest.createClassifier(link: port),
                RouteRequest.attach(program: program.raw, name: "skiff", link: port),
            ])
        } catch {
            let isFirst = fault.withLock { fault in
                defer { fault = error as? KernelFault ?? fault }
                return fault == nil
            }
            if isFirst, let obstacle { warn(obstacle) }
        }
    }

    /// What does not work now because this kernel does not take the program; nil while all does, or br_netfilter is off.
    var obstacle: String? {
        guard let fault = fault.withLock({ $0 }), HostSettings.filtersBridges else { return nil }
        return
            "br_netfilter is on (net.bridge.bridge-nf-call-iptables), and this kernel does not take a program for links (\(fault)): "
            + "ports on ::1 are silent, and on networks without ICC containers do not reach their own network's published ports"
    }

    // MARK: The program

    private enum Label: Hashable { case ipv4, proto, hand, leave }
    private struct Step {
        var instruction: EBPFInstruction
        var target: Label?
    }

    /// Not for a route without any address. Offsets: Ethernet header 14; IPv4's protocol 9 and source 12; IPv6's next header 6 and source 8.
    package static func program(_ route: Route) -> [EBPFInstruction] {
        var steps: [Step] = [Step(instruction: .copy(6, from: 1))]
        var labels: [Label: Int] = [:]
        func add(_ instruction: EBPFInstruction, _ target: Label? = nil) {
            steps.append(Step(instruction: instruction, target: target))
        }
        /// Leaves where the packet has other bytes there.
        func require(_ bytes: [UInt8], at offset: UInt32) {
            for start in stride(from: 0, to: bytes.count, by: 4) {
                let part = bytes[start..<min(start + 4, bytes.count)]
                add(.loadPacket(part.count == 4 ? .word : .half, at: offset + UInt32(start)))
                add(.jumpUnequal(0, part.reduce(0) { $0 << 8 | UInt32($1) }), .leave)
            }
        }
        require(route.bridgeMAC.bytes, at: 0)
        require(route.mac.bytes, at: 6)
        add(.loadPacket(.half, at: 12))
        if let address = route.ipv6 {
            add(.jumpUnequal(0, 0x86DD), .ipv4)
            require(address.bytes, at: 14 + 8)
            add(.loadPacket(.byte, at: 14 + 6))
            add(.jump, .proto)
        }
        labels[.ipv4] = steps.count
        if let address = route.ipv4 {
            add(.jumpUnequal(0, 0x0800), .leave)
            require(address.bytes, at: 14 + 12)
            add(.loadPacket(.byte, at: 14 + 9))
        } else {
            add(.jump, .leave)
        }
        labels[.proto] = steps.count
        // TCP, UDP, SCTP
        add(.jumpEqual(0, 6), .hand)
        add(.jumpEqual(0, 17), .hand)
        add(.jumpUnequal(0, 132), .leave)
        labels[.hand] = steps.count
        // bpf_redirect with BPF_F_INGRESS
        add(.move(1, UInt32(bitPattern: route.bridge)))
        add(.move(2, 1))
        add(.call(23))
        add(.exit)
        labels[.leave] = steps.count
        // TC_ACT_OK
        add(.move(0, 0))
        add(.exit)
        return steps.enumerated().map { place, step in
            var instruction = step.instruction
            if let target = step.target.flatMap({ labels[$0] }) { instruction.offset = Int16(target - place - 1) }
            return instruction
        }
    }
}

extension HostSettings {
    /// Whether frames on bridges pass the rules for IP packets in this network namespace.
    static var filtersBridges: Bool {
        ["iptables", "ip6tables"].contains { (try? NetSysctl.read("bridge/bridge-nf-call-" + $0)) == "1" }
    }
}

extension SandboxRecord {
    /// The endpoint that ports published on ::1 lead to, where there are any.
    var loopback6Target: EndpointRecord? {
        guard bindings.contains(where: { $0.hostAddress == .v6(.loopback) }) else { return nil }
        return gatewayIPv6 ?? endpoints.first { $0.ipv6 != nil }
    }
}

extension SandboxService {
    /// Before ports on ::1 are published, or once they lead elsewhere.
    func leadLoopback(of record: SandboxRecord) async {
        guard let endpoint = record.loopback6Target, let stand = networks.stand(endpoint.network),
            !BridgeDetour.isWanted(on: stand.record)
        else { return }
        try? await kernel.perform { [detour] in detour.lead(endpoint, on: stand.standing, $0) }
    }

    /// For sandboxes that live: a link that has its program already gets it anew.
    func leadAll(_ records: [SandboxRecord]) async {
        let wanted = records.flatMap { record in
            record.endpoints.compactMap { endpoint -> (EndpointRecord, StandingNetwork)? in
                guard let stand = networks.stand(endpoint.network),
                    BridgeDetour.isWanted(on: stand.record) || record.loopback6Target?.id == endpoint.id
                else { return nil }
                return (endpoint, stand.standing)
            }
        }
        if wanted.isEmpty { return }
        try? await kernel.perform { [detour] socket in
            for (endpoint, network) in wanted { detour.lead(endpoint, on: network, socket) }
        }
    }
}
