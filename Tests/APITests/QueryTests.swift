import API
import Model
import Testing

@Suite struct QueryTests {
    @Test func valuesAreDecodedAsGoDecodesThem() throws {
        let query = try Query("a=1&b=%2Fx+y&c&a=2&=z&d=%C3%A9")
        #expect(query["a"] == "1")
        #expect(query.all("a") == ["1", "2"])
        #expect(query["b"] == "/x y")
        #expect(query["c"] == "")
        #expect(query["d"] == "é")
        #expect(query["x"] == nil)
    }

    @Test(arguments: ["a=%", "a=%2", "a=%zz", "a=1;b=2"]) func malformedEscapesAreRefused(text: String) {
        #expect(throws: Fault.self) { try Query(text) }
    }

    @Test(arguments: [
        ("1", true), ("True", true), ("yes", true), ("x", true), ("0", false), ("No", false), ("FALSE", false), ("none", false),
        ("", false),
    ])
    func boolsAreDockers(text: String, value: Bool) throws {
        #expect(try Query("k=\(text)").bool("k") == value)
        #expect(try Query("").bool("k") == false)
        #expect(try Query("").bool("k", default: true))
        #expect(try Query("k=0").bool("k", default: true) == false)
    }

    @Test func numbersHaveGosTexts() throws {
        #expect(try Query("limit=-1").integer("limit") == -1)
        #expect(try Query("limit=").integer("limit") == nil)
        let wrong = #expect(throws: Fault.self) { try Query("t=x").integer("t") }
        #expect(wrong?.message == "strconv.ParseInt: parsing \"x\": invalid syntax")
        let large = #expect(throws: Fault.self) { try Query("t=99999999999999999999").integer("t") }
        #expect(large?.message == "strconv.ParseInt: parsing \"99999999999999999999\": value out of range")
    }

    @Test func momentsComeInThreeForms() throws {
        #expect(try Query("until=0").moment("until") == nil)
        #expect(try Query("until=").moment("until") == nil)
        #expect(try Query("since=1700000000").moment("since")?.nanoseconds == 1_700_000_000_000_000_000)
        #expect(try Query("since=1700000000.000000001").moment("since")?.nanoseconds == 1_700_000_000_000_000_001)
        #expect(try Query("since=1.5").moment("since")?.nanoseconds == 1_500_000_000)
        #expect(try Query("since=2023-11-14T22:13:20Z").moment("since")?.seconds == 1_700_000_000)
        #expect(throws: Fault.self) { try Query("since=yesterday").moment("since") }
        #expect(throws: Fault.self) { try Query("since=1.x").moment("since") }
        #expect(throws: Fault.self) { try Query("since=99999999999999999").moment("since") }
    }

    @Test func filtersComeInTwoForms() throws {
        let new = try Query(#"filters={"status":["running","paused"],"label":["a=b"]}"#).filters()
        #expect(new["status"] == ["paused", "running"])
        let old = try Query(#"filters={"status":{"running":true,"paused":false}}"#).filters()
        #expect(old["status"] == ["running"])
        #expect(try Query("").filters().isEmpty)
        #expect(throws: Fault.self) { try Query("filters={").filters() }
        #expect(throws: Fault.self) { try Query("filters=[]").filters() }
    }

    @Test func noBytesTrap() {
        var generator = Xorshift(seed: 77)
        let alphabet = Array("%&=;+abc123{}[]\":,.-TZ/ é\u{0}".utf8)
        for _ in 0..<20_000 {
            let bytes = (0..<Int(generator.next() % 60)).map { _ in alphabet[Int(generator.next() % UInt64(alphabet.count))] }
            let text = String(decoding: bytes, as: UTF8.self)
            if let query = try? Query(text) {
                for key in ["a", "", "1"] {
                    _ = try? query.moment(key)
                    _ = try? query.integer(key)
                    _ = try? query.filters(key)
                }
            }
            _ = try? RequestTarget(text)
        }
    }
}
