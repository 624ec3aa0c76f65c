import JSON
import Linux
import Model
import Testing

import CLI

/// What docker's own command line sends for the same flags, recorded by Tests/Integration/CLI/compare_create.py.
private struct Recorded: Sendable, CustomTestStringConvertible {
    let line: String
    let sent: JSONValue?
    let error: String
    var testDescription: String { line }

    static let all: [Recorded] = {
        let folder = String(#filePath.dropLast("Containers/CreateRequestTests.swift".count))
        guard let bytes = try? FileCalls.read(folder + "docker-create.json"), let value = try? JSONValue(json: bytes) else {
            return []
        }
        return (value.array ?? []).map { item in
            let sent = item["sent"]?["body"]
            return Recorded(
                line: item["case"]?.string ?? "", sent: sent == .null ? nil : sent, error: item["error"]?.string ?? "")
        }
    }()
}

@Suite struct CreateRequestTests {
    @Test func theRecordIsThere() { #expect(Recorded.all.count > 150) }

    /// Files and the environment differ from machine to machine: those cases are in the integration test only.
    @Test(
        arguments: Recorded.all.filter { item in
            !["ENV", "SECCOMP", "LABELFILE", "HOME", "./", "~", "''", "\""].contains { item.line.contains($0) }
        })
    fileprivate func likeDocker(_ item: Recorded) throws {
        let words = Self.words(item.line)
        let table = RunCommand.create
        do {
            let parsed = try FlagParser.parse(words, table.flags(), mixesFlags: false)
            let request = try CreateRequest(parsed)
            #expect(item.error == "", "accepted, docker says \(item.error)")
            let ours = try Self.normal(JSONValue(json: request.body.json))
            #expect(ours == item.sent.map(Self.normal))
        } catch let fault as FlagFault {
            #expect(item.error.contains(fault.message), "we say \(fault.message), docker \(item.error)")
        }
    }

    @Test func seccompProfilesAreReadHere() throws {
        #expect(
            throws: FlagFault("opening seccomp profile (/nonexistent) failed: open /nonexistent: no such file or directory")
        ) {
            try SecurityOptions(["seccomp=/nonexistent"])
        }
        #expect(
            try SecurityOptions(["seccomp=unconfined", "no-new-privileges"]).words == [
                "seccomp=unconfined", "no-new-privileges",
            ])
        #expect(try SecurityOptions(["systempaths=unconfined"]).unconfinesSystemPaths)
    }

    @Test func relativePathsAreThisMachines() throws {
        let folder = FileCalls.workingFolder ?? ""
        #expect(try VolumeSpec.parse("./a/../b:/c:ro") == .bind(folder + "/b:/c:ro"))
        #expect(try VolumeSpec.parse("/x") == .anonymous("/x"))
    }

    @Test func gpusAreRefusedByName() throws {
        let parsed = try FlagParser.parse(["--gpus", "all", "img"], RunCommand.create.flags(), mixesFlags: false)
        #expect(throws: FlagFault("--gpus is not supported by this engine: pass the devices with --device")) {
            try CreateRequest(parsed)
        }
    }

    /// Words of a shell line without escapes.
    private static func words(_ line: String) -> [String] {
        var words: [String] = []
        var word: String?
        var quoted = false
        for character in line {
            if character == "'" {
                quoted.toggle()
                word = word ?? ""
            } else if character == " ", !quoted {
                if let done = word { words.append(done) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        return words + (word.map { [$0] } ?? [])
    }

    /// Empty members are the same as absent ones; order does not matter.
    private static func normal(_ value: JSONValue) -> JSONValue {
        switch value {
        case .object(let members):
            .object(
                members.map { .init(key: $0.key, value: normal($0.value)) }.filter { !isEmpty($0.value) }.sorted {
                    $0.key < $1.key
                })
        case .array(let elements): .array(elements.map(normal))
        default: value
        }
    }

    private static func isEmpty(_ value: JSONValue) -> Bool {
        switch value {
        case .null, .bool(false), .string(""), .number("0"), .object([]), .array([]), .string("no"): true
        default: false
        }
    }
}
