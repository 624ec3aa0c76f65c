import HTTP
import JSON
import Model
import Registry

/// Settings about registries, by docker's names where docker has them.
extension DaemonOptions {
    /// Flags; each may be repeated. True when the name is one of these.
    mutating func setRegistry(_ name: String, _ value: String) throws -> Bool {
        switch name {
        case "insecure-registry": registries.insecure.append(try Self.insecure(value))
        case "registry-mirror": registries.mirrors[Reference.defaultDomain, default: []].append(try Self.mirror(value))
        case "max-concurrent-downloads": registries.downloads = try Self.count(value, 1...64)
        case "max-concurrent-uploads": registries.uploads = try Self.count(value, 1...64)
        case "max-download-attempts": registries.retries = try Self.count(value, 1...100)
        case "registry-stall-timeout": registries.stallTimeout = 1000 * (try Self.count(value, 1...3600))
        case "http-proxy": registries.proxies.http = value
        case "https-proxy": registries.proxies.https = value
        case "no-proxy": registries.proxies.none = value
        case "layer-compression":
            guard let known = LayerCompression(rawValue: value) else {
                throw Fault(.invalid, "\"\(value)\" is no compression: gzip and zstd are")
            }
            registries.compression = known
        default: return false
        }
        return true
    }

    /// Members of the file. True when the key is one of these.
    mutating func readRegistry(_ key: String, _ reader: inout JSONReader) throws -> Bool {
        switch key {
        case "insecure-registries":
            registries.insecure = try list(&reader, Self.insecure)
        case "registry-mirrors":
            registries.mirrors[Reference.defaultDomain] = try list(&reader, Self.mirror)
        case "mirrors":
            try reader.object { domain, reader in
                guard HTTPURL.authority(domain) != nil else { throw reader.fault("\"\(domain)\" is no registry's host") }
                registries.mirrors[domain] = try list(&reader, Self.mirror)
            }
        case "proxies":
            try reader.object { name, reader in
                let value = try reader.string()
                guard ["http-proxy", "https-proxy", "no-proxy"].contains(name), try setRegistry(name, value) else {
                    throw reader.fault("unknown setting")
                }
            }
        case "max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts", "registry-stall-timeout":
            let value = try reader.integer(Int.self)
            do { _ = try setRegistry(key, String(value)) } catch let fault as Fault { throw reader.fault(fault.message) }
        case "layer-compression":
            let value = try reader.string()
            do { _ = try setRegistry(key, value) } catch let fault as Fault { throw reader.fault(fault.message) }
        default: return false
        }
        return true
    }

    private func list(_ reader: inout JSONReader, _ read: (String) throws -> String) throws -> [String] {
        var values: [String] = []
        try reader.array { reader in
            do { values.append(try read(try reader.string())) } catch let fault as Fault { throw reader.fault(fault.message) }
        }
        return values
    }

    private static func insecure(_ value: String) throws -> String {
        guard HTTPURL.authority(value) != nil || IPv4Subnet(value) != nil else {
            throw Fault(.invalid, "\"\(value)\" is no host, host:port or network")
        }
        return value.lowercased()
    }

    private static func mirror(_ value: String) throws -> String {
        guard let url = HTTPURL(value), !url.target.contains("?") else {
            throw Fault(.invalid, "\"\(value)\" is no http or https URL of a mirror")
        }
        return value
    }

    private static func count(_ value: String, _ range: ClosedRange<Int>) throws -> Int {
        guard let number = Int(value), range.contains(number) else {
            throw Fault(.invalid, "\"\(value)\" is no number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}
