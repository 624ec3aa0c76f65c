import Testing

import CLI

@Suite struct CompletionTests {
    private func candidates(_ words: String...) -> [String] {
        Completion.candidates(.standard, words) { values in
            switch values {
            case .containers: ["web", "db"]
            case .images: ["debian:bookworm", "app:1"]
            default: []
            }
        }.map { String($0.prefix { $0 != "\t" }) }
    }

    @Test func commandsByTheirBeginning() {
        #expect(candidates("ru") == ["run"])
        #expect(candidates("vol") == ["volume"])
        #expect(candidates("-H", "unix:///x", "inf") == ["info"])
    }

    @Test func commandsOfANoun() { #expect(candidates("volume", "") == ["create", "inspect", "ls", "prune", "rm"]) }

    @Test func containersAndImages() {
        #expect(candidates("rm", "-f", "") == ["db", "web"])
        #expect(candidates("run", "--rm", "-p", "80:80", "deb") == ["debian:bookworm"])
        #expect(candidates("exec", "-it", "w") == ["web"])
    }

    @Test func flagsAndTheirValues() {
        #expect(candidates("run", "--read") == ["--read-only"])
        #expect(candidates("run", "--restart", "un") == ["unless-stopped"])
        #expect(candidates("run", "--restart=al") == ["--restart=always"])
        #expect(candidates("run", "--env-file", "x") == [":files"])
    }

    @Test func nothingOfOursBehindTheImage() { #expect(candidates("run", "app:1", "sh", "-") == [":files"]) }

    @Test func scriptsForThreeShells() {
        for shell in ["bash", "zsh", "fish"] { #expect(CompletionScript.text(shell)?.contains("skiff __complete") == true) }
        #expect(CompletionScript.text("tcsh") == nil)
    }
}
