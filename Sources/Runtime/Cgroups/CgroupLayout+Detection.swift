import Linux
import Model

extension CgroupLayout {
    /// What this machine has. Reads /proc/self/mountinfo, unless somebody has, and /proc/self/cgroup once, and the controllers of a v2
    /// mount.
    public static func detect(mounts: [UInt8]? = nil) throws -> CgroupLayout {
        do {
            var layout = parse(
                mounts: try mounts ?? CgroupFile.read("/proc/self/mountinfo"),
                memberships: try CgroupFile.read("/proc/self/cgroup"))
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

    /// `36 35 98:0 /root /mount options [tags …] - cgroup source options`
    init?(_ line: ArraySlice<UInt8>) {
        // few of a machine's mounts are of cgroups: the type is looked at first
        guard let type = Self.type(line) else { return nil }
        var fields = line[..<type.startIndex].split(separator: 0x20, maxSplits: 5, omittingEmptySubsequences: false)
        guard fields.count == 6 else { return nil }
        root = Self.unescape(fields[3])
        hierarchy = CgroupHierarchy(controllers: [], isUnified: type.count == 7, mountPoint: Self.unescape(fields[4]))
        if hierarchy.isUnified { return }
        fields = line[type.endIndex...].split(separator: 0x20)
        guard fields.count == 2 else { return nil }
        for option in fields[1].split(separator: UInt8(ascii: ",")) {
            let text = String(decoding: option, as: UTF8.self)
            if text.hasPrefix("name=") {
                hierarchy.name = String(text.dropFirst(5))
            } else if !Self.flags.contains(text) && !option.contains(UInt8(ascii: "=")) {
                hierarchy.controllers.append(text)
            }
        }
        if !hierarchy.controllers.isEmpty { hierarchy.name = nil }
    }

    /// The word after ` - `, when it is cgroup or cgroup2.
    private static func type(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        line.withUnsafeBufferPointer { bytes in
            var index = 0
            while index + 3 < bytes.count {
                if bytes[index] == 0x20 && bytes[index + 1] == UInt8(ascii: "-") && bytes[index + 2] == 0x20 { break }
                index += 1
            }
            let start = index + 3
            guard start < bytes.count, bytes[start] == UInt8(ascii: "c") else { return nil }
            var end = start
            while end < bytes.count && bytes[end] != 0x20 { end += 1 }
            let word = bytes[start..<end]
            guard word.elementsEqual("cgroup".utf8) || word.elementsEqual("cgroup2".utf8) else { return nil }
            return line[line.startIndex + start..<line.startIndex + end]
        }
    }

    /// Options of a v1 mount that are no controllers.
    private static let flags = [
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
