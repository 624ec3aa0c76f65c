import JSON
import Linux
import Model
import Testing

/// The examples of the runtime specification: good ones are read and survive a round trip, bad ones are refused. They lie
/// beside the checkout; without them the tests do not run.
private let folder =
    #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/../shared/specs/oci-runtime/test"

private func examples(_ kind: String) -> [String] {
    ((try? Files.names(folder + "/" + kind)) ?? []).map { folder + "/" + kind + "/" + $0 }.sorted()
}

@Suite(.enabled(if: Files.exists(folder))) struct OCIExamplesTests {
    @Test(arguments: examples("config/good"))
    func goodConfigurationsAreRead(_ path: String) throws {
        let spec = try OCI.Spec(json: try Files.read(path))
        #expect(try OCI.Spec(json: spec.json) == spec)
    }

    @Test(arguments: examples("config/bad"))
    func badConfigurationsAreRefused(_ path: String) throws {
        #expect(throws: JSONFault.self) { try OCI.Spec(json: try Files.read(path)) }
    }

    @Test(arguments: examples("state/good"))
    func goodStatesAreRead(_ path: String) throws { _ = try OCI.State(json: try Files.read(path)) }

    @Test(arguments: examples("state/bad"))
    func badStatesAreRefused(_ path: String) throws {
        #expect(throws: JSONFault.self) { try OCI.State(json: try Files.read(path)) }
    }

    @Test(arguments: examples("features/good"))
    func goodFeaturesAreRead(_ path: String) throws { _ = try OCI.Features(json: try Files.read(path)) }

    @Test(arguments: examples("features/bad"))
    func badFeaturesAreRefused(_ path: String) throws {
        #expect(throws: JSONFault.self) { try OCI.Features(json: try Files.read(path)) }
    }
}
