import JSON
import Model
import Testing

@Suite struct DockerTypesTests {
    @Test func aCommandMayBeASingleString() throws {
        let request = try Docker.ContainerCreateRequest(json: Array(#"{"Cmd":"true","Entrypoint":null,"Image":"a"}"#.utf8))
        #expect(request.cmd?.words == ["true"])
        #expect(request.entrypoint == nil)
    }

    @Test func unsetMembersAreLeftOutOrNullAsGoWritesThem() {
        var config = Docker.ContainerConfig()
        config.image = "a"
        #expect(config.jsonText == #"{"Cmd":null,"Image":"a","Volumes":null,"Entrypoint":null,"OnBuild":null}"#)
    }

    @Test func portBindingsMayBeNull() throws {
        let host = try Docker.HostConfig(json: Array(#"{"PortBindings":{"80/tcp":null,"81/tcp":[{"HostPort":"1"}]}}"#.utf8))
        #expect(host.portBindings?.count == 2)
        #expect(host.portBindings?["81/tcp"]??.first?.hostPort == "1")
    }
}
