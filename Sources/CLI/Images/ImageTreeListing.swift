import Model

/// `images --tree`: each image with its names, what it takes, and the platforms that it has. Columns, colours and what a narrow
/// terminal shortens are those of docker's CLI 28.
package struct ImageTreeListing {
    private struct Line {
        var name: String
        var id = ""
        var usage = ""
        var content = ""
        var isUsed = false
        var isFaint = false
    }

    private struct Block {
        var names: [String]
        /// With the last name.
        var line: Line
        var children: [Line]
    }

    private struct Column {
        let title: String
        let width: Int
        var isRight = false
    }

    private static let columns = [
        Column(title: "ID", width: 12), Column(title: "DISK USAGE", width: 10, isRight: true),
        Column(title: "CONTENT SIZE", width: 12, isRight: true), Column(title: "EXTRA", width: 5),
    ]
    private static let gap = "   "
    private static let untagged = "<untagged>"
    private var blocks: [Block] = []

    /// - Parameters:
    ///   - images: with their manifests.
    ///   - all: those without a name too.
    package init(_ images: [Docker.ImageSummary], all: Bool) {
        for image in images.sorted(by: { ($0.created ?? 0) > ($1.created ?? 0) }) {
            let tags = (image.repoTags ?? []).filter { $0 != "<none>:<none>" }
            if tags.isEmpty, !all { continue }
            var children: [Line] = []
            var content = 0
            for manifest in image.manifests ?? [] {
                let own = manifest.size?.content ?? 0
                content += own
                guard manifest.kind == "image" else { continue }
                children.append(
                    Line(
                        name: Self.platform(manifest), id: Shortened.id(manifest.id ?? ""),
                        usage: Self.size(manifest.size?.total ?? 0), content: Self.size(own),
                        isUsed: manifest.imageData?.containers?.isEmpty == false, isFaint: manifest.available != true))
            }
            for index in children.indices {
                children[index].name = (index == children.count - 1 ? "└─ " : "├─ ") + children[index].name
            }
            // The longest first: the others stand beside the columns.
            var names = (tags.isEmpty ? [Self.untagged] : tags).enumerated()
                .sorted { ($1.element.count, $0.offset) < ($0.element.count, $1.offset) }.map(\.element)
            let line = Line(
                name: names.removeLast(), id: Shortened.id(image.id ?? ""), usage: Self.size(image.size ?? 0),
                content: Self.size(content), isUsed: children.contains { $0.isUsed })
            blocks.append(Block(names: names, line: line, children: children))
        }
    }

    private static func platform(_ manifest: Docker.ImageManifestSummary) -> String {
        let platform = manifest.imageData?.platform
        guard let system = platform?.os, !system.isEmpty else { return "unknown" }
        return [system, platform?.architecture, platform?.variant].compactMap { $0 }.filter { !$0.isEmpty }
            .joined(separator: "/")
    }

    private static func size(_ bytes: Int) -> String { ByteSize.human(Double(bytes), digits: 3) }

    /// - Parameters:
    ///   - width: columns of the terminal.
    ///   - paint: with colours.
    package func text(width: Int = 80, paint: Bool = false) -> String {
        let width = max(20, width)
        var columns: [Column] = []
        var nameWidth = width
        // Columns go before the names become too short.
        for column in Self.columns {
            guard nameWidth - column.width - Self.gap.count >= 12 else { break }
            nameWidth -= column.width + Self.gap.count
            columns.append(column)
        }
        let widest = blocks.flatMap { block in
            (block.names + [block.line.name]).map(\.count) + block.children.map { $0.name.count + 4 }
        }.max()
        nameWidth = min(nameWidth, max(5, widest ?? 0))
        let ink = Ink(paint: paint)
        var text = Self.legend(width, ink) + "\n\n"
        text += ink.header(Self.padded("IMAGE", nameWidth))
        for column in columns { text += Self.gap + ink.header(Self.padded(column.title, column.width, column.isRight)) }
        text += "\n"
        let isSpaced = blocks.contains { !$0.children.isEmpty }
        for block in blocks {
            for name in block.names { text += ink.name(name) + "\n" }
            let name = block.line.name
            text += name == Self.untagged ? ink.faint(Self.padded(name, nameWidth)) : ink.name(Self.padded(name, nameWidth))
            text += Self.details(block.line, columns, ink)
            for child in block.children {
                text += ink.plain(Self.padded(child.name, nameWidth), isFaint: child.isFaint)
                text += Self.details(child, columns, ink)
            }
            if isSpaced { text += "\n" }
        }
        return text
    }

    private static func legend(_ width: Int, _ ink: Ink) -> String {
        let visible = ink.paint ? 21 : 18
        let info =
            ink.paint ? "\u{1B}[1m\u{1B}[106m\u{1B}[30mi\u{1B}[0m\u{1B}[0m \u{1B}[96mInfo → \u{1B}[0m\u{1B}[0m " : "Info -> "
        return String(repeating: " ", count: max(0, width - visible)) + info + ink.chip + " In Use "
    }

    private static func details(_ line: Line, _ columns: [Column], _ ink: Ink) -> String {
        let values = [line.id, line.usage, line.content]
        var text = ""
        for (index, column) in columns.enumerated() {
            text += gap
            if index < values.count {
                text += ink.plain(padded(values[index], column.width, column.isRight), isFaint: line.isFaint)
            } else if line.isUsed {
                text += ink.paint ? ink.chip + "  " : "U    "
            } else {
                text += "     "
            }
        }
        return text + "\n"
    }

    private static func padded(_ text: String, _ width: Int, _ isRight: Bool = false) -> String {
        if text.count > width { return text.prefix(width - 1) + "…" }
        let space = String(repeating: " ", count: width - text.count)
        return isRight ? space + text : text + space
    }
}

/// Colours of the tree, as docker's CLI has them; none where they are not wanted. Spaces around a text have none.
private struct Ink {
    let paint: Bool

    var chip: String { paint ? "\u{1B}[38;5;0m\u{1B}[48;5;14m U \u{1B}[0m" : " U" }

    func header(_ text: String) -> String { colored(text, "\u{1B}[39m\u{1B}[1m") }
    func name(_ text: String) -> String { colored(text, "\u{1B}[34m\u{1B}[1m") }
    func faint(_ text: String) -> String { colored(text, "\u{1B}[39m\u{1B}[2m") }
    func plain(_ text: String, isFaint: Bool) -> String { isFaint ? faint(text) : colored(text, "\u{1B}[39m") }

    private func colored(_ text: String, _ code: String) -> String {
        guard paint, let first = text.firstIndex(where: { $0 != " " }), let last = text.lastIndex(where: { $0 != " " }) else {
            return text
        }
        return text[..<first] + code + text[first...last] + "\u{1B}[0m" + text[text.index(after: last)...]
    }
}
