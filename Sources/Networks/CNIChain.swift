import JSON
import Linux
import Model

/// A chain of CNI plugins (Container Network Interface specification 1.0), as a file under /etc/cni/net.d names it. Blocking; the
/// plugins run in the network namespace of the calling thread.
package struct CNIChain: Sendable {
    package let name: String
    private let version: String
    private let plugins: [JSONValue]
    /// Where programs are looked for, in this order.
    private let folders: [String]

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
    package init(_ value: JSONValue, file: String, programs: [String]) throws {
        guard let name = value["name"]?.string, !name.isEmpty else {
            throw Fault(.invalid, "\(file) is no CNI configuration: it has no name", subject: file)
        }
        self.name = name
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

    /// Runs the plugins in order. Success means that the interface is there. On a fault what was made is deleted again.
    package func add(_ place: Place, to endpoint: EndpointRecord) throws -> EndpointRecord {
        var result: JSONValue?
        do {
            for plugin in plugins { result = try run("ADD", plugin, place, previous: result) ?? result }
            guard let result else { throw Fault(.system, "CNI network \(name) answered nothing", subject: name) }
            return try Self.endpoint(endpoint, result, place)
        } catch {
            try? delete(place)
            throw error
        }
    }

    /// Success means that every plugin says that the interface is as it should be.
    package func check(_ place: Place, previous: JSONValue?) throws {
        for plugin in plugins { _ = try run("CHECK", plugin, place, previous: previous) }
    }

    /// Runs the plugins in reverse order, all of them; throws the first fault afterwards. Repeatable.
    package func delete(_ place: Place) throws {
        var first: (any Error)?
        for plugin in plugins.reversed() {
            do { _ = try run("DEL", plugin, place, previous: nil) } catch { first = first ?? error }
        }
        if let first { throw first }
    }

    /// What a result says of the interface in the sandbox.
    package static func endpoint(_ endpoint: EndpointRecord, _ result: JSONValue, _ place: Place) throws -> EndpointRecord {
        var endpoint = endpoint
        endpoint.interface = place.interface
        let interfaces = result["interfaces"]?.array ?? []
        let own = interfaces.firstIndex { $0["name"]?.string == place.interface && !($0["sandbox"]?.string ?? "").isEmpty }
        if let own { endpoint.mac = interfaces[own]["mac"]?.string.flatMap { MACAddress($0) } }
        for ip in result["ips"]?.array ?? [] {
            if let number = ip["interface"]?.int, let own, number != own { continue }
            let parts = (ip["address"]?.string ?? "").split(separator: "/")
            guard parts.count == 2, let address = IPAddress(parts[0]), let prefix = UInt8(parts[1]) else {
                throw Fault(.system, "CNI network answered with no address: \(ip.jsonText)")
            }
            let gateway = ip["gateway"]?.string.flatMap { IPAddress($0) }
            switch address {
            case .v4(let address) where endpoint.ipv4 == nil:
                endpoint.ipv4 = InterfaceIPv4(address: address, prefix: prefix, gateway: gateway?.v4)
            case .v6(let address) where endpoint.ipv6 == nil:
                endpoint.ipv6 = InterfaceIPv6(address: address, prefix: prefix, gateway: gateway?.v6)
            default: break
            }
        }
        return endpoint
    }

    // MARK: Plugins

    /// The configuration of one plugin as the specification wants it: with the list's version and name, and the result so far.
    package func configuration(_ plugin: JSONValue, previous: JSONValue?) -> JSONValue {
        var members = (plugin.members ?? []).filter { !["cniVersion", "name", "prevResult", "capabilities"].contains($0.key) }
        members.insert(JSONValue.Member(key: "name", value: .string(name)), at: 0)
        members.insert(JSONValue.Member(key: "cniVersion", value: .string(version)), at: 0)
        if let previous { members.append(JSONValue.Member(key: "prevResult", value: previous)) }
        return .object(members)
    }

    private func run(_ command: String, _ plugin: JSONValue, _ place: Place, previous: JSONValue?) throws -> JSONValue? {
        let type = plugin["type"]?.string ?? ""
        let input = try StreamCalls.pipe().split()
        let output = try StreamCalls.pipe().split()
        let inputRead = Descriptor(owning: input.read)
        let outputRead = Descriptor(owning: output.read)
        var outputWrite: Held? = Held(output.write)
        let text = configuration(plugin, previous: previous).json
        // It goes into the pipe before anybody reads it.
        do {
            let inputWrite = Descriptor(owning: input.write)
            guard text.count < 60_000 else {
                throw Fault(.invalid, "the configuration of CNI plugin \(type) is too large", subject: name)
            }
            try StreamCalls.writeAll(inputWrite.raw, text)
        }
        let errors = try Descriptor.open("/dev/null", .readWrite)
        let environment = [
            "CNI_COMMAND=\(command)", "CNI_CONTAINERID=\(place.container)", "CNI_NETNS=\(place.namespace)",
            "CNI_IFNAME=\(place.interface)", "CNI_PATH=\(folders.joined(separator: ":"))",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        let pid = try start(type, environment, [inputRead.raw, outputWrite?.raw ?? -1, errors.raw])
        outputWrite = nil
        var answer: [UInt8] = []
        while answer.count < 1 << 20, let chunk = try? Files.readSome(outputRead.raw, limit: 64 << 10), !chunk.isEmpty {
            answer += chunk
        }
        let code = waitForChild(pid)
        let value = try? JSONValue(json: answer)
        if code == 0 { return value }
        let words = [value?["msg"]?.string, value?["details"]?.string].compactMap { $0 }.filter { !$0.isEmpty }
        throw Fault(
            .system,
            "CNI plugin \(type) of network \(name) failed (\(command)): "
                + (words.isEmpty ? "it ended with status \(code)" : words.joined(separator: ": ")), subject: name)
    }

    /// Closed when it is let go of.
    private final class Held {
        let raw: CInt
        init(_ raw: CInt) { self.raw = raw }
        deinit { _ = Descriptor(owning: raw) }
    }

    private func start(_ type: String, _ environment: [String], _ descriptors: [CInt]) throws -> CInt {
        for folder in folders {
            do {
                return try spawn(
                    SpawnRequest(
                        path: folder + "/" + type, arguments: [type], environment: environment, descriptors: descriptors))
            } catch let fault as KernelFault where fault.isAbsent { continue }
        }
        throw Fault(
            .system, "CNI plugin \(type) of network \(name) is not in \(folders.joined(separator: ", "))", subject: type)
    }
}
