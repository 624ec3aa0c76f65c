import CLI
import JSON
import Linux
import TestSupport
import Testing

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
        #expect(words.first?.hasPrefix("--customize-hook=") == true)
        #expect(
            plan.words(.debootstrap, folder: "/tmp/x").suffix(4) == [
                "noble", "/tmp/x", "http://mirror.example/ubuntu", "gutsy",
            ])
        var debian = plan
        debian.distribution = "debian"
        #expect(debian.words(.debootstrap, folder: "/tmp/x").last == "http://mirror.example/ubuntu")
    }

    @Test func ubuntuHasAKeyringOfItsOwn() {
        #expect(BootstrapPlan.keyrings["ubuntu"]?.file == "/usr/share/keyrings/ubuntu-archive-keyring.gpg")
        #expect(BootstrapPlan.keyrings["ubuntu"]?.package == "ubuntu-keyring")
        #expect(
            BootstrapPlan.mirror(for: "ubuntu", in: "http://mirror.example/debian main\nhttp://mirror.example/ubuntu/ main\n")
                == "http://mirror.example/ubuntu")
    }

    /// What the hook writes, run by a real shell on a folder that stands for the root.
    @Test func theRecipeIsAFileInTheImage() throws {
        let scratch = try Scratch()
        let root = scratch.folder("it's a root")
        _ = scratch.folder("bin")
        let result = run([
            "/bin/sh", "-c",
            "ln -s /bin/echo '\(scratch.path)/bin/dpkg-query'; PATH='\(scratch.path)/bin':$PATH; export PATH; exec /bin/sh -c \"$1\" sh \"$2\"",
            "-",
            plan.recipeScript(.mmdebstrap), root,
        ])
        #expect(result.status == 0, "\(result.error)")
        let recipe = try JSONValue(json: try readFile(root + "/usr/share/skiff/bootstrap.json"))
        #expect(recipe["repository"]?.string == "http://mirror.example/ubuntu")
        #expect(recipe["command"]?.array?.first?.string == "mmdebstrap")
        #expect(recipe["command"]?.array?.contains { $0.string == "--aptopt=Acquire::Languages \"none\"" } == true)
        #expect(recipe["include"]?.array?.compactMap(\.string) == ["a", "b"])
        let packages = String(decoding: try readFile(root + "/usr/share/skiff/packages"), as: UTF8.self)
        #expect(packages.contains("--admindir=\(root)/var/lib/dpkg"))
    }

    @Test func theRecipeIsKept() {
        let changes = plan.changes(.mmdebstrap)
        #expect(changes.first == "CMD [\"bash\"]")
        #expect(changes.contains("LABEL org.skiff.bootstrap.packages=\"a,b\""))
        let command = plan.commandLine(.mmdebstrap)
        #expect(command.hasPrefix("mmdebstrap --format=tar --variant=minbase '--aptopt=Acquire::Languages \"none\"'"))
        #expect(changes.contains { $0.hasPrefix("LABEL org.skiff.bootstrap.command=\"mmdebstrap ") })
    }

    @Test func packageNames() throws {
        #expect(try BootstrapPlan.packages(["a,b", "c d"]) == ["a", "b", "c", "d"])
        #expect(throws: FlagFault.self) { try BootstrapPlan.packages(["--simulate"]) }
    }
}
