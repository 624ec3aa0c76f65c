import JSON

extension Docker {
    /// What a list, prune or events request keeps: a set of values per key (Go's filters.Args).
    ///
    /// Reads both forms that clients send: `{"status":["running"]}` and, older, `{"status":{"running":true}}`.
    public struct Filters: Sendable, Hashable {
        public var values: [String: [String]]

        public init(_ values: [String: [String]] = [:]) { self.values = values }

        public var isEmpty: Bool { values.isEmpty }
        public var keys: [String] { values.keys.sorted() }

        /// The values of a key; empty when it was not asked for.
        public subscript(_ key: String) -> [String] { values[key] ?? [] }

        /// True when the key was not asked for or one of its values is exactly this (Go's ExactMatch).
        public func matches(_ key: String, exactly value: String) -> Bool {
            let wanted = self[key]
            return wanted.isEmpty || wanted.contains(value)
        }

        /// True when the key was not asked for or every wanted `k` or `k=v` is in the map (Go's MatchKVList).
        public func matches(_ key: String, in map: [String: String]) -> Bool {
            self[key].allSatisfy { word in
                guard let equals = word.firstIndex(of: "=") else { return map[word] != nil }
                return map[String(word[..<equals])] == String(word[word.index(after: equals)...])
            }
        }

        /// The key's single boolean, or nil when it was not asked for.
        ///
        /// - Throws: `invalid` when it is neither true nor false, or both.
        public func bool(_ key: String) throws -> Bool? {
            guard let wanted = values[key] else { return nil }
            let isTrue = wanted.contains("1") || wanted.contains("true")
            let isFalse = wanted.contains("0") || wanted.contains("false")
            guard isTrue != isFalse else {
                throw Fault(.invalid, "invalid filter '\(key)=\(wanted.joined(separator: ","))'")
            }
            return isTrue
        }

        /// Refuses keys that the list does not know, in docker's words.
        public func validate(_ known: Set<String>) throws {
            for key in keys where !known.contains(key) { throw Fault(.invalid, "invalid filter '\(key)'") }
        }
    }
}

extension Docker.Filters: JSONReadable, JSONWritable {
    public init(from reader: inout JSONReader) throws {
        self.init()
        if reader.null() { return }
        try reader.object { key, reader in
            var wanted: [String] = []
            switch reader.next {
            case .array: wanted = try reader.value()
            case .string: wanted = [try reader.string()]
            case .null: _ = reader.null()
            default: try reader.object { value, reader in if try reader.bool() { wanted.append(value) } }
            }
            self.values[key] = Set(wanted).sorted()
        }
    }

    public func write(to writer: inout JSONWriter) { values.write(to: &writer) }
}
