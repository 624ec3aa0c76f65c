import Linux
import Model

/// A container's transient scope unit (systemd.scope(5)), from `slice:prefix:name`.
struct SystemdScope: Equatable {
    var slice: String
    var unit: String

    init(path: String?, id: String) throws {
        let text = path.flatMap { $0.isEmpty ? nil : $0 } ?? ":runc:" + id
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, !text.contains("/") else {
            throw Fault(
                .invalid, "linux.cgroupsPath \(text) is not of the form slice:prefix:name that --systemd-cgroup needs",
                subject: text)
        }
        slice = parts[0].isEmpty ? "system.slice" : parts[0]
        unit = parts[2].hasSuffix(".slice") ? parts[2] : (parts[1].isEmpty ? "" : parts[1] + "-") + parts[2] + ".scope"
    }

    /// `a-b.slice` is below `a.slice` (systemd.slice(5)).
    var cgroupPath: String {
        guard slice.hasSuffix(".slice"), slice != "-.slice" else { return "/" + unit }
        var path = ""
        var name = ""
        for part in slice.dropLast(6).split(separator: "-") {
            name += (name.isEmpty ? "" : "-") + part
            path += "/" + name + ".slice"
        }
        return path + "/" + unit
    }

    static func stop(_ unit: String) throws {}
}

extension Cgroup {
    /// Systemd driver: makes the scope around a waiting child, then sets the limits.
    public func adopt(_ pid: CInt, _ resources: OCI.Resources?) throws {
        throw Fault(.unsupported, "the systemd cgroup driver is not built yet")
    }
}
