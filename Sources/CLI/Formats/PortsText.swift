import Model

/// The ports of a container in one line: `0.0.0.0:8080->80/tcp, 443/tcp`; neighbours become ranges.
package enum PortsText {
    private struct Run {
        var address: String
        var type: String
        var privateLow: Int
        var privateHigh: Int
        var publicLow: Int
        var publicHigh: Int

        var text: String {
            let inside = privateLow == privateHigh ? "\(privateLow)" : "\(privateLow)-\(privateHigh)"
            guard publicLow > 0 else { return "\(inside)/\(type)" }
            let outside = publicLow == publicHigh ? "\(publicLow)" : "\(publicLow)-\(publicHigh)"
            let host = address.contains(":") ? "[\(address)]" : address
            return "\(host):\(outside)->\(inside)/\(type)"
        }
    }

    package static func text(_ ports: [Docker.PortSummary]) -> String {
        let sorted = ports.sorted { left, right in
            let a = (left.privatePort ?? 0, left.ip ?? "", left.publicPort ?? 0, left.type ?? "")
            let b = (right.privatePort ?? 0, right.ip ?? "", right.publicPort ?? 0, right.type ?? "")
            return a < b
        }
        var runs: [Run] = []
        for port in sorted {
            let inside = port.privatePort ?? 0
            let outside = port.publicPort ?? 0
            let next = runs.lastIndex { run in
                run.address == port.ip ?? "" && run.type == port.type ?? "tcp" && run.privateHigh + 1 == inside
                    && (outside == 0 ? run.publicLow == 0 : run.publicLow > 0 && run.publicHigh + 1 == outside)
                    && (outside == 0 || (inside == outside && run.privateLow == run.publicLow))
            }
            if let next {
                runs[next].privateHigh = inside
                runs[next].publicHigh = outside
            } else {
                runs.append(
                    Run(
                        address: port.ip ?? "", type: port.type ?? "tcp", privateLow: inside, privateHigh: inside,
                        publicLow: outside, publicHigh: outside))
            }
        }
        return runs.map(\.text).joined(separator: ", ")
    }
}
