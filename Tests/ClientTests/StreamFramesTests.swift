import Model
import Testing

import Client

@Suite struct StreamFramesTests {
    private func frame(_ kind: UInt8, _ text: String) -> [UInt8] {
        [kind, 0, 0, 0, 0, 0, UInt8(text.utf8.count >> 8), UInt8(text.utf8.count & 255)] + Array(text.utf8)
    }

    @Test(arguments: [1, 2, 3, 7, 8, 9, 64]) func framesComeOutHoweverTheyAreCut(_ step: Int) throws {
        let bytes = frame(1, "out one") + frame(2, "err") + frame(1, "") + frame(1, "out two")
        var frames = StreamFrames()
        var out = ""
        var err = ""
        var ends = 0
        for start in stride(from: 0, to: bytes.count, by: step) {
            try Array(bytes[start..<min(start + step, bytes.count)]).withUnsafeBytes { part in
                try frames.feed(part) { piece in
                    let text = String(decoding: piece.bytes, as: UTF8.self)
                    if piece.kind == .stderr { err += text } else { out += text }
                    if piece.isLast { ends += 1 }
                }
            }
        }
        #expect(out == "out oneout two" && err == "err" && ends == 4 && frames.isBetweenFrames)
    }

    @Test func otherBytesAreNoFrames() {
        var frames = StreamFrames()
        #expect(throws: Fault.self) { try Array("plain text".utf8).withUnsafeBytes { try frames.feed($0) { _ in } } }
    }
}

@Suite struct DetachKeysTests {
    @Test func sequencesAsDockerSpellsThem() {
        #expect(DetachKeys.parse("ctrl-p,ctrl-q") == [16, 17])
        #expect(DetachKeys.parse("a,ctrl-\\,ctrl-@") == [97, 28, 0])
        #expect(DetachKeys.parse("ctrl-") == nil && DetachKeys.parse("word") == nil && DetachKeys.parse("") == nil)
    }

    @Test func theSequenceDetaches() {
        var keys = DetachKeys()
        #expect(keys.filter([65, 16]) == [65])
        #expect(keys.filter([17]) == nil)
    }

    @Test func whatOnlyBeganLikeItIsPassedOn() {
        var keys = DetachKeys()
        #expect(keys.filter([16]) == [])
        #expect(keys.filter([66]) == [16, 66])
        #expect(keys.filter([16, 16]) == [16])
        #expect(keys.filter([17]) == nil)
    }
}

@Suite struct EndpointTests {
    @Test func sockets() throws {
        #expect(try Endpoint(host: "unix:///a/b.sock").path == "/a/b.sock")
        #expect(try Endpoint(host: "/a").path == "/a")
        #expect(try Endpoint(host: "unix:///run/skiff/skiff.sock").isDefault)
    }

    @Test(arguments: ["tcp://1.2.3.4:2375", "ssh://x", "unix://", "nonsense"]) func others(_ host: String) {
        #expect(throws: Fault.self) { try Endpoint(host: host) }
    }

    @Test func queriesAreEscaped() {
        var query = Query([("a b", "c/d&e")])
        query.flag("x", true)
        query.flag("y", false)
        query.filters([("name", "a"), ("name", "b")])
        #expect(query.text == "?a%20b=c%2Fd%26e&x=1&filters=%7B%22name%22%3A%7B%22a%22%3Atrue%2C%22b%22%3Atrue%7D%7D")
        #expect(Query.path("local:5000/a@sha256:b?x") == "local:5000/a@sha256:b%3Fx")
    }
}
