import JSON
import Linux
import Model

/// A chain of CNI plugins (Container Network Interface specification 1.0), as a file under /etc/cni/net.d names it. Blocking; the
/// plugins run in the network namespace of the calling thread.
package struct CNIChain: Sendable {
    package let name: String
    /// As it was read: what made an endpoint also deletes it, though the file may be another then.
    package let configuration: JSONValue
    private let version: String
    private let plugins: [JSONValue]
    /// Where programs are looked for, in this order.
    private let folders: [String]
    /// So long each plugin may take (ns).
    package var patience: Int64 = 60_000_000_000

    package static let configurations = "/etc/cni/net.d"
    package static let programs = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"]

    /// The chain of that name: a `.conflist`, or a `.conf` or `.json` with one plugin. Files are read in the order of their names.
    /// - Throws: `notFound`, `invalid` for a file that is none.
    package init(
        named name: String, in folder: String = CNIChain.configurations, programs: [String] = CNIChain.programs
    ) throws {
        let names = ((try? Descriptor.open(folder, [.read, .directory]).names()) ?? []).map {
            String(decoding: $0, as: UTF8.self)
        }
        for file in names.sorted() where [".conflist", ".conf", ".json"].contains(where: { file.hasSuffix($0) }) {
            guard let text = NetSysctl.text(folder + "/" + file), let value = try? JSONValue(json: Array(text.utf8)),
                value["name"]?.string == name
            else { continue }
            try self.init(value, file: folder + "/" + file, programs: programs)
            return
        }
        throw Fault(.notFound, "network cni:\(name) not found: no file in \(folder) has that name", subject: name)
    }

    /// - Parameter file: for messages.
    package init(_ value: JSONValue, file: String, programs: [String] = CNIChain.programs) throws {
        guard let name = value["name"]?.string, !name.isEmpty else {
            throw Fault(.invalid, "\(file) is no CNI configuration: it has no name", subject: file)
        }
        guard Self.isName(name) else {
            throw Fault(
                .invalid,
                "\(file): \(VisibleText.of(name, limit: 60)) is no name of a CNI network: letters, digits, dots, "
                    + "hyphens and underscores", subject: file)
        }
        self.name = name
        configuration = value
        version = value["cniVersion"]?.string ?? "0.2.0"
        plugins = value["plugins"]?.array ?? [value]
        folders = programs
        for plugin in plugins {
            guard let type = plugin["type"]?.string, !type.isEmpty, !type.contains("/"), type != "..", type != "." else {
                throw Fault(.invalid, "\(file) is no CNI configuration: a plugin has no type", subject: file)
            }
        }
        if plugins.isEmpty { throw Fault(.invalid, "\(file) has no plugins", subject: file) }
    }

    /// Plugins make files of that name (host-local), so that it cannot be a way (the specification's rule).
    private static func isName(_ text: String) -> Bool {
        func isWord(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        }
        return text.utf8.first.map(isWord) == true && text.utf8.count < 128
            && text.utf8.allSatisfy { isWord($0) || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F }
    }

    /// Whom and where.
    package struct Place: Sendable {
        package var container: ObjectID
        package var interface: String
        /// A path of the network namespace; empty when it is gone.
        package var namespace: String

        package init(container: ObjectID, interface: String, namespace: String) {
            self.container = container
            self.interface = interface
            self.namespace = namespace
        }
    }

    /// What plugins are told that say that they can do with it (their `capabilities`).
    package struct Wishes: Sendable, Equatable {
        package var ports: [PortBinding] = []
        package var mac: MACAddress?

        package init(ports: [PortBinding] = [], mac: MACAddress? = nil) {
            self.ports = ports
            self.mac = mac
        }
    }

    private func can(_ capability: String) -> Bool { plugins.contains { $0["capabilities"]?[capability]?.bool == true } }

    /// A plugin of it publishes ports.
    package var publishesPorts: Bool { can("portMappings") }
    /// A plugin of it gives the interface the MAC address that is asked for.
    package var assignsMAC: Bool { can("mac") }

    /// Runs the plugins in order and answers what the last one said. Success means that the interface is there. On a fault what
    /// was made is deleted again.
    package func add(_ place: Place, _ wishes: Wishes = Wishes()) throws -> JSONValue {
        var result: JSONValue?
        do {
            for plugin in plugins { result = try run("ADD", plugin, place, wishes, previous: result) ?? result }
            guard let result else { throw Fault(.system, "CNI network \(name) answered nothing", subject: name) }
            return result
        } catch {
            try? delete(place, wishes, previous: result)
            throw error
        }
    }

    /// Success means that every plugin says that the interface is as `add` has left it, or that the chain cannot tell: `disableCheck`,
    /// a version before 0.4.
    package func check(_ place: Place, _ wishes: Wishes = Wishes(), previous: JSONValue) throws {
        guard configuration["disableCheck"]?.bool != true, !["0.1.0", "0.2.0", "0.3.0", "0.3.1"].contains(version) else {
            return
        }
        let previous = Self.moved(previous, to: place.namespace)
        for plugin in plugins { _ = try run("CHECK", plugin, place, wishes, previous: previous) }
    }

    /// An answer with the namespace's path of now: plugins compare it with the one that they are given.
    private static func moved(_ result: JSONValue?, to namespace: String) -> JSONValue? {
        guard case .object(var members)? = result, !namespace.isEmpty,
            let place = members.firstIndex(where: { $0.key == "interfaces" })
        else { return result }
        members[place].value = .array(
            (members[place].value.array ?? []).map { interface in
                guard case .object(var members) = interface else { return interface }
                for index in members.indices where members[index].key == "sandbox" && members[index].value.string != "" {
                    members[index].value = .string(namespace)
                }
                return .object(members)
            })
        return .object(members)
    }

    /// Runs the plugins in reverse order, all of them; throws the first fault afterwards. Repeatable. `previous` is what `add`
    /// answered: some plugins find what they made by it.
    package func delete(_ place: Place, _ wishes: Wishes = Wishes(), previous: JSONValue? = nil) throws {
        var first: (any Error)?
        let previous = Self.moved(previous, to: place.namespace)
        for plugin in plugins.reversed() {
            do { _ = try run("DEL", plugin, place, wishes, previous: previous) } catch { first = first ?? error }
        }
        if let first { throw first }
    }

    private func run(_ command: String, _ plugin: JSONValue, _ place: Place, _ wishes: Wishes, previous: JSONValue?) throws
        -> JSONValue?
    {
        let program = CNIPlugin(
            type: plugin["type"]?.string ?? "", network: name, folders: folders, patience: patience)
        return try program.run(command, configuration(plugin, wishes, previous: previous), place)
    }

    /// The configuration of one plugin as the specification wants it: with the list's version and name, the result so far, and of
    /// the wishes those that it can do with.
    package func configuration(_ plugin: JSONValue, _ wishes: Wishes = Wishes(), previous: JSONValue?) -> JSONValue {
        let ours: Set<String> = ["cniVersion", "name", "prevResult", "capabilities", "runtimeConfig"]
        var members = (plugin.members ?? []).filter { !ours.contains($0.key) }
        members.insert(JSONValue.Member(key: "name", value: .string(name)), at: 0)
        members.insert(JSONValue.Member(key: "cniVersion", value: .string(version)), at: 0)
        let runtime = wishes.members.filter { plugin["capabilities"]?[$0.key]?.bool == true }
        if !runtime.isEmpty { members.append(JSONValue.Member(key: "runtimeConfig", value: .object(runtime))) }
        if let previous { members.append(JSONValue.Member(key: "prevResult", value: previous)) }
        return .object(members)
    }
}

