import Shim
import Testing

@Suite struct DetachKeysTests {
    private func pass(_ keys: inout DetachKeys, _ text: String) -> (String, Bool) {
        let (bytes, detached) = Array(text.utf8).withUnsafeBytes { keys.pass($0) }
        return (String(decoding: bytes, as: UTF8.self), detached)
    }

    @Test func theSequenceDetachesAndIsNotPassedOn() {
        var keys = DetachKeys([16, 17])
        #expect(pass(&keys, "ab\u{10}\u{11}cd") == ("ab", true))
    }

    @Test func aSequenceAcrossReadsIsFound() {
        var keys = DetachKeys([16, 17])
        #expect(pass(&keys, "a\u{10}") == ("a", false))
        #expect(pass(&keys, "\u{11}") == ("", true))
    }

    @Test func heldBytesGoOnWhenTheSequenceBreaks() {
        var keys = DetachKeys([16, 17])
        #expect(pass(&keys, "\u{10}") == ("", false))
        #expect(pass(&keys, "x") == ("\u{10}x", false))
        #expect(pass(&keys, "\u{10}\u{10}\u{11}") == ("\u{10}", true))
        #expect(pass(&keys, "\u{10}") == ("", false))
        #expect(keys.finish() == [16])
    }

    @Test func aSequenceThatOverlapsItselfIsFound() {
        var keys = DetachKeys(Array("aab".utf8))
        #expect(pass(&keys, "aaab") == ("a", true))
        var repeated = DetachKeys(Array("aaa".utf8))
        #expect(pass(&repeated, "aabaaa") == ("aab", true))
    }

    @Test func noKeysNeverDetach() {
        var keys = DetachKeys([])
        #expect(pass(&keys, "\u{10}\u{11}") == ("\u{10}\u{11}", false))
    }
}
