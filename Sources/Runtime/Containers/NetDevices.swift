import Linux
import Model

/// `linux.netDevices`: links of the runtime's network namespace that are moved into the container's. They keep their global
/// addresses and come up there (config-linux.md, "Network Devices").
enum NetDevices {
    static func check(_ devices: [String: OCI.NetDevice], _ namespaces: NamespacePlan) throws {
        if devices.isEmpty { return }
        guard namespaces.has(.network) else {
            throw Fault(.invalid, "linux.netDevices: there is no network namespace in linux.namespaces")
        }
        var names: [String] = []
        for (name, device) in devices.sorted(by: { $0.key < $1.key }) {
            let inside = device.name ?? name
            for text in [name, inside] where !isName(text) {
                throw Fault(.invalid, "linux.netDevices[\"\(name)\"]: \"\(text)\" is no name of a network device")
            }
            guard !names.contains(inside) else {
                throw Fault(.invalid, "linux.netDevices[\"\(name)\"]: two devices are to be \(inside) in the container")
            }
            names.append(inside)
        }
    }

    private static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count < 16 && text != "." && text != ".."
            && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
    }

    /// For callers with one thread: enters the container's namespace for a moment.
    static func move(_ devices: [String: OCI.NetDevice], toNamespaceOf pid: CInt) throws {
        if devices.isEmpty { return }
        let own = try NetNamespace.current()
        let target = try NetNamespace.open(pid: pid)
        let socket = try NetlinkSocket(.route)
        let addresses = try socket.dump(RouteRequest.dumpAddresses()).compactMap { try AddressInfo($0) }
        for (name, device) in devices.sorted(by: { $0.key < $1.key }) {
            do {
                guard let link = try LinkInfo(try socket.query(RouteRequest.get(link: name))) else { continue }
                let inside = device.name ?? name
                try socket.transact([RouteRequest.move(link: link.index, toNamespace: target.raw, name: inside)])
                try NetNamespace.enter(target.raw)
                let result = Result { try configure(inside, addresses.filter { $0.link == link.index }) }
                try NetNamespace.enter(own.raw)
                try result.get()
            } catch let fault as KernelFault {
                throw Fault(.invalid, "linux.netDevices[\"\(name)\"]: cannot move the device", subject: name, cause: fault)
            }
        }
    }

    private static func configure(_ name: String, _ addresses: [AddressInfo]) throws {
        let socket = try NetlinkSocket(.route)
        guard let link = try LinkInfo(try socket.query(RouteRequest.get(link: name))) else { return }
        var messages: [NetlinkMessage] = []
        for address in addresses {
            switch address.address {
            case .v4(let value): messages.append(RouteRequest.add(address: value, prefix: address.prefix, link: link.index))
            case .v6(let value):
                // Link-local addresses are made anew.
                if value.bytes.first == 0xFE { continue }
                messages.append(RouteRequest.add(address: value, prefix: address.prefix, link: link.index))
            }
        }
        messages.append(RouteRequest.set(name, isUp: true))
        try socket.transact(messages)
    }
}
