import Images
import Linux
import Model
import State

/// `GET /system/df`: what everything takes on the disk.
public struct DiskUsage: Sendable {
    /// Which parts were asked for: `container`, `image`, `volume`, `build-cache`; all where empty.
    public var types: Set<String> = []
    /// Bytes that images take, as du --apparent-size says of their folders.
    public var layersSize: Int64 = 0
    public var images: [Docker.ImageSummary] = []
    public var containers: [Docker.ContainerSummary] = []
    public var volumes: [Docker.Volume] = []
    /// Every path below the data root; nil unless all parts were asked for.
    public var census: StorageCensus?
    public init() {}

    public func has(_ type: String) -> Bool { types.isEmpty || types.contains(type) }
}

extension SystemService {
    /// - Throws: `invalid` in docker's words for a type that there is not.
    public func diskUsage(types: Set<String> = []) async throws -> DiskUsage {
        if let unknown = types.sorted().first(where: { !["container", "image", "volume", "build-cache"].contains($0) }) {
            throw Fault(.invalid, "unknown object type: \(unknown)", subject: unknown)
        }
        var usage = DiskUsage()
        usage.types = types
        if types.isEmpty || types.contains("image") {
            let census = try await core.census()
            if types.isEmpty { usage.census = census }
            usage.layersSize = census.imageBytes
            usage.images = try await images.list(all: true)
            let shared = try core.database.read { try $0.sharedSizes() }
            for index in usage.images.indices {
                guard let id = usage.images[index].id else { continue }
                usage.images[index].sharedSize = Int(shared[id] ?? 0)
            }
        }
        if usage.has("container") {
            var wish = ContainerListOptions()
            wish.all = true
            wish.size = true
            usage.containers = try await containers.list(wish)
        }
        if usage.has("volume") { usage.volumes = try await volumesWithSizes() }
        return usage
    }

    private func volumesWithSizes() async throws -> [Docker.Volume] {
        var result: [Docker.Volume] = []
        for var volume in try await volumes.list().volumes ?? [] {
            let name = volume.name ?? ""
            let folder = core.layout.volumes + "/" + name
            var data = Docker.VolumeUsageData()
            data.size = Int((try? await core.background.run { try Engine.diskUsage(of: folder) }) ?? 0)
            data.refCount = try core.database.read { try $0.users(ofVolume: name).count }
            volume.usageData = data
            result.append(volume)
        }
        return result
    }
}
