import Linux
import Model
import Runtime
import Testing

/// Runs the few eBPF instructions that a device program consists of.
private enum DeviceMachine {
    static func permits(_ program: [EBPFInstruction], kind: UInt32, access: UInt32, major: UInt32, minor: UInt32) -> Bool? {
        var registers = [UInt64](repeating: 0xDEAD_BEEF_DEAD_BEEF, count: 11)
        let context = [access << 16 | kind, major, minor]
        var counter = 0
        while program.indices.contains(counter) {
            let instruction = program[counter]
            counter += 1
            let destination = Int(instruction.registers & 15)
            let source = Int(instruction.registers >> 4)
            let value = UInt32(bitPattern: instruction.immediate)
            let low = UInt32(truncatingIfNeeded: registers[destination])
            switch instruction.code {
            case 0x61: registers[destination] = UInt64(context[Int(instruction.offset) / 4])
            case 0xBC: registers[destination] = registers[source] & 0xFFFF_FFFF
            case 0xB7: registers[destination] = UInt64(bitPattern: Int64(instruction.immediate))
            case 0x54: registers[destination] = UInt64(low & value)
            case 0x74: registers[destination] = UInt64(low >> value)
            case 0x56: if low != value { counter += Int(instruction.offset) }
            case 0x16: if low == value { counter += Int(instruction.offset) }
            case 0x95: return registers[0] == 1
            default: return nil
            }
        }
        return nil
    }
}

@Suite struct DeviceRulesTests {
    private let denyAll = OCI.DeviceRule(allow: false, access: "rwm")

    private func permits(
        _ rules: DeviceRules, _ kind: DeviceRules.Kind, _ major: UInt32, _ minor: UInt32, _ access: DeviceRules.Access
    )
        -> Bool?
    {
        DeviceMachine.permits(
            rules.program, kind: UInt32(kind.rawValue), access: UInt32(access.rawValue), major: major, minor: minor)
    }

    /// GHSA-g54h-m393-cpwq: without rules everything is denied but what every container has.
    @Test func everythingIsDeniedByDefault() throws {
        let rules = try DeviceRules([])
        #expect(!rules.allowsByDefault)
        #expect(permits(rules, .character, 1, 3, [.read, .write]) == true)
        #expect(permits(rules, .character, 136, 77, .all) == true)
        #expect(permits(rules, .block, 8, 0, .makeNode) == true)
        #expect(permits(rules, .block, 8, 0, .read) == false)
        #expect(permits(rules, .character, 10, 229, .write) == false)
        #expect(permits(rules, .character, 5, 1, .read) == false)
    }

