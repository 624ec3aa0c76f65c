import Linux
import Model

/// systemd's manager over D-Bus (org.freedesktop.systemd1(5)): its private socket, else the system bus.
struct SystemdManager {
    private let connection: DBusConnection
    private static let path = "/org/freedesktop/systemd1"
    private static let interface = "org.freedesktop.systemd1.Manager"

    init() throws {
        do {
            if CgroupFile.exists("/run/systemd/private") {
                connection = try DBusConnection(path: "/run/systemd/private", destination: nil)
                return
            }
            guard CgroupFile.exists("/run/dbus/system_bus_socket") else {
                throw Fault(
                    .unsupported, "the systemd cgroup driver needs systemd, which does not run here: leave --systemd-cgroup out"
                )
            }
            connection = try DBusConnection(path: "/run/dbus/system_bus_socket", destination: "org.freedesktop.systemd1")
            let rule = "type='signal',interface='\(Self.interface)',member='JobRemoved'"
            let bus = "org.freedesktop.DBus"
            _ = try connection.call("/org/freedesktop/DBus", bus, "AddMatch", [.string(rule)], destination: bus)
            _ = try connection.call(Self.path, Self.interface, "Subscribe", [])
        } catch let fault as KernelFault {
            throw Fault(.unavailable, "cannot reach systemd for --systemd-cgroup", cause: fault)
        }
    }

    /// Starts a unit and waits until it has.
    func start(_ unit: String, _ properties: [DBusProperty]) throws {
        let arguments: [DBusValue] = [.string(unit), .string("replace"), .properties(properties), .noUnits]
        do { try run("StartTransientUnit", arguments, "start", unit) } catch let refusal as DBusConnection.Refusal {
            // a failed unit of that name from before stands in the way
            guard refusal.name.hasSuffix("UnitExists") else { throw refusal }
            try resetFailed(unit)
            try run("StartTransientUnit", arguments, "start", unit)
        }
    }

    /// Stops a unit and waits; one that is not there is no fault.
    func stop(_ unit: String) throws {
        do { try run("StopUnit", [.string(unit), .string("replace")], "stop", unit) } catch let refusal
            as DBusConnection.Refusal
        {
            guard refusal.name.hasSuffix("NoSuchUnit") else { throw refusal }
        }
        try? resetFailed(unit)
    }

    func set(_ unit: String, _ properties: [DBusProperty]) throws {
        _ = try connection.call(
            Self.path, Self.interface, "SetUnitProperties", [.string(unit), .bool(true), .properties(properties)])
    }

    private func resetFailed(_ unit: String) throws {
        _ = try connection.call(Self.path, Self.interface, "ResetFailedUnit", [.string(unit)])
    }

    private func run(_ method: String, _ arguments: [DBusValue], _ verb: String, _ unit: String) throws {
        let answer = try connection.call(Self.path, Self.interface, method, arguments)
        guard let job = answer.first else { return }
        // JobRemoved(u id, o job, s unit, s result)
        guard let end = try connection.signal("JobRemoved", where: { $0.count == 4 && $0[1] == job }) else {
            throw Fault(.system, "systemd did not \(verb) \(unit) in time", subject: unit)
        }
        guard end[3] == .string("done") else {
            guard case .string(let result) = end[3] else { return }
            throw Fault(.system, "systemd could not \(verb) \(unit): \(result)", subject: unit)
        }
    }
}
