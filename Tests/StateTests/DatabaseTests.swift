import Model
import State
import Testing

struct DatabaseTests {
    @Test func `A transaction that fails leaves nothing`() throws {
        let database = try Database(path: ":memory:")
        #expect(throws: Fault.self) {
            try database.write { transaction in
                try transaction.setMeta("a", "1")
                throw Fault(.cancelled, "stop")
            }
        }
        #expect(try database.read { try $0.meta("a") } == nil)
    }

    @Test func `Values come back as they went in, empty texts included`() throws {
        let database = try Database(path: ":memory:")
        try database.write { try $0.setMeta("empty", "") }
        try database.write { try $0.setMeta("ümlaut", "käse\u{0}x") }
        #expect(try database.read { try $0.meta("empty") } == "")
        #expect(try database.read { try $0.meta("ümlaut") } == "käse\u{0}x")
    }

    @Test func `A name belongs to one container`() throws {
        let database = try Database(path: ":memory:")
        func record() -> ContainerRecord {
            ContainerRecord(
                id: .random(), name: "web", owner: .root, created: Timestamp(seconds: 5), imageID: "sha256:x",
                config: Array("{}".utf8), state: Array("{}".utf8))
        }
        let first = record()
        try database.write { try $0.insert(first) }
        #expect(throws: Fault.self) { try database.write { try $0.insert(record()) } }
        try database.write { try $0.markRemoving(container: first.id) }
        try database.write { try $0.insert(record()) }
        let all = try database.read { try $0.containers() }
        #expect(all.count == 2)
        #expect(all.first { $0.id == first.id }?.removing == true)
    }

    @Test func `A file written by a newer engine is refused and left alone`() throws {
        let newer = SchemaPart(name: "t", steps: ["CREATE TABLE a (x)", "CREATE TABLE b (x)"])
        let path = "/tmp/skiff-state-tests-\(ObjectID.random().short).db"
        do { _ = try Database(path: path, schema: [newer]) }
        #expect {
            try Database(path: path, schema: [SchemaPart(name: "t", steps: ["CREATE TABLE a (x)"])])
        } throws: { error in
            (error as? Fault)?.kind == .unsupported
        }
        _ = try Database(path: path, schema: [newer])
    }

    @Test func `Durable commits that come together all return`() async throws {
        let path = "/tmp/skiff-state-tests-\(ObjectID.random().short).db"
        let database = try Database(path: path)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<50 {
                group.addTask { try await database.write(.durable) { try $0.setMeta("\(index)", "x") } }
            }
            try await group.waitForAll()
        }
        #expect(try database.read { try $0.rows("SELECT key FROM meta") { $0.text(0) } }.count == 50)
    }
}