    @Test func v1WritesAreDenyAllThenTheExceptions() throws {
        let changes = try DeviceRules([denyAll, .init(allow: true, type: "c", major: 10, minor: 229, access: "rw")]).changes(
            from: nil)
        #expect(changes.first == DeviceRules.Change(allow: false, text: "a"))
        #expect(
            changes.dropFirst().map(\.text) == [
                "c 10:229 rw", "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:8 rwm", "c 1:7 rwm", "c 5:0 rwm", "c 1:5 rwm",
                "c 1:9 rwm",
                "c 136:* rwm", "c 5:2 rwm",
            ])
        #expect(changes.dropFirst().allSatisfy { $0.allow })
    }

    @Test func updateChangesOnlyWhatDiffers() throws {
        let old = try DeviceRules([denyAll, .init(allow: true, type: "b", major: 8, minor: 0, access: "r")])
        let new = try DeviceRules([denyAll, .init(allow: true, type: "b", major: 8, minor: 16, access: "rw")])
        #expect(new.changes(from: old) == [.init(allow: true, text: "b 8:16 rw"), .init(allow: false, text: "b 8:0 r")])
        #expect(new.changes(from: new).isEmpty)
        let more = try DeviceRules([denyAll, .init(allow: true, type: "b", major: 8, minor: 0, access: "rw")])
        #expect(more.changes(from: old) == [.init(allow: true, text: "b 8:0 w")])
    }

    @Test func readsTheKernelsList() throws {
        let rules = try DeviceRules([denyAll])
        let list = rules.changes(from: nil).dropFirst().map(\.text).joined(separator: "\n")
        #expect(DeviceRules(list: list) == rules)
        #expect(DeviceRules(list: "a *:* rwm") == nil)
    }

    @Test func privilegedAllowsAll() throws {
        let rules = try DeviceRules([denyAll, .init(allow: true, access: "rwm")])
        #expect(rules.changes(from: nil) == [.init(allow: true, text: "a")])
        #expect(permits(rules, .block, 259, 1, .all) == true)
    }

    @Test func deniedExceptionOfAllIsDeniedForEachWay() throws {
        let rules = try DeviceRules([
            .init(allow: true, type: "a"), .init(allow: false, type: "b", major: 8, minor: 0, access: "w"),
        ])
        #expect(permits(rules, .block, 8, 0, .read) == true)
        #expect(permits(rules, .block, 8, 0, .write) == false)
        #expect(permits(rules, .block, 8, 0, [.read, .write]) == false)
        #expect(permits(rules, .block, 8, 1, [.read, .write]) == true)
    }

    @Test func laterRuleTakesBack() throws {
        let allow = OCI.DeviceRule(allow: true, type: "c", major: 10, minor: 229, access: "rwm")
        let deny = OCI.DeviceRule(allow: false, type: "c", major: 10, minor: 229, access: "w")
        let rules = try DeviceRules([denyAll, allow, deny])
        #expect(permits(rules, .character, 10, 229, .read) == true)
        #expect(permits(rules, .character, 10, 229, .write) == false)
        let everything = OCI.DeviceRule(allow: false, type: "c", access: "rwm")
        #expect(permits(try DeviceRules([denyAll, allow, everything]), .character, 10, 229, .read) == false)
    }

    @Test func holeInAWildcardIsRefused() {
        let wide = OCI.DeviceRule(allow: true, type: "c", access: "rwm")
        let hole = OCI.DeviceRule(allow: false, type: "c", major: 10, minor: 229, access: "rwm")
        #expect(throws: Fault.self) { _ = try DeviceRules([denyAll, wide, hole]) }
    }

    @Test(arguments: [
        (OCI.DeviceRule(allow: true, type: "x"), "linux.resources.devices[0].type"),
        (OCI.DeviceRule(allow: true, type: "c", access: "rx"), "linux.resources.devices[0].access"),
        (OCI.DeviceRule(allow: true, type: "c", major: -2), "linux.resources.devices[0].major"),
        (OCI.DeviceRule(allow: true, type: "c", minor: 1 << 40), "linux.resources.devices[0].minor"),
    ])
    func faultsNameTheField(rule: OCI.DeviceRule, field: String) {
        do {
            _ = try DeviceRules([rule])
            Issue.record("was accepted")
        } catch { #expect(String(describing: error).hasPrefix(field)) }
    }

    /// The program and the rules that it was made of agree on every combination around the numbers that occur.
    @Test func programMeansTheRules() throws {
        let lists: [[OCI.DeviceRule]] = [
            [], [denyAll, .init(allow: true, type: "b", major: 8, access: "rm")],
            [.init(allow: true), .init(allow: false, type: "b", minor: 3, access: "w")],
            [.init(allow: true, type: "a", major: 7, access: "rw")],
        ]
        for rules in try lists.map({ try DeviceRules($0) }) {
            for kind in [DeviceRules.Kind.block, .character] {
                for major in [UInt32(0), 1, 5, 7, 8, 136, UInt32.max] {
                    for minor in [UInt32(0), 1, 2, 3, 9] {
                        for bits in UInt8(1)...7 {
                            let access = DeviceRules.Access(rawValue: bits)
                            let hits = rules.exceptions.filter { exception in
                                exception.kind == kind && (exception.major ?? major) == major
                                    && (exception.minor ?? minor) == minor
                            }
                            let wanted =
                                rules.allowsByDefault
                                ? !hits.contains { !$0.access.isDisjoint(with: access) }
                                : hits.contains { $0.access.isSuperset(of: access) }
                            #expect(permits(rules, kind, major, minor, access) == wanted)
                        }
                    }
                }
            }
        }
    }
}
