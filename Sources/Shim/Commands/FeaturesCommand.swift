import JSON
import Linux
import Model
import Runtime

/// `features`: what this runtime can do (features.md).
enum FeaturesCommand {
    static func run(_ arguments: ArraySlice<String>, _ context: CommandContext) throws -> Int32 {
        let options = try CommandOptions(arguments, CommandOptions.Known())
        guard options.operands.isEmpty else { throw UsageFault("features", "\"features\" requires exactly 0 argument(s)") }
        StandardOutput.write(try JSONValue(json: features.json).indented(by: "    ") + "\n")
        return 0
    }

    /// What this kernel lacks, or a filter around this program forbids, shows as `dev.skiff.kernel.missing…` (docs/kernels.md).
    private static var annotations: [String: String] {
        var annotations = ["dev.skiff.runtime.version": RuntimeCommand.version]
        let missing = KernelCalls.missing
        if !missing.replaced.isEmpty {
            annotations["dev.skiff.kernel.missing.replaced"] = missing.replaced.joined(separator: ",")
        }
        if !missing.needed.isEmpty { annotations["dev.skiff.kernel.missing"] = missing.needed.joined(separator: ",") }
        return annotations
    }

    package static var features: OCI.Features {
        let flags: [(OCI.SeccompFlag, UInt32)] = [
            (.tsync, SeccompFilter.synchronizeThreads), (.log, SeccompFilter.log),
            (.specAllow, SeccompFilter.speculationAllowed),
            (.waitKillableRecv, SeccompFilter.waitKillable),
        ]
        let seccomp = OCI.SeccompFeatures(
            enabled: SeccompFilter.isAvailable, actions: OCI.SeccompAction.allCases, operators: OCI.SeccompOperator.allCases,
            archs: [.x86, .x86_64, .x32, .aarch64], knownFlags: OCI.SeccompFlag.allCases,
            supportedFlags: flags.filter { SeccompFilter.supports(flags: $0.1) }.map(\.0))
        let linux = OCI.LinuxFeatures(
            namespaces: OCI.NamespaceType.allCases, capabilities: CapabilityNames.all,
            cgroup: OCI.CgroupFeatures(v1: true, v2: true, systemd: true, systemdUser: false, rdma: true), seccomp: seccomp,
            apparmor: OCI.Feature(enabled: true), selinux: OCI.Feature(enabled: true), intelRdt: OCI.Feature(enabled: false),
            memoryPolicy: OCI.MemoryPolicyFeatures(
                modes: OCI.MemoryPolicyMode.allCases, flags: OCI.MemoryPolicyFlag.allCases),
            mountExtensions: OCI.MountFeatures(idmap: OCI.Feature(enabled: true)), netDevices: OCI.Feature(enabled: true))
        return OCI.Features(
            ociVersionMin: OCI.minimumVersion, ociVersionMax: OCI.version,
            hooks: ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
            mountOptions: MountOptions.known, linux: linux,
            annotations: annotations)
    }
}
