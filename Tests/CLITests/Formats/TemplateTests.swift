import JSON
import Testing

import CLI

private let value = TemplateValue(
    (try? JSONValue(
        json: Array(
            #"{"Id":"abc","Name":"/web","State":{"Running":true,"Pid":12},"Config":{"Cmd":["sh","-c"],"Labels":{"a.b":"c","d":"e"},"Env":null},"Mounts":[{"Source":"/a","RW":false},{"Source":"/b","RW":true}],"Empty":[]}"#
                .utf8))) ?? .null)

@Suite struct TemplateTests {
    @Test(arguments: [
        ("{{.Id}}", "abc"), ("{{.ID}}", "abc"), ("{{ .State.Pid }}", "12"), ("{{json .State}}", #"{"Running":true,"Pid":12}"#),
        ("{{join .Config.Cmd \" \"}}", "sh -c"), ("{{.Name | upper}}", "/WEB"), ("{{.Config.Cmd}}", "[sh -c]"),
        ("{{index .Config.Labels \"a.b\"}}", "c"), ("{{index .Config.Cmd 1}}", "-c"), ("{{len .Mounts}}", "2"),
        ("{{range .Mounts}}{{.Source}} {{end}}", "/a /b "),
        ("{{range $i, $m := .Mounts}}{{$i}}={{$m.Source}};{{end}}", "0=/a;1=/b;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"), ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if not .State.Running}}a{{else if eq .Id \"abc\"}}b{{end}}", "b"), ("{{with .State}}{{.Pid}}{{end}}", "12"),
        ("{{printf \"%-6s|%5d|%q\" .Id .State.Pid .Id}}", "abc   |   12|\"abc\""), ("{{println .Id}}", "abc\n"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}},{{end}}", "a.b:c,d:e,"), ("{{$x := .Id}}{{$x}}{{$x}}", "abcabc"),
        ("a {{- .Id -}} b", "aabcb"), ("{{/* nothing */}}x", "x"), ("{{range .Mounts}}{{$.Id}}{{end}}", "abcabc"),
        ("{{(index .Mounts 1).Source}}", "/b"), ("{{and .State.Running .Id}}", "abc"), ("{{truncate .Id 2}}", "ab"),
        ("{{\"}}\"}}", "}}"), ("{{.Config.Labels}}", "map[a.b:c d:e]"), ("{{split \"a,b\" \",\"}}", "[a b]"),
        ("{{title .Id}}", "Abc"),
        ("{{.Config.Env}}", "<no value>"), ("{{if gt .State.Pid 10}}y{{end}}", "y"), ("{{pad .Id 1 2}}|", " abc  |"),
    ]) func formats(_ template: String, _ result: String) throws { #expect(try Template(template).run(value) == result) }

    @Test(arguments: [
        ("{{nosuch .Id}}", "template parsing error: template: :1: function \"nosuch\" not defined"),
        ("{{.Id", "template parsing error: template: :1: unclosed action"),
        ("{{if .Id}}", "template parsing error: template: :1: unexpected EOF: {{if}} has no {{end}}"),
        ("{{end}}", "template parsing error: template: :1: unexpected {{end}}"),
        ("{{.Nope}}", "template parsing error: template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\""),
        ("{{define \"x\"}}", "template parsing error: template: :1: {{define}} is not supported in formats"),
    ]) func faults(_ template: String, _ message: String) {
        let fault = #expect(throws: TemplateFault.self) { try Template(template).run(value) }
        #expect(fault?.message == message)
    }

    @Test func deepNestingIsRefused() {
        #expect(throws: TemplateFault.self) { try Template("{{" + String(repeating: "(", count: 1000) + "}}") }
    }
}
