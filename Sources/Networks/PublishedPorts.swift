import Model

extension SandboxRecord {
    /// Those that the engine publishes, and no plugin chain. Each binding leads to the endpoint with the default route of its family.
    var publishedPorts: [PublishedPort] {
        if endpoints.contains(where: \.isPublishedByChain) { return [] }
        let (four, six) = (gatewayIPv4 ?? endpoints.first { $0.ipv4 != nil }, gatewayIPv6 ?? endpoints.first { $0.ipv6 != nil })
        return bindings.compactMap { binding in
            if binding.hostAddress.v4 != nil {
                guard let four, let address = four.ipv4?.address else { return nil }
                return PublishedPort(binding: binding, target: .v4(address), network: four.network)
            }
            guard let six, let address = six.ipv6?.address else { return nil }
            return PublishedPort(binding: binding, target: .v6(address), network: six.network)
        }
    }
}

extension SandboxService {
    func portTargets(of record: SandboxRecord) -> PortTargets {
        let (four, six) = (record.gatewayIPv4, record.gatewayIPv6)
        func settings(_ endpoint: EndpointRecord?) -> BridgeSettings? {
            endpoint.flatMap { networks[$0.network]?.bridge }
        }
        return PortTargets(
            v4: four?.ipv4?.address, v6: six?.ipv6?.address, standard4: settings(four)?.hostBindingIPv4,
            standard6: settings(six)?.hostBindingIPv6)
    }
}
