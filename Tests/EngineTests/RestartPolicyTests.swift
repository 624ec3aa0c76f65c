import Engine
import Model
import Testing

struct RestartPolicyTests {
    private func message(_ name: String, _ count: Int = 0, autoRemove: Bool = false) -> String? {
        var policy = Docker.RestartPolicy()
        policy.name = name
        policy.maximumRetryCount = count
        do {
            try RestartPolicy.validate(policy, autoRemove: autoRemove)
            return nil
        } catch { return Fault(error).message }
    }

    @Test func `Docker's words for policies that make no sense`() {
        #expect(message("always") == nil)
        #expect(message("on-failure", 5) == nil)
        #expect(message("always", 5) == "invalid restart policy: maximum retry count can only be used with 'on-failure'")
        #expect(message("on-failure", -1) == "invalid restart policy: maximum retry count cannot be negative")
        #expect(
            message("sometimes")
                == "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
        #expect(message("always", autoRemove: true) == "can't create 'AutoRemove' container with restart policy")
        #expect(message("no", autoRemove: true) == nil)
    }
}
