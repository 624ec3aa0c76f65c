import API
import Model
import Testing

@Suite struct RouterTests {
    static let router = {
        var router = Router<String>()
        for (method, pattern) in [
            ("GET", "/_ping"), ("GET", "/containers/json"), ("GET", "/containers/{id}/json"), ("DELETE", "/containers/{id}"),
            ("POST", "/containers/prune"), ("POST", "/containers/{id}/start"), ("GET", "/images/json"),
            ("GET", "/images/{name...}/json"), ("GET", "/images/{name...}/get"), ("GET", "/images/get"),
            ("DELETE", "/images/{name...}"), ("POST", "/images/{name...}/tag"),
        ] { router.add(method, pattern, method + " " + pattern) }
        return router
    }()

    static func find(_ method: String, _ target: String) throws -> (String, [String: String])? {
        let target = try RequestTarget(target)
        return router.match(method, target.segments).map { ($0.target, $0.parameters) }
    }

    @Test func literalSegmentsGoBeforeParameters() throws {
        #expect(try Self.find("GET", "/v1.50/containers/json")?.0 == "GET /containers/json")
        #expect(try Self.find("GET", "/containers/json/json")?.1 == ["id": "json"])
        #expect(try Self.find("POST", "/containers/prune/start")?.1 == ["id": "prune"])
    }

    @Test func imageNamesMayHaveSlashes() throws {
        #expect(try Self.find("GET", "/images/a/b/c:1/json")?.1 == ["name": "a/b/c:1"])
        #expect(try Self.find("GET", "/images/a%2Fb/json")?.1 == ["name": "a/b"])
        #expect(try Self.find("GET", "/images/a/json/json")?.1 == ["name": "a/json"])
        #expect(try Self.find("GET", "/images/json")?.0 == "GET /images/json")
        #expect(try Self.find("DELETE", "/images/host:5000/x/y")?.1 == ["name": "host:5000/x/y"])
        #expect(try Self.find("DELETE", "/images/json")?.1 == ["name": "json"])
    }

    @Test func doubledSlashesAreOne() throws {
        #expect(try Self.find("GET", "/v1.50/containers//web/json")?.1 == ["id": "web"])
        #expect(try Self.find("GET", "//_ping/")?.0 == "GET /_ping")
    }

    @Test func unknownPathsAndMethodsLeadNowhere() throws {
        #expect(try Self.find("GET", "/nothing") == nil)
        #expect(try Self.find("PUT", "/containers/json") == nil)
        #expect(try Self.find("GET", "/") == nil)
        #expect(try Self.find("GET", "/images") == nil)
    }

    @Test func versionsOutsideTheRangeAreRefusedInDockersWords() throws {
        #expect(try RequestTarget("/v1.24/info").version == APIVersion(1, 24))
        #expect(try RequestTarget("/info").version == .newest)
        let old = #expect(throws: Fault.self) { try RequestTarget("/v1.12/info") }
        #expect(
            old?.message
                == "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        )
        let new = #expect(throws: Fault.self) { try RequestTarget("/v9.99/info") }
        #expect(new?.message == "client version 9.99 is too new. Maximum supported API version is \(Docker.apiVersion)")
        #expect(try RequestTarget("/volumes/v1").segments == ["volumes", "v1"])
    }

    @Test func queriesAndAuthoritiesAreNoPartOfThePath() throws {
        let target = try RequestTarget("http://docker/v1.50/info?x=/y")
        #expect(target.segments == ["info"])
        #expect(target.queryText == "x=/y")
    }
}
