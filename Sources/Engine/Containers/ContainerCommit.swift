import Model

/// What an image that is made from a container says of itself.
package enum ContainerCommit {
    /// What a container of the new image starts with: docker's rules for what the request says and what the container has.
    package static func settings(_ wanted: Docker.ContainerConfig?, own: Docker.ContainerConfig) -> ImageSettings {
        var settings = ImageSettings()
        settings.user = text(wanted?.user) ?? own.user ?? ""
        settings.exposedPorts = Set((own.exposedPorts ?? [:]).keys).union((wanted?.exposedPorts ?? [:]).keys).sorted()
        settings.env = ContainerWishes.merged(own.env ?? [], wanted?.env ?? [])
        let entrypoint = wanted?.entrypoint?.words
        let command = wanted?.cmd?.words ?? []
        if let entrypoint, !entrypoint.isEmpty {
            // The container's own command was meant for another entrypoint.
            settings.entrypoint = entrypoint
            settings.cmd = command.isEmpty ? nil : command
        } else {
            settings.entrypoint = entrypoint ?? own.entrypoint?.words
            settings.cmd = command.isEmpty ? own.cmd?.words : command
        }
        settings.volumes = Set((own.volumes ?? [:]).keys).union((wanted?.volumes ?? [:]).keys).sorted()
        settings.workingDir = text(wanted?.workingDir) ?? own.workingDir ?? ""
        settings.labels = (own.labels ?? [:]).merging(wanted?.labels ?? [:]) { $1 }
        settings.stopSignal = text(wanted?.stopSignal) ?? own.stopSignal ?? ""
        settings.stopTimeout = wanted?.stopTimeout ?? own.stopTimeout
        settings.shell = wanted?.shell ?? own.shell ?? []
        settings.onBuild = wanted?.onBuild ?? []
        settings.healthcheck = (wanted?.healthcheck ?? own.healthcheck).map(check)
        return settings
    }

    private static func text(_ text: String?) -> String? { text.flatMap { $0.isEmpty ? nil : $0 } }

    private static func check(_ config: Docker.HealthConfig) -> ImageHealthcheck {
        var check = ImageHealthcheck()
        check.test = config.test ?? []
        check.interval = Int64(config.interval ?? 0)
        check.timeout = Int64(config.timeout ?? 0)
        check.startPeriod = Int64(config.startPeriod ?? 0)
        check.startInterval = Int64(config.startInterval ?? 0)
        check.retries = config.retries ?? 0
        return check
    }

    /// Where the image comes from, as labels: of which image and container, and at whose wish. When is in its configuration.
    static func origin(_ snapshot: ContainerSnapshot, _ caller: Caller) -> [String: String] {
        var labels = [
            "org.opencontainers.image.base.digest": snapshot.imageID,
            "skiff.commit.container": "\(snapshot.name) \(snapshot.id.text)",
            "skiff.commit.user": "\(caller.uid):\(caller.gid)",
        ]
        let name = snapshot.description.imageName
        if !name.isEmpty, !snapshot.imageID.contains(name) { labels["org.opencontainers.image.base.name"] = name }
        return labels
    }
}
