import Model

/// `images --tree`: each image with its names, what it takes, and the platforms that it has, as docker's CLI shows it (without the
/// colours).
package struct ImageTreeListing {
    private struct Line {
        var name: String
        var id = ""
        var usage = ""
        var content = ""
        var isUsed = false
    }

    private var blocks: [[Line]] = []

    /// - Parameter images: with their manifests.
    package init(_ images: [Docker.ImageSummary]) {
        for image in images.sorted(by: { ($0.created ?? 0) > ($1.created ?? 0) }) {
            var children: [Line] = []
            var content = 0
            var isUsed = (image.containers ?? 0) > 0
            let manifests = (image.manifests ?? []).filter { $0.kind == "image" }
            for (index, manifest) in manifests.enumerated() {
                let own = manifest.size?.content ?? 0
                content += own
                let used = manifest.imageData?.containers?.isEmpty == false
                isUsed = isUsed || used
                children.append(
                    Line(
                        name: (index == manifests.count - 1 ? "└─ " : "├─ ") + Self.platform(manifest),
                        id: Shortened.id(manifest.id ?? ""), usage: Self.size(manifest.size?.total ?? 0),
                        content: Self.size(own),
                        isUsed: used))
            }
            let tags = (image.repoTags ?? []).filter { $0 != "<none>:<none>" }
            var block = (tags.isEmpty ? ["<untagged>"] : tags).map { Line(name: $0) }
            let last = block.count - 1
            block[last].id = Shortened.id(image.id ?? "")
            block[last].usage = Self.size(image.size ?? 0)
            block[last].content = Self.size(content)
            block[last].isUsed = isUsed
            blocks.append(block + children)
        }
    }

    private static func platform(_ manifest: Docker.ImageManifestSummary) -> String {
        let platform = manifest.imageData?.platform
        let parts = [platform?.os, platform?.architecture, platform?.variant].compactMap { $0 }.filter { !$0.isEmpty }
        return parts.isEmpty ? "unknown" : parts.joined(separator: "/")
    }

    private static func size(_ bytes: Int) -> String { ByteSize.human(Double(bytes), digits: 3) }

    /// - Parameter width: columns of the terminal.
    package func text(width: Int = 80) -> String {
        let legend = "Info ->  U In Use"
        let wide = max(5, blocks.joined().map(\.name.count).max() ?? 0)
        func row(_ name: String, _ id: String, _ usage: String, _ content: String, _ extra: String) -> String {
            var text = name + String(repeating: " ", count: max(0, wide - name.count) + 3)
            text += id + String(repeating: " ", count: max(0, 12 - id.count) + 3)
            text += String(repeating: " ", count: max(0, 10 - usage.count)) + usage + "   "
            text += String(repeating: " ", count: max(0, 12 - content.count)) + content + "   " + extra
            while text.last == " " { text.removeLast() }
            return text
        }
        var lines = [String(repeating: " ", count: max(0, width - legend.count)) + legend, ""]
        lines.append(row("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"))
        for (index, block) in blocks.enumerated() {
            if index > 0, block.count > 1 || blocks[index - 1].count > 1 { lines.append("") }
            lines += block.map { row($0.name, $0.id, $0.usage, $0.content, $0.isUsed ? "U" : "") }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
