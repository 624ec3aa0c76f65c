import Archive
import Linux
import Model

/// `PUT /containers/{id}/archive`
public struct ExtractOptions: Sendable {
    /// A folder is not replaced by something else, nor something else by a folder.
    public var keepsKinds = false
    /// Files belong to the container's user instead of whom the archive names.
    public var ownedByUser = false
    public init() {}
}

extension ContainerService {
    /// What stands at a path of the container, running or not.
    /// - Throws: `notFound` (`Could not find the file x in container y`).
    public func pathStat(_ reference: String, _ path: String) async throws -> PathStat {
        let container = try core.registry.resolve(reference)
        let lease = try await container.openRoot(mounts: true)
        defer { lease.end() }
        let tree = ContainerTree(container: reference)
        return try await core.pool.run {
            let root = try lease.root()
            return try root.borrow { try tree.stat(path, shown: path, in: $0) }
        }
    }

    /// A path of the container as a tar, and what stands there.
    public func archive(_ reference: String, _ path: String) async throws -> (PathStat, PullStream<[UInt8]>) {
        let container = try core.registry.resolve(reference)
        let lease = try await container.openRoot(mounts: true)
        let tree = ContainerTree(container: reference)
        let full = CopyPath.keepingEnd(CopyPath.join("/", path), of: path)
        let stat: PathStat
        do {
            stat = try await core.pool.run {
                let root = try lease.root()
                return try root.borrow { try tree.stat(full, shown: path, in: $0) }
            }
        } catch {
            lease.end()
            throw error
        }
        let outlet = try lease.stream { try tree.archive(full, isFolder: stat.isFolder, in: $0, to: $1) }
        container.tell("archive-path")
        return (stat, outlet.stream)
    }

    /// Unpacks a tar, compressed or not, into a folder of the container. Success means that it has been read to its end.
    public func extract(
        _ reference: String, _ path: String, _ options: ExtractOptions, _ body: @escaping RequestBody, caller: Caller
    )
        async throws
    {
        let container = try core.registry.resolve(reference)
        let lease = try await container.openRoot(mounts: true)
        defer { lease.end() }
        var rules = ExtractionRules()
        rules.keepsKinds = options.keepsKinds
        if options.ownedByUser { rules.owner = try await container.ownerOfCopies() }
        let tree = ContainerTree(container: reference)
        let source = ByteStream()
        let pump = Task {
            do {
                while let chunk = try await body() { try await source.send(chunk) }
                source.finish()
            } catch { source.fail(error) }
        }
        lease.whenRevoked { source.fail(RootLease.revoked) }
        let done = Promise<Void>()
        let wish = rules
        let mounts = container.snapshot.description.mounts.map { CopyPath.clean($0.destination) }
        try startThread(stackSize: 1 << 20) {
            done.resolve(
                Result {
                    let root = try lease.root()
                    try root.borrow { try tree.extract(source, into: path, wish, mounts, in: $0) }
                })
            source.abandon()
        }
        do { try await done.settled() } catch {
            pump.cancel()
            throw error
        }
        container.tell("extract-to-dir")
    }
}

extension RootLease {
    /// Lets a thread of its own write, and gives out what it writes. The lease ends with the thread.
    func stream(_ write: @escaping @Sendable (borrowing Descriptor, ByteOutlet) throws -> Void) throws -> ByteOutlet {
        let outlet = ByteOutlet()
        whenRevoked { outlet.revoke(Self.revoked) }
        do {
            try startThread(stackSize: 4 << 20) { [self] in
                var fault: (any Error)?
                do {
                    let root = try self.root()
                    try root.borrow { try write($0, outlet) }
                } catch { fault = error }
                // Before the reader learns of the end: what it does next finds the root free.
                end()
                if let fault { outlet.fail(fault) } else { outlet.finish() }
            }
        } catch {
            end()
            throw error
        }
        return outlet
    }
}

extension Container {
    nonisolated func tell(_ action: String) { Task { await emit(action) } }

    /// The container's user, for `cp -a`.
    fileprivate func ownerOfCopies() async throws -> ExtractionRules.Owner {
        let snapshot = board.snapshot
        let user = snapshot.description.config.user ?? ""
        guard !user.isEmpty, let digest = Digest(snapshot.imageID) else { return .asArchived }
        let image = try core.images.image(digest)
        let upper = core.writableFolder(id)
        return try await core.pool.run { [core] in
            let accounts = try core.accounts.accounts(image: snapshot.imageID, layers: image.layers, upper: upper)
            let account = try accounts.account(user, groupAdd: [])
            return .fixed(uid: account.uid, gid: account.gid)
        }
    }
}
