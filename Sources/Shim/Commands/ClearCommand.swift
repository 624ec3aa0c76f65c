import Linux
import Model
import Runtime

/// `skiff-runtime clear-shim --id ID --cgroup PATH`: ends and removes what a killed shim left of its container. Namespaces
/// and mounts go with the last process. Repeatable; nothing there is fine.
enum ClearCommand {
    static func run(_ arguments: [String]) -> Int32 {
        do {
            var options: [String: String] = [:]
            var rest = arguments[...]
            while let name = rest.popFirst() {
                guard ["--id", "--cgroup"].contains(name), let value = rest.popFirst() else {
                    throw Fault(.invalid, "clear-shim needs --id ID and --cgroup PATH")
                }
                options[name] = value
            }
            guard let id = options["--id"].flatMap({ ObjectID($0) }), let path = options["--cgroup"], path.hasSuffix(id.text)
            else { throw Fault(.invalid, "clear-shim needs --id ID and --cgroup PATH, and the path ends with the id") }
            let cgroup = try Cgroup.locate(path: path, id: id.text, layout: try CgroupLayout.detect())
            try? cgroup.thaw()
            try cgroup.killAll()
            try cgroup.remove()
            return 0
        } catch {
            try? Files.write(2, Array("skiff-runtime: \(Fault(error))\n".utf8))
            return 1
        }
    }
}
