import Linux
import Model

extension Cgroup {
    /// Changes the limits of a container's cgroup (`update`): what is absent in `resources`, or zero, stays as it is. Devices
    /// are changed only when rules are given.
    ///
    /// A limit that this machine cannot keep is a fault that names its JSON path; those before it may have been set.
    public func apply(_ resources: OCI.Resources) throws {
        if !resources.devices.isEmpty { try applyDevices(resources.devices, isNew: false) }
        try applyLimits(resources)
    }

    func applyLimits(_ resources: OCI.Resources) throws {}
    func applyDevices(_ rules: [OCI.DeviceRule], isNew: Bool) throws {}
}
