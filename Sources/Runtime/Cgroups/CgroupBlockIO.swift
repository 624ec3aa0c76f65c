import Linux
import Model

extension CgroupLimits {
    func applyBlockIO(_ block: OCI.BlockIO) throws {
        guard let field = Self.firstField(block) else { return }
        if let entry = cgroup.entry(with: "blkio") { return try applyLegacyBlockIO(block, entry) }
        try applyUnifiedBlockIO(block, try entry("io", field))
    }

    /// The first thing that is asked for.
    private static func firstField(_ block: OCI.BlockIO) -> String? {
        let asked: [(isSet: Bool, field: String)] = [
            ((block.weight ?? 0) != 0, "weight"), ((block.leafWeight ?? 0) != 0, "leafWeight"),
            (!block.weightDevice.isEmpty, "weightDevice"), (!block.throttleReadBpsDevice.isEmpty, "throttleReadBpsDevice"),
            (!block.throttleWriteBpsDevice.isEmpty, "throttleWriteBpsDevice"),
            (!block.throttleReadIOPSDevice.isEmpty, "throttleReadIOPSDevice"),
            (!block.throttleWriteIOPSDevice.isEmpty, "throttleWriteIOPSDevice"),
        ]
        return asked.first { $0.isSet }.map { "blockIO." + $0.field }
    }

    private func checkWeight(_ weight: UInt16, _ field: String) throws {
        guard (10...1000).contains(weight) else {
            let field = "linux.resources." + field
            throw Fault(.invalid, "\(field): \(weight) is not from 10 to 1000", subject: field)
        }
    }

    // MARK: v1

    private func applyLegacyBlockIO(_ block: OCI.BlockIO, _ entry: CgroupRecord.Entry) throws {
        // CFQ's names until 5.0, BFQ's since; neither without its scheduler
        let weightFile = has(entry, "blkio.weight") ? "blkio.weight" : "blkio.bfq.weight"
        let deviceFile = has(entry, "blkio.weight_device") ? "blkio.weight_device" : "blkio.bfq.weight_device"
        if let weight = block.weight, weight != 0 {
            try checkWeight(weight, "blockIO.weight")
            try write(entry, weightFile, String(weight), "blockIO.weight")
        }
        if let weight = block.leafWeight, weight != 0 {
            try write(entry, "blkio.leaf_weight", String(weight), "blockIO.leafWeight")
        }
        for (index, device) in block.weightDevice.enumerated() {
            let field = "blockIO.weightDevice[\(index)]"
            if let weight = device.weight, weight != 0 {
                try write(entry, deviceFile, "\(device.major):\(device.minor) \(weight)", field)
            }
            if let weight = device.leafWeight, weight != 0 {
                try write(entry, "blkio.leaf_weight_device", "\(device.major):\(device.minor) \(weight)", field)
            }
        }
        try throttle(block.throttleReadBpsDevice, entry, "blkio.throttle.read_bps_device", "throttleReadBpsDevice")
        try throttle(block.throttleWriteBpsDevice, entry, "blkio.throttle.write_bps_device", "throttleWriteBpsDevice")
        try throttle(block.throttleReadIOPSDevice, entry, "blkio.throttle.read_iops_device", "throttleReadIOPSDevice")
        try throttle(block.throttleWriteIOPSDevice, entry, "blkio.throttle.write_iops_device", "throttleWriteIOPSDevice")
    }

    private func throttle(_ rates: [OCI.BlockIOThrottle], _ entry: CgroupRecord.Entry, _ file: String, _ field: String) throws {
        for (index, rate) in rates.enumerated() {
            try write(entry, file, "\(rate.major):\(rate.minor) \(rate.rate)", "blockIO.\(field)[\(index)]")
        }
    }

    // MARK: v2

    private func applyUnifiedBlockIO(_ block: OCI.BlockIO, _ entry: CgroupRecord.Entry) throws {
        if (block.leafWeight ?? 0) != 0 { throw noLeafWeight("blockIO.leafWeight") }
        if let weight = block.weight, weight != 0 {
            try checkWeight(weight, "blockIO.weight")
            try writeWeight("", weight, entry, "blockIO.weight")
        }
        for (index, device) in block.weightDevice.enumerated() {
            let field = "blockIO.weightDevice[\(index)]"
            if (device.leafWeight ?? 0) != 0 { throw noLeafWeight(field + ".leafWeight") }
            if let weight = device.weight, weight != 0 {
                try writeWeight("\(device.major):\(device.minor) ", weight, entry, field)
            }
        }
        let throttles: [(rates: [OCI.BlockIOThrottle], key: String, field: String)] = [
            (block.throttleReadBpsDevice, "rbps", "throttleReadBpsDevice"),
            (block.throttleWriteBpsDevice, "wbps", "throttleWriteBpsDevice"),
            (block.throttleReadIOPSDevice, "riops", "throttleReadIOPSDevice"),
            (block.throttleWriteIOPSDevice, "wiops", "throttleWriteIOPSDevice"),
        ]
        for (rates, key, field) in throttles {
            for (index, rate) in rates.enumerated() {
                // 0 takes the limit away, as it does in v1
                let value = rate.rate == 0 ? "max" : String(rate.rate)
                try write(entry, "io.max", "\(rate.major):\(rate.minor) \(key)=\(value)", "blockIO.\(field)[\(index)]")
            }
        }
    }

    /// BFQ's own file takes the weight as it is; io.weight, of io.cost, has a wider range.
    private func writeWeight(_ device: String, _ weight: UInt16, _ entry: CgroupRecord.Entry, _ field: String) throws {
        if has(entry, "io.bfq.weight") {
            try write(entry, "io.bfq.weight", device + String(weight), field)
        } else {
            try write(entry, "io.weight", device + String(CgroupConversion.ioWeight(blkioWeight: weight)), field)
        }
    }

    private func noLeafWeight(_ field: String) -> Fault {
        let field = "linux.resources." + field
        return Fault(.unsupported, "\(field): cgroup v2 has no leaf weights", subject: field)
    }
}
