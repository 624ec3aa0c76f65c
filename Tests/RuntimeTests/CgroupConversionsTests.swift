import Model
import Runtime
import Testing

@Suite struct CgroupConversionsTests {
    /// The pairs of the conversion's specification: ends, defaults, and what Kubernetes sets for one processor's parts.
    @Test(
        arguments: [
            (0, 0), (1, 1), (2, 1), (1024, 100), (262_144, 10_000), (300_000, 10_000), (512, 59), (2048, 174), (100, 17),
            (10, 4),
        ] as [(UInt64, UInt64)])
    func sharesBecomeWeight(shares: UInt64, weight: UInt64) {
        #expect(CgroupConversion.cpuWeight(shares: shares) == weight)
    }

    @Test func weightGrowsWithShares() {
        var last: UInt64 = 0
        for shares in UInt64(2)...262_144 {
            let weight = CgroupConversion.cpuWeight(shares: shares)
            #expect(weight >= last)
            if weight < last { return }
            last = weight
        }
    }

    @Test(arguments: [(0, 0), (10, 1), (500, 4950), (1000, 10_000)] as [(UInt16, UInt64)])
    func blockWeightIsStretched(from: UInt16, to: UInt64) {
        #expect(CgroupConversion.ioWeight(blkioWeight: from) == to)
    }

    @Test(
        arguments: [
            (nil, nil, nil), (0, 100, nil), (-1, 100, -1), (nil, -1, -1), (0, -1, -1), (300, 100, 200), (100, 100, 0),
            (-1, -1, -1),
        ] as [(Int64?, Int64?, Int64?)])
    func swapIsWithoutMemory(swap: Int64?, memory: Int64?, maximum: Int64?) throws {
        #expect(try CgroupConversion.swapMaximum(swap: swap, memory: memory) == maximum)
    }

    @Test(arguments: [(100, nil), (100, 0), (100, -1), (50, 100), (-2, 100)] as [(Int64, Int64?)])
    func swapWithoutSenseIsRefused(swap: Int64, memory: Int64?) {
        do {
            _ = try CgroupConversion.swapMaximum(swap: swap, memory: memory)
            Issue.record("was accepted")
        } catch { #expect(String(describing: error).hasPrefix("linux.resources.memory.swap: ")) }
    }
}
