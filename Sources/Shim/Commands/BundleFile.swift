import JSON
import Linux
import Model
import Runtime

/// `config.json` of a bundle.
enum BundleFile {
    /// More than any real configuration has; what is larger is refused before it is read.
    static let limit = 8 << 20

    /// The bundle's absolute path.
    static func folder(_ given: String?) throws -> String {
        guard let given, !given.isEmpty else { return try Files.currentFolder() }
        do { return try Files.canonical(given) } catch {
            throw Fault(.notFound, "cannot open the bundle \(given)", cause: error)
        }
    }

    static func load(_ bundle: String, report: Reporter) throws -> OCI.Spec {
        let path = bundle + "/config.json"
        let bytes: [UInt8]
        do { bytes = try Files.read(path, limit: limit) } catch let fault as KernelFault {
            if fault.isMissingFile { throw Fault(.notFound, "JSON specification file config.json not found", subject: path) }
            if fault.isTooLarge { throw Fault(.invalid, "\(path) is larger than \(limit) bytes", subject: path) }
            throw Fault(.system, "cannot read \(path)", subject: path, cause: fault)
        }
        return try read(bytes, path, report)
    }

    static func read<T: JSONReadable>(_ bytes: [UInt8], _ path: String, _ report: Reporter) throws -> T {
        do {
            var reader = try JSONReader(bytes, limits: JSONLimits(size: limit))
            let value = try T(from: &reader)
            try reader.end()
            for field in reader.ignored { report(.debug, "\(path): unknown field \(field) is ignored") }
            return value
        } catch let fault as JSONFault {
            throw Fault(.invalid, "\(path): \(fault.description)", subject: path)
        }
    }
}
