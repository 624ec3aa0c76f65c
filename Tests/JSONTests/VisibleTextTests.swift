import JSON
import Testing

@Suite struct VisibleTextTests {
    @Test(arguments: [
        ("plain", "plain"), ("two\nlines\r\tx", "two lines  x"), ("\u{1B}[2J\u{7}\u{0}", " [2J  "),
        ("\u{9B}31m\u{7F}", " 31m "),
        ("a\u{202E}b\u{2066}c\u{200F}", "a b c "), ("naïve 漢字", "naïve 漢字"),
    ])
    func `Nothing reaches a terminal that it would obey`(text: String, shown: String) { #expect(VisibleText.of(text) == shown) }

    @Test func `Endless text ends`() { #expect(VisibleText.of(String(repeating: "x", count: 1000), limit: 10) == "xxxxxxxxxx") }

    @Test func `A fault of JSON does not repeat control characters`() {
        let fault = JSONFault(path: "a\u{1B}]0;x", message: "\"\n\u{0}\" is no digest")
        #expect(fault.description == "a ]0;x: \"  \" is no digest")
    }
}
