import JSON

/// `GET /v2/NAME/tags/list`
struct TagList: JSONReadable {
    var tags: [String] = []

    init(from reader: inout JSONReader) throws {
        try reader.object { key, reader in if key == "tags" { tags = try reader.value() } else { try reader.skip() } }
    }
}
