import Linux
import Model
import Testing

@Suite struct TrafficProgramTests {
    @Test func whatHangsAProgramOnALink() throws {
        let queue = NetlinkMessageTests.hex(
            """
            30 00 00 00  24 00  00 04  01 00 00 00  00 00 00 00 ; length 48, RTM_NEWQDISC, CREATE
            00 00 00 00  05 00 00 00                            ; family, link 5
            00 00 ff ff  f1 ff ff ff  00 00 00 00               ; handle ffff:, parent TC_H_CLSACT
            0b 00  01 00  63 6c 73 61 63 74 00  00              ; TCA_KIND "clsact"
            """)
        #expect(RouteRequest.createClassifier(link: 5).bytes(sequence: 1) == queue)
        let filter = NetlinkMessageTests.hex(
            """
            4c 00 00 00  2c 00  00 05  01 00 00 00  00 00 00 00 ; length 76, RTM_NEWTFILTER, CREATE|REPLACE
            00 00 00 00  05 00 00 00                            ; family, link 5
            01 00 00 00  f2 ff ff ff  00 03 01 00               ; handle 1, parent ffff:fff2, priority 1 of ETH_P_ALL
            08 00  01 00  62 70 66 00                           ; TCA_KIND "bpf"
            20 00  02 80                                        ; TCA_OPTIONS
            08 00  06 00  09 00 00 00                           ; TCA_BPF_FD 9
            0a 00  07 00  73 6b 69 66 66 00  00 00              ; TCA_BPF_NAME "skiff"
            08 00  08 00  01 00 00 00                           ; TCA_BPF_FLAGS: direct action
            """)
        #expect(RouteRequest.attach(program: 9, name: "skiff", link: 5).bytes(sequence: 1) == filter)
    }

    @Test func anAddressIsPlacedBehindAPort() throws {
        let mac = try #require(MACAddress("02:42:ac:1e:00:02"))
        let expected = NetlinkMessageTests.hex(
            """
            28 00 00 00  1c 00  00 05  01 00 00 00  00 00 00 00 ; length 40, RTM_NEWNEIGH, CREATE|REPLACE
            07 00 00 00  05 00 00 00  40 00  04  00             ; AF_BRIDGE, link 5, NUD_NOARP, NTF_MASTER
            0a 00  02 00  02 42 ac 1e 00 02  00 00              ; NDA_LLADDR
            """)
        #expect(RouteRequest.place(mac, behind: 5).bytes(sequence: 1) == expected)
    }
}
