import JSON
import Model
import Testing

@Suite struct ShimMessageTests {
    private static let id = ObjectID(String(repeating: "0123456789abcdef", count: 4))

    @Test func everyRequestSurvivesItsPacket() throws {
        let early: [UInt8] = [0, 1, 0, 255]
        let stream = ShimStream(stdin: true, framing: .multiplexed, detachKeys: [16, 17], early: early)
        let process = OCI.Process(terminal: true, args: ["sh"], cwd: "/")
        let actions: [ShimAction] = [
            .hello, .start, .attach(stream), .resize(exec: nil, width: 80, height: 24), .resize(exec: "e", width: 1, height: 2),
            .signal(exec: nil, number: 9, all: true), .exec(ShimExec(exec: "e", process: process, stream: stream)), .pause,
            .resume, .update(OCI.Resources()), .stats, .processes, .root, .closeStdin(exec: "e"), .unknown("dance"),
        ]
        for (number, action) in actions.enumerated() {
            let request = ShimRequest(id: UInt64(number), action)
            #expect(try ShimRequest(packet: request.packet) == request)
        }
    }

    @Test func everyMessageSurvives() throws {
        let id = try #require(Self.id)
        let time = Timestamp(nanoseconds: 1_700_000_000_123_456_789)
        var stats = ContainerStats(readAt: time)
        stats.memory.details = ["cache": 7]
        stats.interfaces = ["eth1": .init()]
        stats.interfaces?["eth1"]?.sentDropped = 3
        stats.blockIO.bytes = [.init(major: 8, minor: 0, operation: "read", value: 4096)]
        var row = ContainerProcess()
        row.pid = 7
        row.command = ["sh", "-c"]
        let record = ExitRecord(id: id, exitCode: 137, signal: 9, oomKilled: true, startedAt: time, finishedAt: time)
        let messages: [ShimMessage] = [
            .reply(ShimReply(id: 1, .done)), .reply(ShimReply(id: 2, .fault(Fault(.conflict, "no", subject: "x")))),
            .reply(ShimReply(id: 3, .started(ShimStarted(pid: 5, startTicks: 6, startedAt: time)))),
            .reply(
                ShimReply(
                    id: 4,
                    .hello(
                        ShimHello(
                            container: id, phase: .paused, shimPid: 3, pid: 4, startTicks: 5, startedAt: time,
                            execs: [ShimExecState(exec: "e", pid: 1, exit: ExecExit(exec: "e", exitCode: 3, finishedAt: time))]
                        )))), .reply(ShimReply(id: 5, .exec(pid: 99))), .reply(ShimReply(id: 6, .stats(stats))),
            .reply(ShimReply(id: 7, .processes([row]))), .event(.exit(record)),
            .event(.execExit(ExecExit(exec: "e", exitCode: 0, finishedAt: time))), .event(.oom), .event(.detached(exec: nil)),
            .event(.detached(exec: "e")),
        ]
        for message in messages { #expect(try ShimMessage(json: message.json) == message) }
        #expect(try ExitRecord(json: record.json) == record)
    }

    @Test func unknownMembersAreIgnoredAndOtherVersionsRefused() throws {
        let request = try ShimRequest(packet: Array(#"{"v":1,"id":3,"do":"hello","new":[1]}"#.utf8))
        #expect(request == ShimRequest(id: 3, .hello))
        #expect(throws: JSONFault.self) { try ShimRequest(packet: Array(#"{"v":2,"id":3,"do":"hello"}"#.utf8)) }
        #expect(throws: JSONFault.self) { try ShimRequest(packet: Array(#"{"v":1,"do":"hello"}"#.utf8)) }
    }
}
