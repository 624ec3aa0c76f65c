import Images
import Linux
import Model
import Registry
import State

/// What a check of everything at rest came to.
public struct CheckReport: Sendable {
    public typealias Damage = StoreDamage

    public var blobs = 0
    public var layers = 0
    public var images = 0
    public var containers = 0
    public var volumes = 0
    /// Bytes that were read and hashed.
    public var bytes: Int64 = 0
    public var damages: [StoreDamage] = []
    /// Names of images by id, as people know them.
    public var names: [Digest: String] = [:]

    /// Nothing is damaged, or all of it was mended.
    public var isSound: Bool { damages.allSatisfy { $0.repair != nil } }
}

public enum CheckMessage: Sendable {
    case progress(CheckProgress)
    case report(CheckReport)
}

extension SystemService {
    /// Verifies everything at rest; with `repair` mends what can be mended without asking anybody. The last message is the report.
    /// - Parameter credentials: for contents that are fetched again, by the host of the registry.
    public func check(
        repair: Bool, credentials: [String: RegistryCredential] = [:], caller: Caller
    ) -> PullStream<CheckMessage> {
        let (messages, output) = AsyncThrowingStream.makeStream(
            of: CheckMessage.self, bufferingPolicy: .bufferingNewest(64))
        let task = Task { [core] in
            do {
                let check = SystemCheck(core: core, credentials: credentials) { output.yield(.progress($0)) }
                output.yield(.report(try await check.run(repair: repair)))
                output.finish()
            } catch { output.finish(throwing: error) }
        }
        let reader = CheckReader(messages)
        return PullStream {
            try await withTaskCancellationHandler {
                try await reader.next()
            } onCancel: {
                if !repair { task.cancel() }
            }
        }
    }
}

private actor CheckReader {
    private let messages: AsyncThrowingStream<CheckMessage, any Error>
    init(_ messages: AsyncThrowingStream<CheckMessage, any Error>) { self.messages = messages }
    func next() async throws -> CheckMessage? {
        var iterator = messages.makeAsyncIterator()
        return try await iterator.next(isolation: self)
    }
}

/// One check.
private struct SystemCheck: Sendable {
    let core: EngineCore
    let credentials: [String: RegistryCredential]
    let progress: @Sendable (CheckProgress) -> Void

    func run(repair: Bool) async throws -> CheckReport {
        var report = CheckReport()
        progress(CheckProgress(what: "state file", done: 0, total: 1))
        report.damages += try databaseDamages()
        var store = try await core.images.check(progress: progress)
        if repair {
            store.damages = await core.images.repair(store, refetch: refetch, isBusy: isBusy, progress: progress)
        }
        report.blobs = store.blobs
        report.layers = store.layers
        report.images = store.images
        report.bytes = store.bytes
        report.damages += store.damages
        let rest = try await containersAndVolumes(repair)
        report.containers = rest.containers
        report.volumes = rest.volumes
        report.damages += rest.damages
        report.damages += try await leftovers(repair)
        try name(&report)
        return report
    }

    private var refetch: ImageStore.Refetch {
        { [credentials, registries = core.configuration.registries] repository in
            try RegistrySession(repository, settings: registries, credential: credentials[repository.domain]).fetcher()
        }
    }

    private func databaseDamages() throws -> [StoreDamage] {
        let problems = try core.database.read { try $0.integrityProblems() }
        return problems.map {
            StoreDamage(
                .database, "skiff.db", path: "skiff.db", problem: $0,
                remedy: "stop the engine, keep a copy of skiff.db, and restore it from a backup or with sqlite3's .recover")
        }
    }

    /// The name of a running container that needs one of the images.
    @Sendable private func isBusy(_ images: [Digest]) -> String? {
        let wanted = Set(images.map(\.description))
        let busy = core.registry.all.map(\.snapshot).first { wanted.contains($0.imageID) && $0.status.running != nil }
        return busy?.name
    }

    // MARK: Containers and volumes

    private struct Rest {
        var containers = 0
        var volumes = 0
        var damages: [StoreDamage] = []
    }

