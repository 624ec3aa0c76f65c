import CLI
import Model
import Testing

@Suite struct ImageTreeListingTests {
    private func image(_ tags: [String], _ platforms: [String], created: Int) -> Docker.ImageSummary {
        var image = Docker.ImageSummary()
        image.id = "sha256:" + String(repeating: "ab", count: 32)
        image.repoTags = tags
        image.size = 164_000_000
        image.created = created
        image.containers = 0
        image.manifests = platforms.map { text in
            let parts = text.split(separator: "/").map(String.init)
            var platform = Docker.OCIPlatform()
            (platform.os, platform.architecture, platform.variant) = (parts[0], parts[1], parts.count > 2 ? parts[2] : nil)
            var data = Docker.ImageManifestSummaryImageData()
            data.platform = platform
            data.containers = parts[1] == "arm" ? ["c"] : []
            var size = Docker.ImageManifestSummarySize()
            (size.total, size.content) = (224_000_000, 60_400_000)
            var manifest = Docker.ImageManifestSummary()
            manifest.id = "sha256:" + String(repeating: "cd", count: 32)
            (manifest.kind, manifest.imageData, manifest.size) = ("image", data, size)
            manifest.available = true
            return manifest
        }
        return image
    }

    @Test func platformsStandBelowTheirImage() {
        let text = ImageTreeListing(
            [
                image(["old:1"], [], created: 1), image(["app:1", "app:latest"], ["linux/amd64", "linux/arm/v7"], created: 2),
            ], all: false
        ).text()
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(
            lines == [
                "                                                              Info ->  U In Use ", "",
                "IMAGE                 ID             DISK USAGE   CONTENT SIZE   EXTRA", "app:latest",
                "app:1                 abababababab        164MB          121MB   U    ",
                "├─ linux/amd64        cdcdcdcdcdcd        224MB         60.4MB        ",
                "└─ linux/arm/v7       cdcdcdcdcdcd        224MB         60.4MB   U    ", "",
                "old:1                 abababababab        164MB             0B        ", "", "",
            ])
    }

    @Test func aNarrowTerminalHasFewerColumnsAndShorterNames() {
        let image = image(["registry.example.com:5000/some/very/long/name:1"], ["linux/amd64"], created: 1)
        let text = ImageTreeListing([image], all: false).text(width: 60, paint: true)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 7)
        #expect(lines[2].hasSuffix("\u{1B}[39m\u{1B}[1mCONTENT SIZE\u{1B}[0m"))
        #expect(
            lines[3]
                == "\u{1B}[34m\u{1B}[1mregistry.example…\u{1B}[0m   \u{1B}[39mabababababab\u{1B}[0m        \u{1B}[39m164MB\u{1B}[0m"
                + "         \u{1B}[39m60.4MB\u{1B}[0m")
    }

    @Test func anImageWithoutANameIsShownWhereAllAre() {
        let dangling = [image(["<none>:<none>"], [], created: 1)]
        #expect(ImageTreeListing(dangling, all: true).text().contains("<untagged>   abababababab"))
        #expect(!ImageTreeListing(dangling, all: false).text().contains("abababababab"))
    }
}
