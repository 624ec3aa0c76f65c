import TestSupport
import Testing

@Suite struct ImageCrashTests {
    private struct Count: Equatable, CustomStringConvertible {
        var images: Int
        var layers: Int
        var temporary: Int
        /// Configuration and manifest of each image.
        var blobs: Int
        var description: String { "\(images) images, \(layers) layers, \(temporary) unfinished, \(blobs) contents" }
    }

    private func count(_ engine: EngineFixture) -> Count {
        func number(_ script: String) -> Int {
            Int(run(["/bin/sh", "-c", "cd '\(engine.dataRoot)' && \(script) | wc -l"]).output.filter(\.isNumber)) ?? -1
        }
        let images = Set(engine.skiff("images", "-aq", "--no-trunc").output.split(separator: "\n")).count
        return Count(
            images: images, layers: number("ls layers"), temporary: number("ls tmp"), blobs: number("find blobs -type f"))
    }

    /// An engine that is killed at any moment of an import or a removal has, once it is up again, whole images and nothing else.
    @Test func killsLeaveWholeImagesAndNothingElse() throws {
        let engine = try EngineFixture("imagekills")
        let tree = engine.scratch.path + "/t"
        let made = run([
            "/bin/sh", "-c",
            "mkdir '\(tree)' && cd '\(tree)' && for i in $(seq 300); do head -c $((i * 200)) /dev/urandom >f$i; done && tar -cf ../t.tar .",
        ])
        #expect(made.status == 0)
        for round in 0..<12 {
            let verb = round % 3 == 2 ? "rmi -f app" : "import '\(engine.scratch.path)/t.tar' app"
            let client = try RunningProcess([
                "/bin/sh", "-c", "exec '\(binaries)/skiff' -H 'unix://\(engine.socket)' \(verb) >/dev/null 2>&1",
            ])
            _ = run(["/bin/sleep", "0.0\((round * 37) % 90 + 10)"])
            engine.end(9)
            _ = client.finish()
            try engine.start()
            var found = count(engine)
            _ = eventually(timeout: 10) {
                found = count(engine)
                return found.temporary == 0
            }
            let layers = found.images > 0 ? 1 : 0
            #expect(
                found == Count(images: found.images, layers: layers, temporary: 0, blobs: 2 * found.images),
                "round \(round): \(found)")
        }
        // Whatever came before, the store works.
        let path = engine.scratch.path
        #expect(engine.skiff("import", path + "/t.tar", "last:1").status == 0)
        #expect(engine.skiff("save", "-o", path + "/saved.tar", "last:1").status == 0)
        #expect(engine.skiff("rmi", "-f", "last:1").status == 0)
        #expect(engine.skiff("load", "-i", path + "/saved.tar").output.contains("Loaded image: last:1"))
    }
}
