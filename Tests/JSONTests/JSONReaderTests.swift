import JSON
import Testing

@Suite struct JSONReaderTests {
    @Test func aFaultNamesThePathOfTheValue() throws {
        var reader = try JSONReader(#"{"process":{"rlimits":[{"type":"a"},{"type":7}]}}"#)
        let fault = #expect(throws: JSONFault.self) {
            try reader.object { _, reader in
                try reader.object { _, reader in
                    try reader.array { reader in try reader.object { _, reader in _ = try reader.string() } }
                }
            }
        }
        #expect(fault?.description == "process.rlimits[1].type: expected a string, found a number")
    }

    @Test(arguments: ["", "{", "[1,", "{\"a\"}", "{\"a\":}", "[1 2]", "tru", "\"\u{01}\"", "\"\\x\"", "-", "01", "1e", "[]x"])
    func malformedTextIsRefused(_ text: String) {
        #expect(throws: JSONFault.self) { try JSONValue(json: Array(text.utf8)) }
    }

    @Test func depthIsLimited() {
        let deep = Array(String(repeating: "[", count: 1000).utf8)
        let fault = #expect(throws: JSONFault.self) { try JSONValue(json: deep) }
        #expect(fault?.message == "nested deeper than 128 levels")
    }

    @Test func escapesAndSurrogatesAreDecoded() throws {
        let value = try JSONValue(json: Array(#""a\n\u00e9\ud83d\ude00\ud800x""#.utf8))
        #expect(value == .string("a\n\u{e9}\u{1F600}\u{FFFD}x"))
    }

    @Test func integersKeepTheirRange() throws {
        #expect(try UInt64(json: Array("18446744073709551615".utf8)) == .max)
        #expect(try Int(json: Array("1e3".utf8)) == 1000)
        #expect(throws: JSONFault.self) { try UInt8(json: Array("256".utf8)) }
        #expect(throws: JSONFault.self) { try Int(json: Array("1.5".utf8)) }
    }

    @Test func anyValueSurvivesARoundTrip() throws {
        let text = #"{"b":[1,-2.5e3,true,null,"q\"\\\u0001\u2028"],"a":{}}"#
        let value = try JSONValue(json: Array(text.utf8))
        #expect(value.jsonText == text)
    }

    @Test func indentationIsGos() throws {
        let value = try JSONValue(json: Array(#"[{"a":[],"b":{},"c":[1]}]"#.utf8))
        #expect(
            value.indented()
                == "[\n    {\n        \"a\": [],\n        \"b\": {},\n        \"c\": [\n            1\n        ]\n    }\n]")
    }
}
