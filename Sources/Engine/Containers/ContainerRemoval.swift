import Linux
import Model
import State

extension Container {
    func remove(_ options: ContainerRemoveOptions) async throws {
        let name = board.snapshot.name
        switch status.phase {
        case .running, .restarting:
            guard options.force else {
                throw Fault(
                    .conflict,
                    "cannot remove container \"/\(name)\": container is \(status.word): "
                        + "stop the container before removing or force remove", subject: name)
            }
        case .paused:
            guard options.force else {
                throw Fault(
                    .conflict, "cannot remove container \"/\(name)\": container is paused and must be unpaused first",
                    subject: name)
            }
        case .created, .exited: break
        }
        // A container that starts meanwhile is killed as well; each turn of the loop has looked again.
        var attempts = 0
        while !removed {
            if status.running != nil {
                let end = board.wait(for: .nextExit)
                if status.running != nil { try await killAndWait(end) }
            }
            await queue.run {
                if await self.status.running == nil { await self.finishRemoval(volumes: options.volumes) }
            }
            attempts += 1
            guard attempts < 100 else { throw Fault(.conflict, "container \(id.short) is started again and again") }
        }
    }

    /// Forgets the container: the record goes and its files are noted for deletion in one transaction. The files follow in the
    /// background, once that transaction is on the disk and the shim has let go of them.
    func finishRemoval(volumes: Bool) async {
        guard !removed else { return }
        cancelRestart()
        let snapshot = board.snapshot
        let layout = core.layout
        let folder = layout.container(id)
        CrashPoint.removeMarked.reach()
        let garbage: [String]
        do {
            garbage = try core.database.write { [id] transaction in
                var garbage = [folder]
                if volumes {
                    for volume in try transaction.volumes(usedBy: id) where volume.anonymous {
                        guard try transaction.users(ofVolume: volume.name) == [id] else { continue }
                        try transaction.delete(volume: volume.name)
                        garbage.append(layout.volumes + "/" + volume.name)
                    }
                }
                try transaction.releaseImages(holder: id)
                try transaction.delete(container: id)
                for path in garbage { try transaction.addGarbage(path) }
                return garbage
            }
        } catch {
            core.log.error("container \(id.short): not removed: \(Fault(error))")
            board.exited()
            return
        }
        removed = true
        waitingClients = []
        core.registry.remove(id, name: snapshot.name)
        core.execs.forget(container: id)
        emit("destroy")
        board.removed()
        CrashPoint.removeCleaned.reach()
        let gone = connection?.gone
        let bundle = layout.shim(id)
        Task { [core, roots] in
            _ = try? await gone?.value(within: .seconds(30))
            try? await roots.vacate(patience: .zero)
            try? await core.database.sync()
            await core.collect([bundle] + garbage)
        }
    }
}

extension EngineCore {
    /// Deletes folders in the background and forgets that they were to be deleted.
    func collect(_ paths: [String]) async {
        for path in paths {
            do {
                try await background.run { try removeTree(path) }
                try database.write { try $0.removeGarbage(path) }
            } catch { log.warning("\(path) was not deleted, it will be tried again at the next start: \(Fault(error))") }
        }
    }
}
