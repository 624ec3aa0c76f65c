import Engine
import Model
import Testing

struct ContainerTextsTests {
    @Test(arguments: [("TERM", 15), ("SIGHUP", 1), ("sigusr1", 10), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)])
    func `Signals have many names`(text: String, number: Int32) throws {
        #expect(try StopSignal.parse(text) == number)
    }

    @Test(arguments: ["", "SIGFOO", "0", "65", "-1", "RTMIN+31"])
    func `What is no signal is refused by its name`(text: String) {
        #expect {
            try StopSignal.parse(text)
        } throws: {
            ($0 as? Fault)?.message == "invalid signal: \(text)"
        }
    }

    @Test func `Detach keys as docker writes them`() throws {
        #expect(try DetachKeys.parse(nil) == [16, 17])
        #expect(try DetachKeys.parse("ctrl-a,d") == [1, 100])
        #expect(try DetachKeys.parse("ctrl-@,ctrl-[") == [0, 27])
        #expect(throws: Fault.self) { try DetachKeys.parse("ctrl-ä") }
        #expect(throws: Fault.self) { try DetachKeys.parse("ab") }
    }

    @Test(arguments: [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (150, "2 minutes"),
        (3600, "About an hour"), (7200, "2 hours"), (172_800, "2 days"), (1_209_600, "2 weeks"),
    ])
    func `Spans as docker tells them`(seconds: Int64, text: String) {
        #expect(StatusText.span(from: Timestamp(seconds: 0), to: Timestamp(seconds: seconds)) == text)
    }

    @Test func `Status sentences`() {
        var status = ContainerStatus()
        let now = Timestamp(seconds: 200)
        #expect(StatusText.text(status, health: nil, now: now) == "Created")
        let run = RunningContainer(pid: 1, startTicks: 1, startedAt: Timestamp(seconds: 195))
        status.phase = .running(run)
        #expect(StatusText.text(status, health: nil, now: now) == "Up 5 seconds")
        status.phase = .paused(run)
        #expect(StatusText.text(status, health: nil, now: now) == "Up 5 seconds (Paused)")
        status.phase = .exited(ExitedContainer(exitCode: 137, finishedAt: Timestamp(seconds: 80)))
        #expect(StatusText.text(status, health: nil, now: now) == "Exited (137) 2 minutes ago")
    }

    @Test func `Name filters are patterns`() {
        #expect(NamePattern.matches("eb", "/web"))
        #expect(NamePattern.matches("^web$", "/web"))
        #expect(NamePattern.matches("^/web$", "/web"))
        #expect(!NamePattern.matches("^eb", "/web"))
        #expect(NamePattern.matches("w.*b", "/wooob"))
        #expect(!NamePattern.matches("web1", "/web"))
    }

    @Test func `References match with stars that stop at slashes`() {
        #expect(ReferencePattern.matches("debian", "debian:bookworm"))
        #expect(ReferencePattern.matches("deb*:book*", "debian:bookworm"))
        // A name by digest has no tag
        #expect(ReferencePattern.matches("registry.example:5000/team/app", "registry.example:5000/team/app:"))
        #expect(ReferencePattern.matches("registry.example:5000/team/app", "registry.example:5000/team/app:1"))
        #expect(!ReferencePattern.matches("*", "quay.io/app:1"))
        #expect(ReferencePattern.matches("*/*", "quay.io/app:1"))
    }

    @Test func `Random names are two words, and seldom the same`() {
        let names = (0..<200).map { _ in RandomName.make() }
        #expect(names.allSatisfy { $0.split(separator: "_").count == 2 })
        #expect(Set(names).count > 150)
        #expect(RandomName.first.count * RandomName.second.count > 5000)
    }

    @Test func `Volume names`() throws {
        #expect(try VolumeName.validated("data_1.x-y") == "data_1.x-y")
        for bad in ["", "a", "-ab", "a/b", "../x", "a b", String(repeating: "x", count: 256)] {
            #expect(throws: Fault.self) { try VolumeName.validated(bad) }
        }
    }

    @Test func `Times of filters`() throws {
        #expect(try TimeText.parse("12.5") == Timestamp(nanoseconds: 12_500_000_000))
        #expect(try TimeText.parse("1970-01-01T00:00:05Z") == Timestamp(seconds: 5))
        #expect(throws: Fault.self) { try TimeText.parse("soon") }
    }
}
