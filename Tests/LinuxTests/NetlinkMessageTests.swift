import Linux
import Model
import Testing

/// Netlink messages as annotated bytes (little-endian numbers unless said otherwise): `hex` drops what stands behind `;`.
@Suite struct NetlinkMessageTests {
    static func hex(_ text: String) -> [UInt8] {
        text.split(separator: "\n").flatMap { line in
            line.prefix { $0 != ";" }.split(separator: " ").compactMap { UInt8($0, radix: 16) }
        }
    }

    @Test func aBridgeIsMadeWithItsAddressAndUp() throws {
        let mac = try #require(MACAddress("02:42:ac:1e:00:01"))
        let expected = Self.hex(
            """
            50 00 00 00  10 00  00 06  07 00 00 00  00 00 00 00 ; length 80, RTM_NEWLINK, CREATE|EXCL, sequence 7
            00 00 00 00  00 00 00 00                            ; family, type, index: none
            01 00 00 00  01 00 00 00                            ; flags IFF_UP, changed IFF_UP
            0b 00  03 00  73 6b 69 66 66 30 00  00              ; IFLA_IFNAME "skiff0", padding
            0a 00  01 00  02 42 ac 1e 00 01  00 00              ; IFLA_ADDRESS, padding
            08 00  04 00  dc 05 00 00                           ; IFLA_MTU 1500
            10 00  12 80                                        ; IFLA_LINKINFO, nested
            0b 00  01 00  62 72 69 64 67 65 00  00              ; IFLA_INFO_KIND "bridge", padding
            """)
        #expect(RouteRequest.createBridge("skiff0", mac: mac, mtu: 1500).bytes(sequence: 7) == expected)
    }