extension CNIChain.Wishes {
    /// By the names of capabilities.
    var members: [JSONValue.Member] {
        var members: [JSONValue.Member] = []
        if !ports.isEmpty { members.append(JSONValue.Member(key: "portMappings", value: .array(ports.map(Self.mapping)))) }
        if let mac { members.append(JSONValue.Member(key: "mac", value: .string(mac.description))) }
        return members
    }

    private static func mapping(_ port: PortBinding) -> JSONValue {
        var members = [
            JSONValue.Member(key: "hostPort", value: .number(String(port.hostPort))),
            JSONValue.Member(key: "containerPort", value: .number(String(port.containerPort))),
            JSONValue.Member(key: "protocol", value: .string("\(port.proto)")),
        ]
        if !port.hostAddress.isUnspecified {
            members.append(JSONValue.Member(key: "hostIP", value: .string(port.hostAddress.description)))
        }
        return .object(members)
    }
}

// MARK: Results

extension CNIChain {
    /// What a result says of the interface in the sandbox: of each family the first address.
    package static func endpoint(_ endpoint: EndpointRecord, _ result: JSONValue, _ place: Place) throws -> EndpointRecord {
        var endpoint = endpoint
        endpoint.interface = place.interface
        let interfaces = result["interfaces"]?.array ?? []
        let own = interfaces.firstIndex { $0["name"]?.string == place.interface && !($0["sandbox"]?.string ?? "").isEmpty }
        if let own { endpoint.mac = interfaces[own]["mac"]?.string.flatMap { MACAddress($0) } }
        let routes = result["routes"]?.array ?? []
        for ip in result["ips"]?.array ?? [] {
            if let number = ip["interface"]?.int, let own, number != own { continue }
            try enter(ip["address"], ip["gateway"], routes, in: &endpoint)
        }
        // Before 0.3.0 there was one address of each family
        for ip in [result["ip4"], result["ip6"]] {
            if let ip, ip != .null { try enter(ip["ip"], ip["gateway"], ip["routes"]?.array ?? [], in: &endpoint) }
        }
        endpoint.resolver = resolver(result["dns"])
        return endpoint
    }