    private func containersAndVolumes(_ repair: Bool) async throws -> Rest {
        var rest = Rest()
        let (containers, volumes) = try core.database.read { (try $0.containers(), try $0.volumes()) }
        rest.containers = containers.count
        rest.volumes = volumes.count
        for container in containers where !container.removing {
            guard let id = Digest(container.imageID), (try? core.images.image(id)) == nil else { continue }
            // Removed meanwhile
            guard try core.database.read({ try $0.containers() }).contains(where: { $0.id == container.id }) else { continue }
            var damage = StoreDamage(
                .container, container.name, problem: "its image \(id.short) is not in the store",
                remedy: "pull or load the image again; or save what it has written: containers/\(container.id.text)/upper")
            damage.containers = [container.name]
            rest.damages.append(damage)
        }
        for volume in volumes {
            let folder = core.layout.volumes + "/" + volume.name + "/_data"
            guard (try? Descriptor.open(folder, .path)) == nil else { continue }
            guard try core.database.read({ try $0.volume(volume.name) }) != nil else { continue }
            // Never filled: an engine that was killed had not made it yet.
            if !volume.populated, try core.database.read({ try $0.users(ofVolume: volume.name) }).isEmpty {
                try await core.background.run { try VolumeService.makeFolder(folder) }
                continue
            }
            if !volume.populated { continue }
            var damage = StoreDamage(
                .volume, volume.name, path: "volumes/\(volume.name)/_data", problem: "its folder is missing",
                remedy: "restore the folder from a backup, or remove the volume")
            damage.containers = try core.database.read { transaction in
                let users = Set(try transaction.users(ofVolume: volume.name))
                return containers.filter { users.contains($0.id) }.map(\.name)
            }
            rest.damages.append(damage)
        }
        return rest
    }

    // MARK: What no record names

    private func leftovers(_ repair: Bool) async throws -> [StoreDamage] {
        progress(CheckProgress(what: "paths without a record", done: 0, total: 1))
        let unaccounted = try await core.census().unaccounted
        if unaccounted.isEmpty { return [] }
        var removed: Set<String> = []
        if repair {
            removed = Set(try await core.images.removeLeftovers(unaccounted).map(\.path))
            for item in unaccounted {
                let parts = item.path.split(separator: "/").map(String.init)
                // A container's folder has its id as name. Whoever makes one has a record before.
                guard parts.count == 2, parts[0] == "containers", let id = ObjectID(parts[1]),
                    core.registry.container(id) == nil
                else { continue }
                let path = core.layout.dataRoot + "/" + item.path
                if (try? await core.background.run { try removeTree(path) }) != nil { removed.insert(item.path) }
            }
        }
        return unaccounted.map { item in
            var damage = StoreDamage(
                .unaccounted, item.path, path: item.path,
                problem: "no record names it (\(item.files) files, \(item.bytes) bytes)",
                remedy: Self.remedy(item))
            if removed.contains(item.path) { damage.repair = "removed" }
            return damage
        }
    }

    private static func remedy(_ item: StoredItem) -> String {
        if item.path.hasPrefix("volumes/") {
            return "nobody knows whose it is: move it away, or make a volume of that name around it (skiff volume create)"
        }
        let name = item.path.split(separator: "/").last ?? ""
        let isNamedByUs = name.utf8.count >= 64 || item.path.hasPrefix("tmp/image-")
        let isOurs =
            isNamedByUs && ["blobs/", "layers/", "chains/", "tmp/", "containers/"].contains { item.path.hasPrefix($0) }
        return isOurs ? "--repair removes it" : "it is not the engine's: move it away"
    }

    // MARK: Names for people

    /// Containers by their images, and images by their names.
    private func name(_ report: inout CheckReport) throws {
        let snapshots = core.registry.all.map(\.snapshot)
        for index in report.damages.indices {
            let images = report.damages[index].images
            for id in images {
                let record = try? core.images.image(id)
                report.names[id] = record?.repoTags.first ?? record?.repoDigests.first ?? id.short
            }
            let ids = Set(images.map(\.description))
            let users = snapshots.filter { ids.contains($0.imageID) }.map(\.name)
            report.damages[index].containers = Set(report.damages[index].containers + users).sorted()
        }
    }
}
