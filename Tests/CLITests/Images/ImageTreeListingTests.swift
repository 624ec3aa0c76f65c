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
            return manifest
        }
        return image
    }

    @Test func platformsStandBelowTheirImage() {
        let text = ImageTreeListing([
            image(["old:1"], [], created: 1), image(["app:1", "app:latest"], ["linux/amd64", "linux/arm/v7"], created: 2),
        ]).text()
        #expect(
            text == """
                                                                               Info ->  U In Use

                IMAGE             ID             DISK USAGE   CONTENT SIZE   EXTRA
                app:1
                app:latest        abababababab        164MB          121MB   U
                ├─ linux/amd64    cdcdcdcdcdcd        224MB         60.4MB
                └─ linux/arm/v7   cdcdcdcdcdcd        224MB         60.4MB   U

                old:1             abababababab        164MB             0B

                """)
    }

    @Test func anImageWithoutANameIsShown() {
        #expect(ImageTreeListing([image(["<none>:<none>"], [], created: 1)]).text().contains("<untagged>   abababababab"))
    }
}
