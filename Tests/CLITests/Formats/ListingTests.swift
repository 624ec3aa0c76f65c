import Model
import Testing

import CLI

@Suite struct ListingTests {
    @Test func columnsAreAtLeastTenWideAndThreeApart() {
        #expect(
            TabbedText.align(["A\tB\tC", "aaaaaaaaaaaa\tb\tc"]) == "A              B         C\naaaaaaaaaaaa   b         c\n")
    }

    @Test func columnsEndWithTheirRunOfLines() {
        #expect(TabbedText.align(["a\tb", "plain", "longer text\tc"]) == "a         b\nplain\nlonger text   c\n")
    }

    private var container: Docker.ContainerSummary {
        var row = Docker.ContainerSummary()
        row.id = "58103822374ce0d57906d212e32ff7a7f9fa2096ae18e01504a4b991e6bd4c38"
        row.image = "nginx-base"
        row.command = "sh -c 'while true; do sleep 1; done'"
        row.created = 1000
        row.status = "Up 3 seconds"
        row.state = "running"
        row.names = ["/web", "/other/alias"]
        row.labels = ["b": "2", "a": "1"]
        return row
    }

    @Test func psTable() throws {
        let listing = ContainerRows(full: false, now: 1_060_000_000_000).listing
        #expect(
            try listing.text([container], listing.shape(nil)) == """
                CONTAINER ID   IMAGE        COMMAND                  CREATED              STATUS         PORTS     NAMES
                58103822374c   nginx-base   "sh -c 'while true; …"   About a minute ago   Up 3 seconds             web

                """)
    }

    @Test func psTemplates() throws {
        let listing = ContainerRows(full: false, now: 0).listing
        #expect(try listing.text([container], listing.shape("{{.Names}} {{.Label \"a\"}}")) == "web 1\n")
        #expect(
            try listing.text([container], listing.shape("table {{.ID}}\\t{{.Names}}"))
                == "CONTAINER ID   NAMES\n58103822374c   web\n")
        #expect(throws: TemplateFault.self) { try listing.text([container], listing.shape("{{.Nope}}")) }
        #expect(try listing.text([], listing.shape("{{.Names}}")) == "")
    }

    @Test func psJSON() throws {
        let listing = ContainerRows(full: false, now: 0).listing
        let text = try listing.text([container], listing.shape("json"))
        #expect(text.hasPrefix(#"{"Command":"\"sh -c 'while true; …\"","CreatedAt":"#) && text.hasSuffix("}\n"))
    }

    @Test func imagesHaveARowForEachName() {
        var image = Docker.ImageSummary()
        image.id = "sha256:aed46ebb608aa20686e69b0929275163aeaa7968ad41788632bdba04e084daab"
        image.repoTags = ["a:1", "localhost:5000/b/c:2"]
        let rows = ImageRows.rows([image], digests: false)
        #expect(rows.map(\.repository) == ["a", "localhost:5000/b/c"] && rows.map(\.tag) == ["1", "2"])
        image.repoTags = []
        #expect(ImageRows.rows([image], digests: false).map(\.repository) == ["<none>"])
    }

    private func port(_ address: String, _ outside: Int?, _ inside: Int, _ type: String = "tcp") -> Docker.PortSummary {
        var port = Docker.PortSummary()
        port.ip = address
        port.publicPort = outside
        port.privatePort = inside
        port.type = type
        return port
    }

    @Test func portsInOneLine() {
        #expect(PortsText.text([port("0.0.0.0", 8080, 80), port("::", 8080, 80)]) == "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp")
        #expect(PortsText.text([port("", nil, 80), port("", nil, 443)]) == "80/tcp, 443/tcp")
        #expect(
            PortsText.text([port("0.0.0.0", 90, 90), port("0.0.0.0", 91, 91), port("0.0.0.0", 92, 92)])
                == "0.0.0.0:90-92->90-92/tcp")
        #expect(PortsText.text([]) == "")
    }
}
