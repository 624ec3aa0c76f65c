import JSON
import Linux
import Model

/// A field of a listing's rows.
package struct ListColumn<Row> {
    let name: String
    let header: String
    /// Part of `--format json`.
    let isListed: Bool
    let value: (Row) -> TemplateValue

    init(_ name: String, _ header: String, listed: Bool = true, _ value: @escaping (Row) -> String) {
        self.name = name
        self.header = header
        isListed = listed
        self.value = { .string(value($0)) }
    }

    /// A label's header is its name.
    var headerValue: TemplateValue { name == "Label" ? .record(type: TemplateFunctions.namesItself, []) : .string(header) }

    init(_ name: String, _ header: String, values: @escaping (Row) -> TemplateValue) {
        self.name = name
        self.header = header
        isListed = false
        value = values
    }
}

/// Docker's lists: a table, `json`, a template, or `table TEMPLATE`.
package struct Listing<Row> {
    let type: String
    let columns: [ListColumn<Row>]
    let standard: [String]

    package enum Shape {
        case table([String])
        case json
        case template(Template)
        case templateTable(Template)
    }

    /// - Parameter columns: of the table where no format is given.
    package func shape(_ format: String?, columns: [String]? = nil) throws -> Shape {
        switch format {
        case nil, "", "table": return .table(columns ?? standard)
        case "json": return .json
        case let format?:
            if format.hasPrefix("table ") {
                return .templateTable(try Template(Self.unescaped(String(format.dropFirst(6))), .listing))
            }
            return .template(try Template(Self.unescaped(format), .listing))
        }
    }

    /// `\t` and `\n`, as people write them in shells.
    static func unescaped(_ format: String) -> String {
        var result = ""
        var escaped = false
        for character in format {
            if escaped {
                switch character {
                case "t": result += "\t"
                case "n": result += "\n"
                default: result += "\\" + String(character)
                }
                escaped = false
            } else if character == "\\" {
                escaped = true
            } else {
                result.append(character)
            }
        }
        return escaped ? result + "\\" : result
    }

    package func text(_ rows: [Row], _ shape: Shape) throws -> String {
        switch shape {
        case .table(let names):
            let shown = names.compactMap { name in columns.first { $0.name == name } }
            let cells = rows.map { row in shown.map { $0.value(row).text } }
            return TabbedText.align(([shown.map(\.header)] + cells).map { $0.joined(separator: "\t") })
        case .json: return rows.map { GoText.escapedForHTML(record($0, listed: true).json.jsonText) + "\n" }.joined()
        case .template(let template): return try rows.map { try template.run(record($0)) + "\n" }.joined()
        case .templateTable(let template):
            let header = try template.run(.record(type: type, columns.map { ($0.name, $0.headerValue) }))
            return TabbedText.align(try [header] + rows.map { try template.run(record($0)) })
        }
    }

    private func record(_ row: Row, listed: Bool = false) -> TemplateValue {
        .record(type: type, columns.filter { !listed || $0.isListed }.map { ($0.name, $0.value(row)) })
    }
}

/// Columns by tabs, as Go's tabwriter makes them with docker's settings: at least ten wide, three spaces between.
package enum TabbedText {
    /// - Parameters:
    ///   - minimum: the least width of a column, padding included
    ///   - padding: spaces behind the widest cell
    package static func align(_ lines: [String], minimum: Int = 10, padding: Int = 3) -> String {
        let cells = lines.flatMap { $0.split(separator: "\n", omittingEmptySubsequences: false) }
            .map { $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init) }
        var result = ""
        var widths: [Int] = []
        format(cells, 0, cells.count, &widths, &result, minimum, padding)
        return result
    }

    /// A column is a run of lines that all have a cell ended by a tab there.
    private static func format(
        _ lines: [[String]], _ from: Int, _ to: Int, _ widths: inout [Int], _ result: inout String, _ minimum: Int,
        _ padding: Int
    ) {
        let column = widths.count
        var line = from
        var written = from
        while line < to {
            guard column < lines[line].count - 1 else {
                line += 1
                continue
            }
            for index in written..<line { write(lines[index], widths, &result) }
            let start = line
            var width = minimum
            while line < to, column < lines[line].count - 1 {
                width = max(width, displayWidth(lines[line][column]) + padding)
                line += 1
            }
            widths.append(width)
            format(lines, start, line, &widths, &result, minimum, padding)
            widths.removeLast()
            written = line
        }
        for index in written..<to { write(lines[index], widths, &result) }
    }

    private static func write(_ cells: [String], _ widths: [Int], _ result: inout String) {
        for (index, cell) in cells.enumerated() {
            result += cell
            if index < cells.count - 1, index < widths.count {
                result += String(repeating: " ", count: max(0, widths[index] - displayWidth(cell)))
            }
        }
        result += "\n"
    }

    private static func displayWidth(_ text: String) -> Int { text.unicodeScalars.count }
}

/// Shortened texts, as docker's lists cut them.
package enum Shortened {
    package static func id(_ id: String, full: Bool = false) -> String {
        if full { return id }
        let digits = id.hasPrefix("sha256:") ? id.dropFirst(7) : id[...]
        return String(digits.prefix(12))
    }

    /// At most `length` characters, the last of which is an ellipsis where something was cut off.
    package static func text(_ text: String, _ length: Int) -> String {
        guard text.count > length else { return text }
        return String(text.prefix(length - 1)) + "…"
    }
}
