import Model

/// The container's label `dev.skiff.ports.exposure`, by which published ports are taken out of the host's input policy, in a way
/// that every docker client can say: `open` for all of them, or container ports such as `80/tcp,53/udp`.
struct ExposureLabel {
    static let key = "dev.skiff.ports.exposure"

    private var isForAll = false
    private var ports: Set<String> = []

    /// - Throws: `invalid` for a label that is neither; a port that nobody publishes is no fault.
    init(_ labels: [String: String]) throws {
        guard let text = labels[Self.key] else { return }
        switch text {
        case PortExposure.open.rawValue: isForAll = true
        case PortExposure.hostPolicy.rawValue, "": break
        default:
            for word in text.split(separator: ",") {
                let port = try? PortRequest(key: String(word), hostIP: "", hostPort: "")
                guard let port else {
                    throw Fault(
                        .invalid,
                        "label \(Self.key): \"\(word)\" is no container port: say open, host-policy, or ports such as 80/tcp,53/udp",
                        subject: String(word))
                }
                ports.insert("\(port.containerPort)/\(port.proto)")
            }
        }
    }

    func exposure(of request: PortRequest) -> PortExposure {
        isForAll || ports.contains("\(request.containerPort)/\(request.proto)") ? .open : .hostPolicy
    }
}
