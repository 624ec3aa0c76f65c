import Linux
import Model
import Testing

@Suite struct SeqPacketTests {
    private func message(_ received: SeqPacket.Received) -> [UInt8]? {
        if case .message(let bytes, _) = received { bytes } else { nil }
    }

    @Test func messagesKeepTheirBordersAndTheEndIsSeen() throws {
        let ends = try SeqPacket.pair(nonblocking: true).release()
        let first = Descriptor(owning: ends[0])
        do {
            let second = Descriptor(owning: ends[1])
            #expect(try SeqPacket.send([65], on: second.raw))
            #expect(try SeqPacket.send([66, 67], on: second.raw))
        }
        #expect(message(try SeqPacket.receive(on: first.raw)) == [65])
        #expect(message(try SeqPacket.receive(on: first.raw)) == [66, 67])
        guard case .end = try SeqPacket.receive(on: first.raw) else {
            Issue.record("no end")
            return
        }
    }

    @Test func aLongMessageArrivesWithItsDescriptors() throws {
        let ends = try SeqPacket.pair(nonblocking: true).release()
        let (first, second) = (ends[0], ends[1])
        let closeFirst = Descriptor(owning: first)
        let closeSecond = Descriptor(owning: second)
        let long = [UInt8](repeating: 0x7B, count: 3 << 20)
        #expect(try SeqPacket.send(long, descriptors: [first], on: closeFirst.raw))
        guard case .message(let bytes, let passed) = try SeqPacket.receive(on: closeSecond.raw) else {
            Issue.record("no message")
            return
        }
        #expect(bytes == long)
        #expect(passed.count == 1)
        #expect(throws: KernelFault.self) {
            _ = try SeqPacket.send(long, on: closeFirst.raw)
            _ = try SeqPacket.receive(on: closeSecond.raw, limit: 1 << 20)
        }
    }

    @Test func aSenderThatIsNotReadIsToldSo() throws {
        let ends = try SeqPacket.pair(nonblocking: true).release()
        let first = Descriptor(owning: ends[0])
        let second = Descriptor(owning: ends[1])
        var sent = 0
        while sent < 100_000, try SeqPacket.send([UInt8](repeating: 1, count: 1000), on: first.raw) { sent += 1 }
        #expect(sent > 10 && sent < 100_000)
        guard case .nothing = try SeqPacket.receive(on: first.raw) else {
            Issue.record("something came")
            return
        }
        _ = second.raw
    }

    @Test func pathsLongerThanAnAddressWork() throws {
        let folder = try FileCalls.makeTemporaryFolder("/tmp/seqpacket-XXXXXX") + "/" + String(repeating: "d", count: 200)
        try SmallFile.makeFolder(folder)
        let path = folder + "/shim.sock"
        let listener = try SeqPacket.listen(at: path)
        #expect(try SeqPacket.accept(listener.raw) == nil)
        let client = try SeqPacket.connect(to: path)
        #expect(try SeqPacket.send([1, 2], on: client.raw))
        let server = try #require(try SeqPacket.accept(listener.raw)?.release())
        #expect(message(try SeqPacket.receive(on: server)) == [1, 2])
        #expect(try SeqPacket.peer(of: server).pid > 0)
        _ = Descriptor(owning: server)
        // A second listener replaces what a dead one left behind
        let again = try SeqPacket.listen(at: path)
        _ = again.raw
    }
}
