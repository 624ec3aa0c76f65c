import Model

/// What a container gets of another one's mounts by `--volumes-from NAME[:MODE]`: its binds, its volumes and what `--mount` made for it.
struct InheritedMounts: Sendable {
    let mounts: [ContainerMount]

    /// - Throws: `invalid` in docker's words for a mode that is none of its; what `find` throws for an unknown container.
    init(_ text: String, find: (String) throws -> Container) throws {
        guard !text.isEmpty else { throw Fault(.invalid, "volumes-from specification cannot be an empty string") }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let modes = (parts.count > 1 ? parts[1] : "rw").split(separator: ",", omittingEmptySubsequences: false)
        // Propagation and copying are the other container's affair.
        guard modes.allSatisfy({ ["ro", "rw", "z", "Z"].contains($0) }) else {
            throw Fault(.invalid, "invalid mode: \(parts[1])", subject: text)
        }
        let description: ContainerDescription
        do { description = try find(parts[0]).snapshot.description } catch let fault as Fault {
            throw Fault(.invalid, fault.message, subject: parts[0])
        }
        mounts = description.mounts.filter { $0.kind != .tmpfs || $0.fromMounts }.map { mount in
            var mount = mount
            mount.readOnly = mount.readOnly || modes.contains("ro")
            mount.noCopy = true
            mount.mode = ""
            return mount
        }
    }
}
