import Linux
import Model

/// A short-lived process that enters the namespaces which count for children only, or which must be entered with rights that
/// the init will not have, and then clones the init as its sibling.
struct BetweenProcess {
    let plan: ContainerPlan
    let channel: InitChannel

    func run(_ cloneInit: (NamespaceKinds) throws -> CInt) -> Never {
        do {
            try Identity.setDumpable(false)
            let namespaces = plan.namespaces
            // With the runtime's own rights first; those that belong to the user namespace to be joined after it.
            var later: [NamespacePlan.Joined] = []
            for joined in namespaces.joined where joined.kind != .user && joined.kind != .mount {
                do { try join(joined) } catch let fault as Fault {
                    guard namespaces.joins(.user) else { throw fault }
                    later.append(joined)
                }
            }
            for joined in namespaces.joined where joined.kind == .user { try join(joined) }
            var new = namespaces.new.subtracting(.cgroup)
            if new.contains(.user) {
                try Processes.unshare(.user)
                new.remove(.user)
                try channel.send(InitMessage.hooks)
                channel.expect(InitMessage.proceed)
            }
            if namespaces.has(.user) {
                try Identity.setGroup(0)
                try Identity.setUser(0)
            }
            for joined in later { try join(joined) }
            if let offsets = plan.timeOffsets {
                try Processes.unshare(.time)
                new.remove(.time)
                // Not dumpable, /proc/self/timens_offsets would belong to the machine's root.
                try Identity.setDumpable(true)
                do { try Files.put(offsets, "/proc/self/timens_offsets") } catch let fault as KernelFault {
                    throw Fault(.invalid, "linux.timeOffsets: the kernel refuses them", cause: fault)
                }
                try Identity.setDumpable(false)
            }
            let pid = try cloneInit(new)
            try channel.send(InitMessage.cloned, String(pid))
            Processes.exitNow(0)
        } catch { channel.fail(error) }
    }

    private func join(_ joined: NamespacePlan.Joined) throws {
        do { try Processes.join(joined.descriptor.raw, joined.kind) } catch let fault as KernelFault {
            throw Fault(.system, "linux.namespaces: cannot join", cause: fault)
        }
    }
}
