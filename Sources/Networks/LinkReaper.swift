import Linux
import Model

/// Deletes links that nobody needs any more. The kernel takes tens of milliseconds for a bridge, most of them under the lock that
/// every change of links and addresses waits for: it is done one by one, when nobody else wants the lock.
final class LinkReaper: Sendable {
    /// Of links whose names and addresses are free, and which wait for their end ("skgd" as a number). Whoever finds them may
    /// delete them: an engine that starts does.
    static let group: UInt32 = 0x736B_6764

    private let links = NetlinkQueue<Int32>()
    private static let quiet = 300
    private static let pause = 20

    /// For the network namespace of the calling thread.
    init() throws {
        let box = Handover(try NetlinkSocket(.route))
        try startThread { [links] in
            guard let socket = box.take() else { return }
            while let first = links.takeAll() {
                var waiting = first
                var isPatient = true
                while isPatient, !links.isClosed {
                    NetClock.sleep(milliseconds: Self.quiet)
                    let more = links.takeNow()
                    isPatient = !more.isEmpty
                    waiting += more
                }
                for link in waiting {
                    // Gone already is fine; what does not go is taken by the next engine.
                    try? socket.transact([RouteRequest.delete(link: link)])
                    if !links.isClosed { NetClock.sleep(milliseconds: Self.pause) }
                }
            }
        }
    }

    /// Takes name and addresses from a bridge at once, and the bridge itself later. Kernels that do not rename a link which is
    /// up (before 6.2) delete it now.
    static func bury(_ link: LinkInfo, addresses: [(IPAddress, UInt8)], _ socket: NetlinkSocket) throws -> Int32? {
        for case let fault? in try socket.results(
            addresses.map { RouteRequest.remove(address: $0.0, prefix: $0.1, link: link.index) })
        where !fault.isNoSuchEntry { throw fault }
        let name = "gone" + String(UInt32(bitPattern: link.index), radix: 16)
        let renamed = try socket.results([RouteRequest.rename(link: link.index, to: name, group: group)])
        guard let fault = renamed.first ?? nil else { return link.index }
        if fault.isNoSuchDevice { return nil }
        try socket.transact([RouteRequest.delete(link: link.index)])
        return nil
    }

    func delete(_ link: Int32) { links.put(link) }

    func close() { links.close() }
}
