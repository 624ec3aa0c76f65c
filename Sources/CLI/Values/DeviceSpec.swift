import Model

/// Devices, their rates and weights, and resource limits of processes.
package enum DeviceSpec {
    /// `/dev/a[:/dev/b][:rwm]`
    package static func parse(_ text: String) throws -> Docker.DeviceMapping {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let fault = FlagFault("invalid device specification: \(text)")
        guard !text.isEmpty, parts.count <= 3, !parts[0].isEmpty else { throw fault }
        var mapping = Docker.DeviceMapping()
        mapping.pathOnHost = parts[0]
        mapping.pathInContainer = parts[0]
        mapping.cgroupPermissions = "rwm"
        if parts.count == 2 {
            if isMode(parts[1]) { mapping.cgroupPermissions = parts[1] } else { mapping.pathInContainer = parts[1] }
        } else if parts.count == 3 {
            mapping.pathInContainer = parts[1]
            guard isMode(parts[2]) else { throw FlagFault("bad mode specified: \(parts[2])") }
            mapping.cgroupPermissions = parts[2]
        }
        if mapping.pathInContainer?.isEmpty == true { mapping.pathInContainer = parts[0] }
        return mapping
    }

    private static func isMode(_ text: String) -> Bool {
        !text.isEmpty && text.allSatisfy { "rwm".contains($0) } && Set(text).count == text.count
    }

    /// `c 1:3 rwm`
    package static func rule(_ text: String) throws -> String {
        let parts = text.split(separator: " ", omittingEmptySubsequences: false)
        let numbers = parts.count == 3 ? parts[1].split(separator: ":", omittingEmptySubsequences: false) : []
        guard parts.count == 3, ["a", "b", "c"].contains(parts[0]), numbers.count == 2,
            numbers.allSatisfy({ $0 == "*" || (!$0.isEmpty && $0.allSatisfy { $0.isASCII && $0.isNumber }) }),
            (1...3).contains(parts[2].count),
            parts[2].allSatisfy({ "rwm".contains($0) })
        else { throw FlagFault("invalid device cgroup format '\(text)'") }
        return text
    }

    private static func path(_ text: String) throws -> (String, String) {
        guard let (path, value) = GoText.cut(text, ":"), !value.contains(":"), !path.isEmpty else {
            throw FlagFault("bad format: \(text)")
        }
        guard path.hasPrefix("/dev/") else { throw FlagFault("bad format for device path: \(text)") }
        return (path, value)
    }

    package static func bytesRate(_ text: String) throws -> Docker.ThrottleDevice {
        let (path, value) = try path(text)
        guard let rate = try? ByteSize.parse(value), rate >= 0 else {
            throw FlagFault(
                "invalid rate for device: \(text). The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
            )
        }
        return throttle(path, rate)
    }

    package static func countRate(_ text: String) throws -> Docker.ThrottleDevice {
        let (path, value) = try path(text)
        guard let rate = Int(value), rate >= 0 else {
            throw FlagFault(
                "invalid rate for device: \(text). The correct format is <device-path>:<number>. Number must be a positive integer"
            )
        }
        return throttle(path, rate)
    }

    private static func throttle(_ path: String, _ rate: Int) -> Docker.ThrottleDevice {
        var device = Docker.ThrottleDevice()
        device.path = path
        device.rate = rate
        return device
    }

    package static func weight(_ text: String) throws -> Docker.WeightDevice {
        let (path, value) = try path(text)
        guard let weight = Int(value), weight == 0 || (10...1000).contains(weight) else {
            throw FlagFault("invalid weight for device: \(text)")
        }
        var device = Docker.WeightDevice()
        device.path = path
        device.weight = weight
        return device
    }
}

/// `nofile=1024:2048` (go-units' ParseUlimit).
package enum UlimitSpec {
    private static let names = [
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
        "sigpending", "stack",
    ]

    package static func parse(_ text: String) throws -> Docker.Ulimit {
        guard let (name, value) = GoText.cut(text, "=") else { throw FlagFault("invalid ulimit argument: \(text)") }
        guard names.contains(name) else { throw FlagFault("invalid ulimit type: \(name)") }
        let parts = value.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2 else {
            throw FlagFault("too many limit value arguments - \(value), can only have up to two, `soft[:hard]`")
        }
        func number(_ text: String) throws -> Int {
            guard let number = Int(text) else {
                throw FlagFault("strconv.ParseInt: parsing \(GoText.quote(text)): invalid syntax")
            }
            return number
        }
        let soft = try number(parts[0])
        let hard = parts.count == 2 ? try number(parts[1]) : soft
        guard hard == -1 || (soft != -1 && soft <= hard) else {
            throw FlagFault("ulimit soft limit must be less than or equal to hard limit: \(soft) > \(hard)")
        }
        var limit = Docker.Ulimit()
        limit.name = name
        limit.soft = soft
        limit.hard = hard
        return limit
    }
}
