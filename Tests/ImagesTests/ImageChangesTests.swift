import Images
import Model
import Testing

@Suite struct ImageChangesTests {
    @Test func everyInstructionIsApplied() throws {
        let settings = try ImageChanges.apply(
            [
                #"ENTRYPOINT ["/init","-x"]"#, "CMD echo $HOME", #"ENV A=b C="d e" E=[$A]"#, "ENV F=$A-${C}",
                "ENV old the rest of it",
                "EXPOSE 80 53/udp 7000-7002/tcp",
                #"LABEL a.b="c \"d\" e" json='{"k":[1,"two"]}' plain=x"#, "USER 1000:100", "VOLUME /a /b", #"VOLUME ["/c d"]"#,
                "WORKDIR /srv", "WORKDIR www/../app", "STOPSIGNAL SIGQUIT", "onbuild RUN make",
                "HEALTHCHECK --interval=5s --timeout=1m30s --retries=3 CMD curl -f http://localhost/",
            ], to: ImageSettings())
        #expect(settings.entrypoint == ["/init", "-x"])
        #expect(settings.cmd == ["/bin/sh", "-c", "echo $HOME"])
        #expect(settings.env == ["A=b", "C=d e", "E=[]", "F=b-d e", "old=the rest of it"])
        #expect(settings.exposedPorts == ["53/udp", "7000/tcp", "7001/tcp", "7002/tcp", "80/tcp"])
        #expect(settings.labels == ["a.b": "c \"d\" e", "json": #"{"k":[1,"two"]}"#, "plain": "x"])
        #expect(settings.user == "1000:100")
        #expect(settings.volumes == ["/a", "/b", "/c d"])
        #expect(settings.workingDir == "/srv/app")
        #expect(settings.stopSignal == "SIGQUIT")
        #expect(settings.onBuild == ["RUN make"])
        #expect(settings.healthcheck?.test == ["CMD-SHELL", "curl -f http://localhost/"])
        #expect(settings.healthcheck?.interval == 5_000_000_000)
        #expect(settings.healthcheck?.timeout == 90_000_000_000)
        #expect(settings.healthcheck?.retries == 3)
    }

    @Test func oneChangeMayHoldSeveralLines() throws {
        let settings = try ImageChanges.apply(["# comment\nENV A=1 \\\n  B=2\n\nUSER x"], to: ImageSettings())
        #expect(settings.env == ["A=1", "B=2"])
        #expect(settings.user == "x")
    }

    @Test func anEntrypointForgetsTheInheritedCommand() throws {
        var base = ImageSettings()
        base.cmd = ["old"]
        #expect(try ImageChanges.apply([#"ENTRYPOINT ["/e"]"#], to: base).cmd == nil)
        #expect(try ImageChanges.apply([#"CMD ["new"]"#, #"ENTRYPOINT ["/e"]"#], to: base).cmd == ["new"])
    }

    @Test(arguments: [
        ("RUN make", "RUN is not a valid change command"), ("ENV", "ENV requires at least one argument"),
        ("ENV =x", "ENV names can not be blank"),
        ("LABEL a=\"b", "unexpected end of statement while looking for matching quote"),
        ("EXPOSE 70000", "invalid containerPort: 70000"), ("EXPOSE 80/xyz", "invalid containerPort: 80/xyz"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK FOO", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)"),
        ("LABEL a b c=d e=f", ""),
    ])
    func malformedChangesAreRefusedInDockersWords(_ line: String, _ message: String) {
        if message.isEmpty { return }
        let fault = #expect(throws: Fault.self) { try ImageChanges.apply([line], to: ImageSettings()) }
        #expect(fault?.message == message)
        #expect(fault?.kind == .invalid)
    }
}