    /// A gateway counts where a default route leads there; plugins also name those of networks without a way out.
    private static func enter(
        _ address: JSONValue?, _ gateway: JSONValue?, _ routes: [JSONValue], in endpoint: inout EndpointRecord
    ) throws {
        let parts = (address?.string ?? "").split(separator: "/")
        guard parts.count == 2, let place = IPAddress(parts[0]), let prefix = UInt8(parts[1]),
            prefix <= (place.v4 == nil ? 128 : 32)
        else {
            throw Fault(
                .system, "CNI network answered with no address: \(VisibleText.of((address ?? .null).jsonText, limit: 100))")
        }
        let route = routes.first { $0["dst"]?.string == (place.v4 == nil ? "::/0" : "0.0.0.0/0") }
        let gateway = route.flatMap { ($0["gw"]?.string ?? gateway?.string).flatMap { IPAddress($0) } }
        switch place {
        case .v4(let place) where endpoint.ipv4 == nil:
            endpoint.ipv4 = InterfaceIPv4(address: place, prefix: prefix, gateway: gateway?.v4)
        case .v6(let place) where endpoint.ipv6 == nil:
            endpoint.ipv6 = InterfaceIPv6(address: place, prefix: prefix, gateway: gateway?.v6)
        default: break
        }
    }

    /// As much of it as goes into a resolv.conf (resolv.conf(5)); nil where it names nothing.
    private static func resolver(_ dns: JSONValue?) -> EndpointResolver? {
        func words(_ key: String, _ isWord: (String) -> Bool = { _ in true }) -> [String] {
            let all = dns?[key]?.array?.compactMap(\.string) ?? []
            return Array(all.filter { $0.utf8.count < 254 && isResolverWord($0) && isWord($0) }.prefix(8))
        }
        var resolver = EndpointResolver(
            servers: words("nameservers") { IPAddress($0) != nil }, search: words("search"), options: words("options"))
        if resolver.search.isEmpty, let domain = dns?["domain"]?.string, isResolverWord(domain), domain.utf8.count < 254 {
            resolver.search = [domain]
        }
        return resolver == EndpointResolver() ? nil : resolver
    }

    /// A word of a line, and no more lines than that.
    private static func isResolverWord(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }
}
