import Shim
import Testing

@Suite struct InterfaceTableTests {
    @Test func everyLinkButLoopbackIsCounted() throws {
        let text = """
            Inter-|   Receive                                                |  Transmit
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
                lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
              eth0:    1096      13    2    3    0     0          0         0      786       9    4    5    0     0       0          0
            eth10:18446744073709551615 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0

            """
        let found = InterfaceTable.read(Array(text.utf8))
        #expect(found.keys.sorted() == ["eth0", "eth10"])
        let link = try #require(found["eth0"])
        #expect((link.receivedBytes, link.receivedPackets, link.receivedErrors, link.receivedDropped) == (1096, 13, 2, 3))
        #expect((link.sentBytes, link.sentPackets, link.sentErrors, link.sentDropped) == (786, 9, 4, 5))
        #expect(found["eth10"]?.receivedBytes == .max)
    }

    @Test(arguments: ["", "eth0", "eth0: 1 2 3", "eth0: a b c d e f g h i j k l m n o p"])
    func whatIsNoLineOfALinkIsLeftOut(text: String) {
        #expect(InterfaceTable.read(Array(text.utf8)).isEmpty)
    }
}
