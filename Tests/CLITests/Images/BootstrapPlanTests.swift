import Testing

import CLI

@Suite struct BootstrapPlanTests {
    @Test func sources() throws {
        #expect(try BootstrapPlan.source("debian:bookworm") == ("debian", "bookworm"))
        #expect(try BootstrapPlan.source("trixie") == ("debian", "trixie"))
        #expect(try BootstrapPlan.source("noble") == ("ubuntu", "noble"))
    }

    @Test(arguments: ["debian:", "fedora:40", "debian:-x", "debian:a b", ""]) func noSources(_ text: String) {
        #expect(throws: FlagFault.self) { try BootstrapPlan.source(text) }
    }

    @Test func mirrorOfTheMachine() {
        let targets =
            "http://mirror.example/debian-security main\nhttp://mirror.example/debian/ contrib\nhttp://mirror.example/debian/ main\n"
        #expect(BootstrapPlan.mirror(for: "debian", in: targets) == "http://mirror.example/debian")
        #expect(BootstrapPlan.mirror(for: "ubuntu", in: targets) == nil)
    }

    private let plan = BootstrapPlan(
        distribution: "ubuntu", suite: "noble", mirror: "http://mirror.example/ubuntu", variant: "minbase",
        components: "main,universe",
        packages: ["a", "b"], keyring: "/k.gpg", reference: "x:1")

    @Test func words() {
        let words = plan.words(.mmdebstrap, folder: "")
        #expect(words.suffix(3) == ["noble", "-", "http://mirror.example/ubuntu"])
        #expect(
            words.contains("--include=a,b") && words.contains("--components=main,universe")
                && words.contains("--keyring=/k.gpg"))
        #expect(plan.words(.debootstrap, folder: "/tmp/x").suffix(3) == ["noble", "/tmp/x", "http://mirror.example/ubuntu"])
    }

    @Test func theRecipeIsKept() {
        let changes = plan.changes(.mmdebstrap)
        #expect(changes.first == "CMD [\"bash\"]")
        #expect(changes.contains("LABEL org.skiff.bootstrap.packages=\"a,b\""))
    }

    @Test func packageNames() throws {
        #expect(try BootstrapPlan.packages(["a,b", "c d"]) == ["a", "b", "c", "d"])
        #expect(throws: FlagFault.self) { try BootstrapPlan.packages(["--simulate"]) }
    }
}
