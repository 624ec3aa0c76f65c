import Linux
import Model

/// Something of the kernel's or the machine's that the engine uses.
public struct HostFeature: Sendable {
    public enum Status: String, Sendable { case present, missing, unknown }

    public var name: String
    public var status: Status
    /// Which version, which controllers, why not.
    public var detail: String
    /// What does not work where it is missing.
    public var without: String
}

extension SystemService {
    /// What this machine has and lacks, by asking it: nothing is changed, and nothing is left.
    public func hostFeatures() async -> [HostFeature] {
        let firewall = core.sandboxes.firewallObstacle
        let dataRoot = core.layout.dataRoot
        return (try? await core.background.run { HostSurvey(dataRoot: dataRoot).features(firewall: firewall) }) ?? []
    }
}

private struct HostSurvey {
    let dataRoot: String

    func features(firewall: String?) -> [HostFeature] {
        [kernel] + namespaces + mounts + cgroups + security + [
            feature(
                "nf_tables", firewall == nil, firewall ?? "rules can be set",
                "published ports, addresses of containers towards outside"),
            forwarding,
        ] + fileSystems + [capabilities]
    }

    private func feature(_ name: String, _ present: Bool, _ detail: String, _ without: String) -> HostFeature {
        HostFeature(name: name, status: present ? .present : .missing, detail: detail, without: present ? "" : without)
    }

