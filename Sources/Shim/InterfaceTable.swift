import Model

/// What a namespace's /proc/net/dev says of its links (proc_pid_net(5)).
package enum InterfaceTable {
    /// By name, without lo. Lines that are none of a link are left out.
    package static func read(_ bytes: [UInt8]) -> [String: ContainerStats.Interface] {
        var interfaces: [String: ContainerStats.Interface] = [:]
        for line in bytes.split(separator: 0x0A) {
            // A name may have no colon (dev_valid_name of the kernel).
            guard let colon = line.firstIndex(of: 0x3A) else { continue }
            let name = String(decoding: line[..<colon].drop { $0 == 0x20 }, as: UTF8.self)
            let numbers = line[(colon + 1)...].split(separator: 0x20).map { UInt64(String(decoding: $0, as: UTF8.self)) }
            guard numbers.count >= 16, name != "lo", !numbers.contains(nil) else { continue }
            var link = ContainerStats.Interface()
            // Received: bytes, packets, errors, dropped, fifo, frame, compressed, multicast; the same of what was sent.
            func number(_ place: Int) -> UInt64 { numbers[place] ?? 0 }
            (link.receivedBytes, link.receivedPackets) = (number(0), number(1))
            (link.receivedErrors, link.receivedDropped) = (number(2), number(3))
            (link.sentBytes, link.sentPackets) = (number(8), number(9))
            (link.sentErrors, link.sentDropped) = (number(10), number(11))
            interfaces[name] = link
        }
        return interfaces
    }
}