    @Test func aVethPairIsOneMessageWithItsFarEndElsewhere() throws {
        let request = VethRequest(
            name: "vethac1e0002", master: 3, mtu: 1500, group: 9, peerName: "eth0",
            peerMAC: try #require(MACAddress("02:42:ac:1e:00:02")), namespace: 17)
        let expected = Self.hex(
            """
            bc 00 00 00  10 00  00 06  01 00 00 00  00 00 00 00 ; length 188, RTM_NEWLINK, CREATE|EXCL
            00 00 00 00  00 00 00 00  01 00 00 00  01 00 00 00  ; up
            11 00  03 00  76 65 74 68 61 63 31 65 30 30 30 32 00  00 00 00 ; IFLA_IFNAME
            08 00  04 00  dc 05 00 00                           ; IFLA_MTU
            08 00  0a 00  03 00 00 00                           ; IFLA_MASTER
            08 00  1b 00  09 00 00 00                           ; IFLA_GROUP
            08 00  1f 00  01 00 00 00                           ; IFLA_NUM_TX_QUEUES
            08 00  20 00  01 00 00 00                           ; IFLA_NUM_RX_QUEUES
            60 00  12 80                                        ; IFLA_LINKINFO
            09 00  01 00  76 65 74 68 00  00 00 00              ; IFLA_INFO_KIND "veth"
            50 00  02 80                                        ; IFLA_INFO_DATA
            4c 00  01 80                                        ; VETH_INFO_PEER
            00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  ; the peer's ifinfomsg: down
            09 00  03 00  65 74 68 30 00  00 00 00              ; IFLA_IFNAME "eth0"
            08 00  04 00  dc 05 00 00                           ; IFLA_MTU
            0a 00  01 00  02 42 ac 1e 00 02  00 00              ; IFLA_ADDRESS
            08 00  1c 00  11 00 00 00                           ; IFLA_NET_NS_FD 17
            08 00  1f 00  01 00 00 00  08 00  20 00  01 00 00 00
            """)
        #expect(request.message.bytes(sequence: 1) == expected)
    }

    @Test func addressesAndRoutes() throws {
        let address = try #require(IPv4Address("172.30.0.2"))
        #expect(
            RouteRequest.add(address: address, prefix: 16, link: 2).payload
                == Self.hex(
                    """
                    02 10 00 00  02 00 00 00         ; AF_INET, /16, flags, scope universe, link 2
                    08 00  02 00  ac 1e 00 02        ; IFA_LOCAL
                    08 00  01 00  ac 1e 00 02        ; IFA_ADDRESS
                    08 00  04 00  ac 1e ff ff        ; IFA_BROADCAST
                    """))
        let six = try #require(IPv6Address("fd00::2"))
        #expect(
            RouteRequest.add(address: six, prefix: 64, link: 2).payload
                == Self.hex(
                    """
                    0a 40 02 00  02 00 00 00         ; AF_INET6, /64, IFA_F_NODAD
                    14 00  02 00  fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02
                    14 00  01 00  fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02
                    08 00  08 00  02 00 00 00        ; IFA_FLAGS: NODAD again, as 32 bits
                    """))
        #expect(
            RouteRequest.loopback6(by: 2).payload
                == Self.hex(
                    """
                    0a 80 00 00  ff 03 00 02  00 00 00 00 ; AF_INET6, /128; table local, RTPROT_BOOT, universe, RTN_LOCAL
                    14 00  01 00  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01
                    08 00  04 00  02 00 00 00             ; RTA_OIF
                    08 00  06 00  02 10 00 00             ; RTA_PRIORITY 4098
                    """))
        #expect(
            RouteRequest.add(route: nil, gateway: try #require(IPv4Address("172.30.0.1")), link: 2).payload
                == Self.hex(
                    """
                    02 00 00 00  fe 03 00 01  00 00 00 00 ; AF_INET, /0; main table, RTPROT_BOOT, universe, unicast
                    08 00  05 00  ac 1e 00 01             ; RTA_GATEWAY
                    08 00  04 00  02 00 00 00             ; RTA_OIF
                    """))
    }

    @Test func manyLinksAreDeletedByTheirGroup() {
        #expect(
            RouteRequest.delete(group: 5).bytes(sequence: 1)
                == Self.hex(
                    """
                    28 00 00 00  11 00  00 00  01 00 00 00  00 00 00 00 ; RTM_DELLINK
                    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00
                    08 00  1b 00  05 00 00 00                           ; IFLA_GROUP
                    """))
    }

    @Test func anElementOfAMap() {
        let table = TablesRequest(table: "skiff")
        let element = TablesElement(key: [6, 0, 0, 0, 0x1F, 0x90, 0, 0], value: [172, 30, 0, 2, 0, 80, 0, 0])
        let messages = table.add([element], to: "ports_any")
        #expect(messages.count == 1)
        #expect(
            messages[0].bytes(sequence: 2)
                == Self.hex(
                    """
                    58 00 00 00  0c 0a  00 04  02 00 00 00  00 00 00 00 ; NFT_MSG_NEWSETELEM of subsystem 10, CREATE
                    01 00 00 00                                         ; NFPROTO_INET, version, resource
                    0a 00  01 00  73 6b 69 66 66 00  00 00              ; NFTA_SET_ELEM_LIST_TABLE "skiff"
                    0e 00  02 00  70 6f 72 74 73 5f 61 6e 79 00  00 00  ; NFTA_SET_ELEM_LIST_SET "ports_any"
                    28 00  03 80                                        ; NFTA_SET_ELEM_LIST_ELEMENTS
                    24 00  01 80                                        ; NFTA_LIST_ELEM
                    10 00  01 80  0c 00  01 00  06 00 00 00 1f 90 00 00 ; key: tcp . 8080
                    10 00  02 80  0c 00  01 00  ac 1e 00 02 00 50 00 00 ; value: 172.30.0.2 . 80
                    """))
    }

    @Test func aRuleOfTwoExpressions() {
        let message = TablesRequest(table: "t").append(
            [.load(.outputName), .verdict(.jump("x"))], to: "c", comment: "hi")
        #expect(
            message.payload
                == Self.hex(
                    """
                    01 00 00 00
                    06 00  01 00  74 00  00 00                          ; NFTA_RULE_TABLE "t"
                    06 00  02 00  63 00  00 00                          ; NFTA_RULE_CHAIN "c"
                    60 00  04 80                                        ; NFTA_RULE_EXPRESSIONS
                    24 00  01 80                                        ; NFTA_LIST_ELEM
                    09 00  01 00  6d 65 74 61 00  00 00 00              ; NFTA_EXPR_NAME "meta"
                    14 00  02 80                                        ; NFTA_EXPR_DATA
                    08 00  02 00  00 00 00 07  08 00  01 00  00 00 00 01 ; key OIFNAME, register 1 (network order)
                    38 00  01 80
                    0e 00  01 00  69 6d 6d 65 64 69 61 74 65 00  00 00  ; "immediate"
                    24 00  02 80
                    08 00  01 00  00 00 00 00                           ; into the verdict
                    18 00  02 80                                        ; NFTA_IMMEDIATE_DATA
                    14 00  02 80                                        ; NFTA_DATA_VERDICT
                    08 00  01 00  ff ff ff fd                           ; NFT_JUMP -3
                    06 00  02 00  78 00  00 00                          ; to chain "x"
                    09 00  07 00  00 03 68 69 00  00 00 00              ; NFTA_RULE_USERDATA: comment, 3 bytes, "hi"
                    """))
    }

    @Test func anAcknowledgementIsNoFaultAndAFaultCarriesTheKernelsWords() throws {
        let fine = Self.hex(
            "24 00 00 00  02 00  00 01  05 00 00 00  01 00 00 00  00 00 00 00  14 00 00 00 10 00 05 06 05 00 00 00 01 00 00 00")
        let reply = try #require(NetlinkReply.parse(fine[...]).first)
        #expect(reply.sequence == 5)
        #expect(try reply.acknowledgement().errno == 0)
        let refused = Self.hex(
            """
            34 00 00 00  02 00  00 03  06 00 00 00  01 00 00 00 ; NLMSG_ERROR, CAPPED|ACK_TLVS
            ef ff ff ff                                         ; -EEXIST
            14 00 00 00  10 00  05 06  06 00 00 00  00 00 00 00 ; the header that it is about
            0e 00  01 00  74 61 6b 65 6e 20 6e 61 6d 65         ; NLMSGERR_ATTR_MSG "taken name", without its zero
            00 00
            """)
        let fault = try #require(NetlinkReply.parse(refused[...]).first)
        let (code, text) = try fault.acknowledgement()
        #expect(code == 17)
        #expect(text == "taken name")
    }
}
