import Runtime
import Testing

@Suite struct CapabilityNamesTests {
    @Test func numbersAreTheKernels() {
        #expect(CapabilityNames.all.count == 41)
        #expect(CapabilityNames.number("CAP_CHOWN") == 0)
        #expect(CapabilityNames.number("CAP_SETPCAP") == CapabilityNames.setPCap)
        #expect(CapabilityNames.number("CAP_SYS_ADMIN") == CapabilityNames.sysAdmin)
        #expect(CapabilityNames.number("CAP_MKNOD") == 27)
        #expect(CapabilityNames.number("CAP_CHECKPOINT_RESTORE") == 40)
        #expect(CapabilityNames.number("sys_admin") == nil)
    }
}
