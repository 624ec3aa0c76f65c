import Model

/// The filter of a container that does not say otherwise.
enum DefaultSeccomp {
    static func profile(for description: ContainerDescription) -> OCI.Seccomp? { nil }
}
