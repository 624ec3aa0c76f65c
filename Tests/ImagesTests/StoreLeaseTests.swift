import Archive
import Images
import Linux
import Model
import State
import TestSupport
import Testing

@Suite struct StoreLeaseTests {
    /// Takes the first bytes and then waits until it is told to go on.
    private final class HaltingSink: ByteSink, Sendable {
        struct State {
            var bytes: [UInt8] = []
            var begun = false
            var released = false
        }
        let state = Monitor(State())

        func write(_ more: UnsafeRawBufferPointer) throws {
            state.update { state in
                state.begun = true
                state.bytes.append(contentsOf: more)
            }
            state.wait { $0.released ? () : nil }
        }
    }

    /// The same for what is read.
    private final class HaltingSource: ByteSource, Sendable {
        struct State {
            var rest: [UInt8]
            /// Bytes after which it waits.
            var left: Int
            var waits = false
            var released = false
        }
        let state: Monitor<State>

        init(_ bytes: [UInt8], after count: Int) { state = Monitor(State(rest: bytes, left: count)) }

        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            if state.update({ state in
                state.waits = state.left == 0 && !state.released
                return state.waits
            }) {
                state.wait { $0.released ? () : nil }
            }
            return state.update { state in
                let most = state.released ? state.rest.count : min(state.left, state.rest.count)
                let count = min(buffer.count, most)
                buffer.copyBytes(from: state.rest[..<count])
                state.rest.removeFirst(count)
                if !state.released { state.left -= count }
                return count
            }
        }

        func abandon() { state.update { $0.released = true } }
    }

    private func leases(_ fixture: ImageStoreFixture) throws -> Int { try fixture.database.read { try $0.leases().count } }

    @Test func anImageRemovedWhileItIsSavedIsSavedWhole() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await fixture.importImage("a:1", [("etc/hello", "world")])
        let sink = HaltingSink()
        let store = fixture.store
        async let saving: Void = store.save(["a:1"], to: sink)
        while !sink.state.update({ $0.begun }) { try await Task.sleep(for: .milliseconds(2)) }
        _ = try await fixture.store.remove("a:1", force: true, prune: true, caller: fixture.caller) { _ in false }
        #expect(throws: Fault.self) { try fixture.store.image(image.id) }
        #expect(try leases(fixture) == 1)
        #expect(try await fixture.files().contains { $0.hasPrefix("layers/") })
        sink.state.update { $0.released = true }
        try await saving
        // What only the lease held is gone, and what was saved is the image.
        #expect(try await fixture.files().isEmpty)
        #expect(try leases(fixture) == 0)
        let loaded = try await fixture.store.load(MemorySource(sink.state.update { $0.bytes }), caller: fixture.caller)
        #expect(loaded.map(\.id) == [image.id])
    }

    @Test func aLayerThatALoadFoundStaysUntilTheImageHasIt() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await fixture.importImage("a:1", [("etc/hello", "world")])
        let archive = try await fixture.save("a:1")
        // The layer comes first, the documents after it: it waits in between.
        let source = HaltingSource(archive, after: archive.count - 4096)
        let (store, caller) = (fixture.store, fixture.caller)
        async let loading = store.load(source, caller: caller)
        while !source.state.update({ $0.waits }) { try await Task.sleep(for: .milliseconds(2)) }
        _ = try await fixture.store.remove("a:1", force: true, prune: true, caller: fixture.caller) { _ in false }
        source.state.update { $0.released = true }
        #expect(try await loading.map(\.id) == [image.id])
        _ = try await fixture.save("a:1")
        #expect(try leases(fixture) == 0)
    }

    @Test func leasesOfADeadEngineEndAtTheNextStart() async throws {
        let fixture = try ImageStoreFixture()
        let image = try await fixture.importImage("a:1")
        try fixture.database.write { transaction in
            let lease = LeaseRow(id: .random(), incarnation: .random(), purpose: "save", started: Timestamp(nanoseconds: 1))
            try transaction.insert(lease)
            for layer in try transaction.layers(ofImage: image.id) {
                try transaction.hold(layer: layer.chainID, lease: lease.id)
            }
            for blob in try transaction.blobs(ofImage: image.id) { try transaction.hold(blob: blob.digest, lease: lease.id) }
        }
        _ = try await fixture.store.remove("a:1", force: true, prune: true, caller: fixture.caller) { _ in false }
        #expect(try await !fixture.files().isEmpty)
        try await fixture.store.recover()
        #expect(try await fixture.files().isEmpty)
        #expect(try leases(fixture) == 0)
    }

    @Test func aFailedLoadLeavesNoLease() async throws {
        let fixture = try ImageStoreFixture()
        await #expect(throws: Fault.self) {
            try await fixture.store.load(MemorySource(Array("no archive".utf8)), caller: fixture.caller)
        }
        #expect(try leases(fixture) == 0)
        #expect(try await fixture.files().isEmpty)
    }

    @Test func removalTellsWhatComesFreeOnTheDisk() async throws {
        let fixture = try ImageStoreFixture()
        try await fixture.importImage("a:1", [("etc/hello", String(repeating: "x", count: 5000))])
        func used() async throws -> Int64 {
            try await fixture.store.settle()
            return try await fixture.store.census().filter { $0.kind != .house }.reduce(0) { $0 + $1.bytes }
        }
        let before = try await used()
        let freed = try await fixture.store.remove("a:1", force: false, prune: true, measures: true) { _ in false }.freed
        #expect(before > 5000)
        #expect(freed == before)
        #expect(try await used() == 0)
    }
}
