import Linux
import Model

extension CgroupLayout {
    /// What this machine has. Reads /proc/self/mountinfo and /proc/self/cgroup once, and the controllers of a v2 mount.
    public static func detect() throws -> CgroupLayout {
        do {
            var layout = parse(
                mounts: try CgroupFile.read("/proc/self/mountinfo"), memberships: try CgroupFile.read("/proc/self/cgroup"))
            for index in layout.hierarchies.indices where layout.hierarchies[index].isUnified {
                let path = layout.hierarchies[index].mountPoint + "/cgroup.controllers"
                let text = (try? CgroupFile.text(path)) ?? ""
                layout.hierarchies[index].controllers = text.split(separator: " ").map(String.init)
            }
            return layout
        } catch let fault as KernelFault {
            throw Fault(.system, "cannot find out how cgroups are mounted", cause: fault)
        }
    }

    /// The layout by the texts of /proc/self/mountinfo (proc_pid_mountinfo(5)) and /proc/self/cgroup (cgroups(7)).
    /// Of several mounts of one hierarchy the first counts whose root is `/`, else the first.
    package static func parse(mounts: [UInt8], memberships: [UInt8]) -> CgroupLayout {
        let own = parseMemberships(memberships)
        var hierarchies: [CgroupHierarchy] = []
        var roots: [String] = []
        for line in mounts.split(separator: 0x0A) {
            guard let mount = CgroupMountLine(line) else { continue }
            var hierarchy = mount.hierarchy
            let key = hierarchy.isUnified ? "" : hierarchy.name.map { "name=\($0)" } ?? hierarchy.controllers.first ?? ""
            hierarchy.own = below(mount.root, own.first { $0.key == key }?.path ?? "/")
            let known = hierarchies.firstIndex {
                $0.isUnified == hierarchy.isUnified && $0.name == hierarchy.name
                    && (hierarchy.isUnified || $0.controllers == hierarchy.controllers)
            }
            guard let known else {
                hierarchies.append(hierarchy)
                roots.append(mount.root)
                continue
            }
            if roots[known] != "/" && mount.root == "/" {
                hierarchies[known] = hierarchy
                roots[known] = mount.root
            }
        }
        return CgroupLayout(hierarchies: hierarchies)
    }

    private struct Membership {
        var key: String
        var path: String
    }

    private static func parseMemberships(_ bytes: [UInt8]) -> [Membership] {
        var result: [Membership] = []
        for line in bytes.split(separator: 0x0A) {
            let parts = line.split(separator: UInt8(ascii: ":"), maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let path = String(decoding: parts[2], as: UTF8.self)
            for key in parts[1].split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
                result.append(Membership(key: String(decoding: key, as: UTF8.self), path: path))
            }
        }
        return result
    }

    /// A cgroup's path below the folder of the hierarchy that is mounted.
    private static func below(_ root: String, _ path: String) -> String {
        if root == "/" { return path }
        if path == root { return "/" }
        return path.hasPrefix(root + "/") ? String(path.dropFirst(root.count)) : "/"
    }
}

/// A line of mountinfo that mounts cgroups.
private struct CgroupMountLine {
    var root: String
    var hierarchy: CgroupHierarchy

    init?(_ line: ArraySlice<UInt8>) {
        guard let separator = line.firstRange(of: Array(" - cgroup".utf8)) else { return nil }
        let before = line[..<separator.lowerBound].split(separator: 0x20)
        let after = line[(separator.lowerBound + 3)...].split(separator: 0x20)
        guard before.count >= 5, after.count >= 3 else { return nil }
        let type = String(decoding: after[0], as: UTF8.self)
        guard type == "cgroup" || type == "cgroup2" else { return nil }
        root = Self.unescape(before[3])
        hierarchy = CgroupHierarchy(
            controllers: [], isUnified: type == "cgroup2", mountPoint: Self.unescape(before[4]))
        guard type == "cgroup" else { return }
        for option in after[2].split(separator: UInt8(ascii: ",")) {
            let text = String(decoding: option, as: UTF8.self)
            if text.hasPrefix("name=") {
                hierarchy.name = String(text.dropFirst(5))
            } else if !Self.flags.contains(text) && !text.contains("=") {
                hierarchy.controllers.append(text)
            }
        }
        if !hierarchy.controllers.isEmpty { hierarchy.name = nil }
    }

    /// Options of a v1 mount that are no controllers.
    private static let flags: Set<String> = [
        "ro", "rw", "none", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods", "nofavordynmods",
    ]

    /// Spaces and the like stand as three octal digits.
    private static func unescape(_ field: ArraySlice<UInt8>) -> String {
        guard field.contains(UInt8(ascii: "\\")) else { return String(decoding: field, as: UTF8.self) }
        var result: [UInt8] = []
        var rest = field
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3,
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
            {
                result.append(value)
                rest = rest.dropFirst(3)
            } else {
                result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
