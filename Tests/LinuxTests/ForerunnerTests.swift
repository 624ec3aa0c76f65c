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

    @Test func withoutAnOrderThereIsNoNetwork() throws {
        let forerunner = try #require(Forerunner())
        let isGone = isNothing(forerunner.takeNetwork())
        #expect(isGone)
        #expect(forerunner.mounts() == nil)
    }

    /// Who may make a network namespace gets one, and a second forerunner is as good as the first.
    @Test func aNetworkIsTakenOnce() throws {
        for _ in 0..<2 {
            let forerunner = try #require(Forerunner())
            forerunner.beginNetwork()
            if let network = forerunner.takeNetwork() {
                let kind = Processes.namespaceKind(of: network.raw)
                #expect(kind == .network)
            }
            let isGone = isNothing(forerunner.takeNetwork())
            #expect(isGone)
        }
    }
}

private func isNothing(_ descriptor: consuming Descriptor?) -> Bool {
    switch consume descriptor {
    case .some: false
    case .none: true
    }
}
