import Linux
import Model

/// From the runtime's rights to those of the configured process (capabilities(7), "Capabilities and execve").
struct Privileges {
    private var final = CapabilitySets(effective: 0, permitted: 0, inheritable: 0)
    private var ambient: UInt64 = 0

    /// Takes everything away that the process must not have, but for CAP_SYS_ADMIN when a seccomp filter must still be
    /// installed without no_new_privs. What cannot be granted is told to `warn`.
    mutating func drop(_ process: ProcessPlan, keepsAdmin: Bool, warn: (String) -> Void) throws {
        let plan = process.capabilities
        let own = try CapabilitySets.current().permitted
        for name in plan.unknown { warn("process.capabilities: \(name) is no capability") }
        let missing = (plan.permitted | plan.effective | plan.bounding | plan.ambient) & ~own
        if missing != 0 {
            warn(
                "process.capabilities: \(CapabilityNames.names(missing)) cannot be granted: the runtime does not have it itself"
            )
        }
        try narrowBoundingSet(to: plan.bounding, own)
        final.permitted = plan.permitted & own
        final.effective = plan.effective & final.permitted
        final.inheritable = plan.inheritable & own
        ambient = plan.ambient & final.permitted & final.inheritable
        // What is in the ambient set alone is passed over in silence, as by runc: `runc spec` itself writes such sets.
        try Identity.keepCapabilities(true)
        try becomeUser(process.user)
        try Identity.keepCapabilities(false)
        var now = final
        if keepsAdmin {
            let admin = UInt64(1) << UInt64(CapabilityNames.sysAdmin) & own
            now.effective |= admin
            now.permitted |= admin
        }
        try now.apply()
        if !keepsAdmin { try raiseAmbient() }
    }

    /// After the filter is in place: the rest goes as well.
    func dropAdmin() throws {
        try final.apply()
        try raiseAmbient()
    }

    private func raiseAmbient() throws {
        if ambient == 0 { return }
        for number in CapabilityNames.all.indices where ambient & (1 << UInt64(number)) != 0 {
            try Identity.raiseAmbient(number)
        }
    }

    private func narrowBoundingSet(to bounding: UInt64, _ own: UInt64) throws {
        var number = 0
        // Beyond the names known here as well: a capability newer than this runtime is dropped too.
        while number < 64 {
            defer { number += 1 }
            if bounding & (1 << UInt64(number)) != 0 { continue }
            if number >= CapabilityNames.all.count, Identity.boundingSetHas(number) == nil { return }
            do { try Identity.dropFromBoundingSet(number) } catch let fault as KernelFault {
                if fault.isInvalid { return }
                // Without CAP_SETPCAP the set cannot shrink; what is not in it needs not to.
                guard Identity.boundingSetHas(number) == false else { throw fault }
            }
        }
    }

    private func becomeUser(_ user: OCI.User) throws {
        do {
            do { try Identity.setGroups(user.additionalGids) } catch let fault as KernelFault
                where fault.isNotPermitted && user.additionalGids.isEmpty
            {
                // A user namespace whose setgroups is denied (user_namespaces(7)): there are none to take away.
            }
            try Identity.setGroup(user.gid)
            try Identity.setUser(user.uid)
        } catch let fault as KernelFault {
            throw Fault(.invalid, "process.user: cannot become user \(user.uid), group \(user.gid)", cause: fault)
        }
    }
}
