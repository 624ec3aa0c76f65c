import Client
import Linux
import Model

/// `--mount type=bind,source=/a,target=/b,readonly`, as docker reads it.
package enum MountSpec {
    package static func parse(_ text: String) throws -> Docker.Mount {
        var mount = Docker.Mount()
        mount.type = "volume"
        var families: Set<String> = []
        for field in try GoText.csv(text) {
            let cut = GoText.cut(field, "=")
            let key = (cut?.before ?? field).lowercased()
            var value = cut?.after ?? ""
            if cut == nil {
                guard ["readonly", "ro", "volume-nocopy", "bind-nonrecursive"].contains(key) else {
                    throw FlagFault("invalid field '\(field)' must be a key=value pair")
                }
                value = "true"
            }
            for family in ["bind", "volume", "tmpfs", "image"] where key.hasPrefix(family + "-") { families.insert(family) }
            try apply(key, value, field, &mount)
        }
        try check(mount, families)
        return mount
    }

    private static func apply(_ key: String, _ value: String, _ field: String, _ mount: inout Docker.Mount) throws {
        switch key {
        case "type": mount.type = value.lowercased()
        case "source", "src":
            mount.source = value == "." || value.hasPrefix("./") || value.hasPrefix("../") ? HostPath.absolute(value) : value
        case "target", "dst", "destination": mount.target = value
        case "readonly", "ro": mount.readOnly = try bool(key, value)
        case "consistency": mount.consistency = value.lowercased()
        case "bind-propagation": bind(&mount) { $0.propagation = value.lowercased() }
        case "bind-nonrecursive":
            let on = try bool(key, value)
            bind(&mount) { $0.nonRecursive = on }
        case "bind-create-src":
            let on = try bool(key, value)
            bind(&mount) { $0.createMountpoint = on }
        case "bind-recursive": try recursive(value, &mount)
        case "volume-subpath": volume(&mount) { $0.subpath = value }
        case "volume-nocopy":
            let on = try bool(key, value)
            volume(&mount) { $0.noCopy = on }
        case "volume-label":
            let (name, text) = GoText.cut(value, "=") ?? (value, "")
            volume(&mount) { $0.labels = ($0.labels ?? [:]).merging([name: text]) { $1 } }
        case "volume-driver":
            volume(&mount) { options in
                var driver = options.driverConfig ?? Docker.MountVolumeOptionsDriverConfig()
                driver.name = value
                options.driverConfig = driver
            }
        case "volume-opt":
            let (name, text) = GoText.cut(value, "=") ?? (value, "")
            volume(&mount) { options in
                var driver = options.driverConfig ?? Docker.MountVolumeOptionsDriverConfig()
                driver.options = (driver.options ?? [:]).merging([name: text]) { $1 }
                options.driverConfig = driver
            }
        case "image-subpath":
            var options = mount.imageOptions ?? Docker.MountImageOptions()
            options.subpath = value
            mount.imageOptions = options
        case "tmpfs-size":
            guard let size = try? ByteSize.parse(value) else { throw FlagFault("invalid value for \(key): \(value)") }
            tmpfs(&mount) { $0.sizeBytes = size }
        case "tmpfs-mode":
            guard let mode = Int(value, radix: 8) else { throw FlagFault("invalid value for \(key): \(value)") }
            tmpfs(&mount) { $0.mode = mode }
        default: throw FlagFault("unexpected key '\(key)' in '\(field)'")
        }
    }

    private static func recursive(_ value: String, _ mount: inout Docker.Mount) throws {
        switch value {
        case "enabled": break
        case "disabled": bind(&mount) { $0.nonRecursive = true }
        case "writable": bind(&mount) { $0.readOnlyNonRecursive = true }
        case "readonly": bind(&mount) { $0.readOnlyForceRecursive = true }
        default:
            throw FlagFault(
                "invalid value for bind-recursive: \(value) (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")")
        }
    }

    private static func check(_ mount: Docker.Mount, _ families: Set<String>) throws {
        let type = mount.type ?? ""
        guard !type.isEmpty else { throw FlagFault("type is required") }
        guard let target = mount.target, !target.isEmpty else { throw FlagFault("target is required") }
        for family in ["volume", "image", "bind", "tmpfs"] where families.contains(family) && type != family {
            throw FlagFault("cannot mix '\(family)-*' options with mount type '\(type)'")
        }
        if mount.bindOptions?.readOnlyNonRecursive == true, mount.readOnly != true {
            throw FlagFault("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction")
        }
        if mount.bindOptions?.readOnlyForceRecursive == true {
            guard mount.readOnly == true else {
                throw FlagFault("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
            }
            guard mount.bindOptions?.propagation == "rprivate" else {
                throw FlagFault(
                    "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
            }
        }
    }

    private static func bool(_ key: String, _ value: String) throws -> Bool {
        guard let on = FlagParser.bool(value) else { throw FlagFault("invalid value for \(key): \(value)") }
        return on
    }

    private static func bind(_ mount: inout Docker.Mount, _ change: (inout Docker.MountBindOptions) -> Void) {
        var options = mount.bindOptions ?? Docker.MountBindOptions()
        change(&options)
        mount.bindOptions = options
    }

    private static func volume(_ mount: inout Docker.Mount, _ change: (inout Docker.MountVolumeOptions) -> Void) {
        var options = mount.volumeOptions ?? Docker.MountVolumeOptions()
        change(&options)
        mount.volumeOptions = options
    }

    private static func tmpfs(_ mount: inout Docker.Mount, _ change: (inout Docker.MountTmpfsOptions) -> Void) {
        var options = mount.tmpfsOptions ?? Docker.MountTmpfsOptions()
        change(&options)
        mount.tmpfsOptions = options
    }
}

/// Paths of this machine as a command line names them.
package enum HostPath {
    /// Against the working folder, cleaned as Go's filepath.Abs does.
    package static func absolute(_ path: String) -> String {
        let whole = path.hasPrefix("/") ? path : (FileCalls.workingFolder ?? "/") + "/" + path
        var parts: [Substring] = []
        for part in whole.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }
}

/// `-v` values: a bind mount, a named volume, or a path that gets an anonymous volume.
package enum VolumeSpec: Equatable {
    case bind(String)
    case anonymous(String)

    package static func parse(_ text: String) throws -> VolumeSpec {
        guard !text.isEmpty else { throw FlagFault("invalid empty volume spec") }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count > 1 else { return .anonymous(text) }
        guard !parts[0].isEmpty, !parts[1].isEmpty else {
            throw FlagFault("invalid spec: \(text): empty section between colons")
        }
        guard parts[0].hasPrefix(".") else { return .bind(text) }
        return .bind(([HostPath.absolute(parts[0])] + parts[1...]).joined(separator: ":"))
    }
}
