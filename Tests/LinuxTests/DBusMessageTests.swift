import Linux
import Testing

@Suite struct DBusMessageTests {
    /// Annotated by the D-Bus specification, "Marshaling".
    @Test func callIsMarshalled() {
        let call = DBusCall(
            destination: nil, path: "/a", interface: "i.f", member: "M",
            arguments: [.string("u"), .properties([DBusProperty("P", .uint32s([7]))])])
        let expected: [UInt8] =
            [0x6C, 1, 0, 1]  // little-endian, METHOD_CALL, no flags, version 1
            + [44, 0, 0, 0]  // body
            + [9, 0, 0, 0]  // serial
            + [65, 0, 0, 0]  // header fields
            + [1, 1, 0x6F, 0, 2, 0, 0, 0, 0x2F, 0x61, 0] + [0, 0, 0, 0, 0]  // PATH o "/a"
            + [2, 1, 0x73, 0, 3, 0, 0, 0, 0x69, 0x2E, 0x66, 0] + [0, 0, 0, 0]  // INTERFACE s "i.f"
            + [3, 1, 0x73, 0, 1, 0, 0, 0, 0x4D, 0] + [0, 0, 0, 0, 0, 0]  // MEMBER s "M"
            + [8, 1, 0x67, 0, 6, 0x73, 0x61, 0x28, 0x73, 0x76, 0x29, 0] + []  // SIGNATURE g "sa(sv)"
        let message = call.message(serial: 9)
        #expect(Array(message[0..<4]) == Array(expected[0..<4]))
        #expect(Array(message[8..<12]) == Array(expected[8..<12]))
        #expect(Array(message[16..<76]) == Array(expected[16..<76]))
        #expect(DBusMessage.length(of: Array(message[..<16])) == message.count)
        // s "u"; a(sv) from a multiple of 8: "P", variant au [7]
        let body: [UInt8] =
            [1, 0, 0, 0, 0x75, 0] + [0, 0] + [20, 0, 0, 0] + [0, 0, 0, 0]
            + [1, 0, 0, 0, 0x50, 0] + [2, 0x61, 0x75, 0] + [0, 0] + [4, 0, 0, 0] + [7, 0, 0, 0]
        #expect(Array(message.suffix(body.count)) == body)
        #expect(message[4] == UInt8(body.count))
    }

    @Test func whatIsWrittenIsRead() throws {
        let call = DBusCall(
            destination: "d", path: "/p", interface: "i", member: "JobRemoved",
            arguments: [.uint32(5), .path("/job/5"), .string("x.scope"), .string("done")])
        let message = try #require(DBusMessage(call.message(serial: 1)))
        #expect(message.kind == .call)
        #expect(message.member == "JobRemoved")
        #expect(message.body == [.uint32(5), .path("/job/5"), .string("x.scope"), .string("done")])
    }

    @Test func rubbishIsRefused() {
        #expect(DBusMessage.length(of: [UInt8](repeating: 0xFF, count: 16)) == nil)
        #expect(DBusMessage([UInt8](repeating: 0, count: 16)) == nil)
        // fields that end beyond the message
        let cut = Array(
            DBusCall(destination: nil, path: "/p", interface: "i", member: "m", arguments: []).message(serial: 1)[..<30])
        _ = DBusMessage(cut)
    }
}
