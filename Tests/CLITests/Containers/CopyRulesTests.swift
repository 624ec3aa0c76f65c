import Model
import Testing

import CLI

@Suite struct CopyRulesTests {
    @Test(
        arguments: [
            ("c:/x", "c", "/x"), ("c:x:y", "c", "x:y"), ("/a:b", nil, "/a:b"), ("./a:b", nil, "./a:b"), ("plain", nil, "plain"),
            (".:b", nil, ".:b"), ("-", nil, "-"),
        ] as [(String, String?, String)])
    func argumentsAreSplitAtTheFirstColon(_ argument: String, _ container: String?, _ path: String) {
        let split = CopyRules.split(argument)
        #expect(split.container == container)
        #expect(split.path == path)
    }

    private static let folder = CopyEnd(path: "/src/d", exists: true, isFolder: true)
    private static let file = CopyEnd(path: "/src/f", exists: true)

    @Test func anExistingFolderTakesWhatComes() throws {
        let target = CopyEnd(path: "/to/x", exists: true, isFolder: true)
        #expect(try CopyRules.plan(from: Self.folder, to: target) == CopyPlan(folder: "/to/x"))
        #expect(try CopyRules.plan(from: Self.file, to: target) == CopyPlan(folder: "/to/x"))
    }

    @Test func aMissingDestinationGivesItsName() throws {
        let target = CopyEnd(path: "/to/new")
        #expect(try CopyRules.plan(from: Self.folder, to: target) == CopyPlan(folder: "/to", from: "d", to: "new"))
        #expect(try CopyRules.plan(from: Self.file, to: target) == CopyPlan(folder: "/to", from: "f", to: "new"))
        let content = CopyEnd(path: "/src/d/.", exists: true, isFolder: true)
        let plan = try CopyRules.plan(from: content, to: target)
        #expect(plan == CopyPlan(folder: "/to", from: ".", to: "new"))
        #expect(plan.name(Array("./sub/x".utf8)) == Array("new/sub/x".utf8))
        let renamed = CopyEnd(path: "/src/real", exists: true, rename: "link")
        #expect(try CopyRules.plan(from: renamed, to: target) == CopyPlan(folder: "/to", from: "link", to: "new"))
    }

    @Test func whatMakesNoSenseIsRefusedInDockersWords() {
        let file = CopyEnd(path: "/to/f", exists: true)
        #expect(
            #expect(throws: FlagFault.self) { try CopyRules.plan(from: Self.folder, to: file) }?.message
                == "cannot copy directory")
        for path in ["/to/new/", "/to/new/."] {
            #expect(
                #expect(throws: FlagFault.self) { try CopyRules.plan(from: Self.file, to: CopyEnd(path: path)) }?.message
                    == "no such directory")
        }
    }

    @Test func theRootsEntriesGetTheNewNameBeforeTheirSlash() {
        let plan = CopyPlan(folder: "/to", from: "/", to: "new")
        #expect(plan.name(Array("/etc/x".utf8)) == Array("new/etc/x".utf8))
    }

    @Test func aLinksTargetKeepsTheEndOfThePath() {
        #expect(CopyRules.rename("/a/link", resolved: "/b/real") == ("/b/real", "link"))
        #expect(CopyRules.rename("/a/link/", resolved: "/b/real") == ("/b/real/", "link"))
        #expect(CopyRules.rename("/a/link/.", resolved: "/b/real") == ("/b/real/.", nil))
        #expect(CopyRules.rename("/a/same", resolved: "/b/same") == ("/b/same", nil))
    }
}
