import HTTP
import JSON
import Model

extension RegistryService {
    func tags(_ name: RepositoryName, _ query: RegistryQuery) throws -> ServerResponse {
        let page = try query.pageSize(store.limits.page, standard: store.limits.page)
        let last = query["last"] ?? ""
        let tags = try store.database.read { transaction -> [String] in
            guard try transaction.repositoryID(name) != nil else { throw DistributionFault.nameUnknown(name.text) }
            return page == 0 ? [] : try transaction.tags(in: name, after: last, limit: page + 1)
        }
        var response = Self.json { writer in
            writer.object { writer in
                writer.member("name", name.text)
                writer.member("tags", Array(tags.prefix(page)))
            }
        }
        addLink(&response, "/v2/\(name)/tags/list", tags, page)
        return response
    }

    func catalog(_ query: RegistryQuery) throws -> ServerResponse {
        let page = try query.pageSize(store.limits.page, standard: 100)
        let last = query["last"] ?? ""
        let names = page == 0 ? [] : try store.database.read { try $0.repositories(after: last, limit: page + 1) }
        var response = Self.json { writer in
            writer.object { $0.member("repositories", Array(names.prefix(page))) }
        }
        addLink(&response, "/v2/_catalog", names, page)
        return response
    }

    /// Where the next page begins (RFC 5988). `names` has one more than the page, where there is one.
    private func addLink(_ response: inout ServerResponse, _ path: String, _ names: [String], _ page: Int) {
        guard page > 0, names.count > page else { return }
        response.add("Link", "<\(path)?n=\(page)&last=\(PercentCoding.encoded(names[page - 1]))>; rel=\"next\"")
    }

    /// An index of the manifests whose subject is that digest, whether there is such a manifest or not.
    func referrers(_ name: RepositoryName, _ digest: Digest, _ query: RegistryQuery) throws -> ServerResponse {
        let page = max(1, try query.pageSize(store.limits.page, standard: store.limits.page))
        let filter = query["artifactType"].flatMap { $0.isEmpty ? nil : $0 }
        let found = try store.database.read {
            try $0.referrers(
                of: digest, in: name, after: query["last"] ?? "", artifactType: filter, limit: page + 1)
        }
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("schemaVersion", 2)
            writer.member("mediaType", MediaType.ociIndex)
            writer.key("manifests")
            writer.array { writer in
                for referrer in found.prefix(page) { Self.write(referrer, to: &writer) }
            }
        }
        var response = ServerResponse(
            200, [.init("Content-Type", MediaType.ociIndex)], body: .bytes(writer.bytes))
        if filter != nil { response.add("OCI-Filters-Applied", "artifactType") }
        if found.count > page {
            var link = "/v2/\(name)/referrers/\(digest)?n=\(page)&last=\(PercentCoding.encoded("\(found[page - 1].digest)"))"
            if let filter { link += "&artifactType=\(PercentCoding.encoded(filter))" }
            response.add("Link", "<\(link)>; rel=\"next\"")
        }
        return response
    }

    private static func write(_ referrer: Referrer, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.member("mediaType", referrer.mediaType)
            writer.member("digest", referrer.digest)
            writer.member("size", referrer.size)
            if !referrer.artifactType.isEmpty { writer.member("artifactType", referrer.artifactType) }
            if !referrer.annotations.isEmpty {
                writer.key("annotations")
                writer.raw(referrer.annotations)
            }
        }
    }

    // MARK: Search

    /// What `docker search` asks of a registry: its first version's list, found by a part of the name.
    func search(_ query: RegistryQuery) throws -> ServerResponse {
        let term = String((query["q"] ?? "").prefix(200)).lowercased()
        let size = min(max(Int(query["n"] ?? "") ?? 25, 1), 100)
        let page = min(max(Int(query["page"] ?? "") ?? 1, 1), 10_000)
        let (total, results) = try store.database.read { transaction in
            let total = try transaction.first(
                """
                SELECT COUNT(*) FROM repository r WHERE instr(r.name, ?) > 0
                AND EXISTS (SELECT 1 FROM manifest m WHERE m.repository = r.id)
                """, term
            ) { $0.int(0) }
            let results = try transaction.rows(
                """
                SELECT r.name, (SELECT m.annotations FROM tag t JOIN manifest m ON m.id = t.manifest
                    WHERE t.repository = r.id ORDER BY t.updated DESC LIMIT 1)
                FROM repository r WHERE instr(r.name, ?) > 0
                AND EXISTS (SELECT 1 FROM manifest m WHERE m.repository = r.id)
                ORDER BY (r.name = ?) DESC, r.name LIMIT ? OFFSET ?
                """, term, term, size, (page - 1) * size
            ) { (name: $0.text(0), annotations: $0.blob(1)) }
            return (total ?? 0, results)
        }
        return Self.json { writer in
            writer.object { writer in
                writer.member("num_pages", (total + size - 1) / size)
                writer.member("num_results", total)
                writer.member("page", page)
                writer.member("page_size", size)
                writer.member("query", term)
                writer.key("results")
                writer.array { writer in
                    for result in results { Self.write(result.name, result.annotations, to: &writer) }
                }
            }
        }
    }

    private static func write(_ name: String, _ annotations: [UInt8], to writer: inout JSONWriter) {
        let known = annotations.isEmpty ? [:] : (try? [String: String](json: annotations)) ?? [:]
        writer.object { writer in
            writer.member("name", name)
            writer.member("description", known["org.opencontainers.image.description"] ?? "")
            writer.member("is_official", false)
            writer.member("is_automated", false)
            writer.member("star_count", 0)
        }
    }
}