    private func text(_ path: String) -> String? {
        guard let bytes = try? readFile(path, limit: 1 << 20) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func line(_ path: String) -> String? {
        text(path).map { String($0.prefix { $0 != "\n" }) }
    }

    private func exists(_ path: String) -> Bool { (try? Descriptor.open(path, .path)) != nil }

    // MARK: Kernel

    private var kernel: HostFeature {
        let release = line("/proc/sys/kernel/osrelease") ?? ""
        let numbers = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
        let isNew = numbers.count == 2 && (numbers[0], numbers[1]) >= (5, 15)
        return feature("kernel", isNew, release, "kernels before 5.15 are not supported")
    }

    private var namespaces: [HostFeature] {
        let uses = [
            ("mnt", "containers"), ("pid", "containers"), ("net", "networks of their own"), ("ipc", "--ipc private"),
            ("uts", "host names of their own"), ("cgroup", "--cgroupns private"), ("user", "user namespaces"),
            ("time", "time namespaces"),
        ]
        var found = uses.map { name, without in
            feature("namespace \(name)", exists("/proc/self/ns/" + name), "", without)
        }
        let most = line("/proc/sys/user/max_user_namespaces") ?? "0"
        let unprivileged = line("/proc/sys/kernel/unprivileged_userns_clone")
        found.append(
            feature(
                "user namespaces", most != "0", "at most \(most)" + (unprivileged == "0" ? ", for root only" : ""),
                "engines of users, nested engines"))
        return found
    }

    // MARK: Mounts

    private var mounts: [HostFeature] {
        var found: [HostFeature] = []
        do {
            let overlay = try FileSystemContext("overlay")
            found.append(feature("overlay", true, "", ""))
            do {
                try overlay.set("lowerdir+", "/")
                found.append(feature("overlay lowerdir+", true, "", ""))
            } catch {
                found.append(
                    feature("overlay lowerdir+", false, "\(error)", "layers are mounted the old way, in a helper process"))
            }
        } catch {
            found.append(feature("overlay", false, "\(error)", "the storage driver overlay2; use --storage-driver copy"))
        }
        do {
            let clone = try Mounts.clone("/", recursive: false)
            found.append(feature("detached mounts", true, "", ""))
            found.append(
                feature(
                    "clones of detached mounts", (try? Mounts.clone(of: clone.raw, recursive: false)) != nil, "since 6.15",
                    "the container's side makes them"))
            // The first user namespace is refused (EPERM) by a kernel that knows the call, which does nothing then.
            let namespace = try Descriptor.open("/proc/self/ns/user", .read)
            do { try Mounts.change(clone.raw, set: .idmapped, userNamespace: namespace.raw) } catch let fault as KernelFault {
                found.append(
                    feature("idmapped mounts", fault.isNotPermitted, "", "owners shifted by user namespaces"))
            }
        } catch {
            found.append(feature("detached mounts", false, "\(error)", "containers"))
        }
        return found
    }

    private var fileSystems: [HostFeature] {
        let known = text("/proc/filesystems") ?? ""
        let names = Set(
            known.split(separator: "\n").compactMap { $0.split(whereSeparator: \.isWhitespace).last.map(String.init) })
        return [
            feature("btrfs", names.contains("btrfs"), "", "the storage driver btrfs"),
            feature("fuse", names.contains("fuse"), "", "file systems that containers bring along"),
        ]
    }

    // MARK: Cgroups

    private var cgroups: [HostFeature] {
        let lines = (text("/proc/self/mountinfo") ?? "").split(separator: "\n").map { $0.split(separator: " ") }
        var first: Set<String> = []
        var second: Set<String> = []
        for words in lines {
            guard let dash = words.firstIndex(of: "-"), words.count > dash + 3, words.count > 4 else { continue }
            switch words[dash + 1] {
            case "cgroup": first.formUnion(words[dash + 3].split(separator: ",").map(String.init))
            case "cgroup2":
                let file = String(words[4]) + "/cgroup.controllers"
                second.formUnion((line(file) ?? "").split(separator: " ").map(String.init))
            default: continue
            }
        }
        let uses = [
            ("cpu", "--cpus"), ("cpuset", "--cpuset-cpus"), ("memory", "--memory"), ("pids", "--pids-limit"),
            ("io", "--blkio-weight, --device-read-bps"), ("devices", "rules for devices"), ("freezer", "pause"),
        ]
        let isPure = !second.isEmpty && first.isEmpty
        return uses.map { name, without in
            // Without a controller of their own since version 2: eBPF programs, a file in every cgroup.
            let builtIn = isPure && ["devices", "freezer"].contains(name)
            let old = name == "io" ? "blkio" : name
            let version = builtIn || second.contains(name) ? "version 2" : first.contains(old) ? "version 1" : ""
            return feature("cgroup \(name)", !version.isEmpty, version, without)
        }
    }

    // MARK: Security

    private var security: [HostFeature] {
        let apparmor = line("/sys/module/apparmor/parameters/enabled") == "Y"
        let actions = line("/proc/sys/kernel/seccomp/actions_avail")
        return [
            feature("seccomp", actions != nil, actions ?? "", "the default filter of system calls"),
            feature("AppArmor", apparmor, "", "AppArmor profiles"),
            feature("SELinux", exists("/sys/fs/selinux/enforce"), "", "SELinux labels"),
        ]
    }

    private var forwarding: HostFeature {
        let on = line("/proc/sys/net/ipv4/ip_forward") == "1"
        return feature("IPv4 forwarding", on, "net.ipv4.ip_forward", "containers reach outside; the engine switches it on")
    }

    private var capabilities: HostFeature {
        let status = text("/proc/self/status") ?? ""
        let words = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }?.split(separator: "\t").last ?? ""
        let have = UInt64(words.filter(\.isHexDigit), radix: 16) ?? 0
        let needed: [(Int, String)] = [
            (0, "CHOWN"), (1, "DAC_OVERRIDE"), (6, "SETGID"), (7, "SETUID"), (12, "NET_ADMIN"), (21, "SYS_ADMIN"),
            (23, "SYS_NICE"), (24, "SYS_RESOURCE"), (27, "MKNOD"),
        ]
        let missing = needed.filter { have & (1 << UInt64($0.0)) == 0 }.map { "CAP_" + $0.1 }
        return feature(
            "capabilities", missing.isEmpty, missing.isEmpty ? "" : "without " + missing.joined(separator: ", "),
            "what needs them: raised limits, --privileged in full")
    }
}
