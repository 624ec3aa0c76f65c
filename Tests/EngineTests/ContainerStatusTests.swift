import Engine
import JSON
import Model
import Testing

struct ContainerStatusTests {
    static let second: Int64 = 1_000_000_000

    static func exit(_ code: Int32, ran seconds: Int64 = 0) -> ExitedContainer {
        ExitedContainer(
            exitCode: code, startedAt: Timestamp(seconds: 100), finishedAt: Timestamp(nanoseconds: (100 + seconds) * second))
    }

    static var running: ContainerStatus {
        var status = ContainerStatus()
        status.started(RunningContainer(pid: 5, startTicks: 7, startedAt: Timestamp(seconds: 100)), byHand: true)
        return status
    }

    private func ended(
        _ status: inout ContainerStatus, _ exit: ExitedContainer, _ policy: RestartPolicy, stopping: Bool = false,
        autoRemove: Bool = false
    ) -> ContainerStatus.AfterExit {
        status.ended(exit, policy: policy, autoRemove: autoRemove, stopping: stopping, now: Timestamp(seconds: 200))
    }

    @Test func `Without a policy an end is an end`() {
        var status = Self.running
        #expect(ended(&status, Self.exit(3), .no) == .rest)
        #expect(status.word == "exited")
        #expect(status.exited?.exitCode == 3)
    }

    @Test func `Delays double up to a minute and begin anew after ten seconds of running`() {
        var status = Self.running
        var delays: [Int] = []
        for _ in 0..<12 {
            guard case .restart(let delay) = ended(&status, Self.exit(1), .always) else { break }
            delays.append(delay)
            status.started(RunningContainer(pid: 5, startTicks: 7, startedAt: Timestamp(seconds: 100)), byHand: false)
        }
        #expect(delays == [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000])
        #expect(ended(&status, Self.exit(1, ran: 10), .always) == .restart(afterMilliseconds: 100))
    }

    @Test func `A stop beats every policy`() {
        for policy in [RestartPolicy.always, .unlessStopped, .onFailure(0)] {
            var status = Self.running
            #expect(ended(&status, Self.exit(137), policy, stopping: true) == .rest)
        }
    }

    @Test func `on-failure restarts failures, as often as it says`() {
        var status = Self.running
        #expect(ended(&status, Self.exit(0), .onFailure(2)) == .rest)
        status = Self.running
        for _ in 0..<2 {
            #expect(ended(&status, Self.exit(1), .onFailure(2)) != .rest)
            status.started(RunningContainer(pid: 5, startTicks: 7, startedAt: Timestamp(seconds: 100)), byHand: false)
        }
        #expect(ended(&status, Self.exit(1), .onFailure(2)) == .rest)
        #expect(status.restartCount == 2)
    }

    @Test func `A container of --rm goes whatever its end was`() {
        var status = Self.running
        #expect(ended(&status, Self.exit(1), .always, autoRemove: true) == .remove)
    }

    @Test func `A failed first start leaves it created, a later one exited`() {
        var status = ContainerStatus()
        status.startFailed(Self.exit(127))
        #expect(status.word == "created")
        #expect(status.exited?.exitCode == 127)
        status = Self.running
        _ = ended(&status, Self.exit(0), .no)
        status.startFailed(Self.exit(127))
        #expect(status.word == "exited")
    }

    @Test func `Every phase comes back from its record`() throws {
        var all = [ContainerStatus(), Self.running]
        var failed = ContainerStatus()
        failed.startFailed(Self.exit(126))
        all.append(failed)
        var restarting = Self.running
        _ = ended(&restarting, Self.exit(2), .always)
        all.append(restarting)
        var exited = Self.running
        _ = ended(&exited, Self.exit(2), .no)
        all.append(exited)
        var paused = Self.running
        paused.phase = .paused(RunningContainer(pid: 5, startTicks: 7, startedAt: Timestamp(seconds: 100)))
        all.append(paused)
        for status in all { #expect(try ContainerStatus(json: status.json) == status) }
    }
}
