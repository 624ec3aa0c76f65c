import Model

/// What AppArmor is good for on this machine.
package enum AppArmorStanding: Sendable, Equatable {
    /// The kernel has none, or it is switched off.
    case absent
    /// The default profile is loaded.
    case ready
    /// The default profile cannot be had, for this reason: containers run without, unless they name one of their own.
    case unusable(String)

    /// The profile of a container's processes; nil for none. What is named counts first, a privileged container has none.
    package func profile(_ options: SecurityOptions, privileged: Bool) -> String? {
        if let named = options.apparmor, !named.isEmpty { return named == "unconfined" ? nil : named }
        return self == .ready && !privileged ? DefaultAppArmor.name : nil
    }

    /// What `inspect` shows: nothing where there is no AppArmor, as in docker.
    package func shown(_ options: SecurityOptions, privileged: Bool) -> String {
        self == .absent ? "" : profile(options, privileged: privileged) ?? "unconfined"
    }

    /// One line for the log and for `info`.
    package var warning: String? {
        guard case .unusable(let reason) = self else { return nil }
        return "containers run without AppArmor's default profile \(DefaultAppArmor.name): \(reason)"
    }
}
