import Linux
import Testing

/// One at a time: the helper's words are the process's own.
@Suite(.serialized) struct ForerunnerTests {
    @Test func itReadsTheTableOfMounts() throws {
        let forerunner = try #require(Forerunner())
        let mounts = try #require(forerunner.mounts())
        let lines = mounts.split(separator: UInt8(ascii: "\n"))
        #expect(!lines.isEmpty)
        #expect(mounts.last == UInt8(ascii: "\n"))
        #expect(lines.allSatisfy { line in line.split(separator: UInt8(ascii: " ")).count >= 9 })
    }

    @Test func withoutAnOrderItEnds() throws {
        let forerunner = try #require(Forerunner())
        forerunner.end()
        #expect(forerunner.mounts() == nil)
    }

    /// Who may make a network namespace gets one, who may not hears so; a second forerunner is as good as the first.
    @Test func aNetworkIsSent() throws {
        for _ in 0..<2 {
            let forerunner = try #require(Forerunner())
            let ends = try Sockets.pair()
            forerunner.beginNetwork(to: ends.other.raw)
            var message = try Sockets.receive(ends.one.raw, limit: 16, descriptors: 1)
            #expect(message.bytes == [UInt8(ascii: "n")])
            if let network = message.takeDescriptor() {
                let kind = Processes.namespaceKind(of: network.raw)
                #expect(kind == .network)
            } else {
                #expect(Processes.userID != 0)
            }
            forerunner.end()
        }
    }

    @Test func whatIsClosedAsideIsClosedAtItsEnd() throws {
        let ends = try Sockets.pair()
        // Numbers that no other test's files get once they are free.
        let one = try Processes.duplicate(ends.one.raw, atLeast: 901).release()
        let other = try Processes.duplicate(ends.other.raw, atLeast: 902).release()
        do {
            let closing = ClosingAside([one, other])
            _ = consume closing
        }
        #expect(!Processes.isOpen(one) && !Processes.isOpen(other) && Processes.isOpen(ends.one.raw))
    }
}
