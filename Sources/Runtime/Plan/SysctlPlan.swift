import Model
import Linux

/// `linux.sysctl`, checked: only what belongs to a namespace of the container's own may be set.
struct SysctlPlan: Sendable {
    struct Setting: Sendable {
        var key: String
        /// Below /proc.
        var path: String
        var value: String
    }

    var settings: [Setting] = []

    init(_ sysctl: [String: String], _ namespaces: NamespacePlan) throws {
        if sysctl.isEmpty { return }
        for (key, value) in sysctl.sorted(by: { $0.key < $1.key }) {
            let place = "linux.sysctl[\"\(key)\"]"
            // net/ipv4/conf/eth0.100/x keeps its dots; net.ipv4.x is the common form (sysctl(8))
            let slash = key.firstIndex(of: "/")
            let dot = key.firstIndex(of: ".")
            let usesSlashes = slash.map { slash in dot.map { slash < $0 } ?? true } ?? false
            let path = usesSlashes ? key : String(key.map { $0 == "." ? "/" : $0 == "/" ? "." : $0 })
            guard
                !path.split(separator: "/", omittingEmptySubsequences: false).contains(where: {
                    $0 == "" || $0 == "." || $0 == ".."
                })
            else { throw Fault(.invalid, "\(place): this is no name of a kernel parameter") }
            guard let kind = Self.namespace(of: path) else {
                throw Fault(.invalid, "\(place): this parameter is the whole machine's, no namespace has its own")
            }
            guard namespaces.has(kind) else {
                throw Fault(.invalid, "\(place): the container shares the machine's \(Self.name(kind)) namespace")
            }
            settings.append(Setting(key: key, path: "sys/" + path, value: value))
        }
    }

    /// The kind of namespace that a parameter belongs to (ipc_namespaces(7), network_namespaces(7), uts_namespaces(7)).
    private static func namespace(of path: String) -> NamespaceKinds? {
        if path.hasPrefix("net/") { return .network }
        if path.hasPrefix("fs/mqueue/") { return .ipc }
        switch path {
        case "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall", "kernel/shmmax", "kernel/shmmni",
            "kernel/shm_rmid_forced", "kernel/auto_msgmni":
            return .ipc
        case "kernel/domainname", "kernel/hostname": return .uts
        default: return nil
        }
    }

    private static func name(_ kind: NamespaceKinds) -> String {
        switch kind {
        case .network: "network"
        case .ipc: "ipc"
        default: "uts"
        }
    }
}
