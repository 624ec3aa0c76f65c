import Linux
import Model

/// A match or target of iptables, which iptables-nft keeps as it was, with the kernel's structures of old
/// (include/uapi/linux/netfilter/xt_*.h), in the words of nf_tables.
struct XTablesExtension {
    enum Step {
        case expression(TablesExpression)
        /// iptables' own match is asked, as the host's rule asks it (`isKept`); its words.
        case kept(String)
        /// Which packets it means is not known.
        case doubt(String)
        case outcome(HostRule.Outcome)
    }

    let name: String
    let revision: UInt32
    let data: [UInt8]
    let isIPv6: Bool

    private func byte(_ at: Int) -> UInt8 { at < data.count ? data[at] : 0 }
    private func short(_ at: Int) -> UInt16 { data[...].native(UInt16.self, at: at) ?? 0 }
    private func word(_ at: Int) -> UInt32 { data[...].native(UInt32.self, at: at) ?? 0 }
    private func bytes(_ at: Int, _ count: Int) -> [UInt8] { Array(data.dropFirst(at).prefix(count)) }

    private static func big(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }
    private static func native(_ value: UInt32) -> [UInt8] { PacketKnowledge.native(value) }

    /// What a packet must meet: all steps of one of the alternatives.
    func match() -> [[Step]] {
        switch (name, revision) {
        case ("comment", _): [[]]
        case ("tcp", 0): [ports(inverted: byte(11)) + tcpFlags()]
        case ("udp", 0): [ports(inverted: byte(8))]
        case ("multiport", 1): multiport()
        case ("conntrack", 1...3): [connection()]
        case ("state", 0): [state(mask: word(0), isInverted: false)]
        case ("addrtype", 0): addressKinds(inverted: (word(4) != 0, word(8) != 0))
        case ("addrtype", 1):
            word(4) & 0xC != 0
                ? [[.doubt("addrtype --limit-iface")]] : addressKinds(inverted: (word(4) & 1 != 0, word(4) & 2 != 0))
        case ("icmp", _): [[load(.load(.transport)), test(.compare([1]))]]
        case ("icmp6", _): [[load(.load(.transport)), test(.compare([58]))]]
        case ("hl", 0), ("ttl", 0): [hops()]
        case ("rt", 0): [routingHeader()]
        case ("mark", 1): [[load(.load(.mark)), mask(bytes(4, 4)), test(.compare(bytes(0, 4), isEqual: byte(8) == 0))]]
        case ("iprange", 1): [addressRanges()]
        case ("mac", 0):
            [[load(.load(.link, at: 6, size: 6)), test(.compare(bytes(0, 6), isEqual: word(8) == 0))]]
        case ("pkttype", 0): [[load(.load(.packetType)), test(.compare([byte(0)], isEqual: word(4) == 0))]]
        case ("limit", 0): [limit()]
        default: [[Self.kept.contains(name) ? .kept(words) : .doubt("iptables' match \(name)")]]
        }
    }

    /// Matches that have no words in nf_tables and answer before the redirection as they do in the input hook. They are kept as they
    /// are, in a table of the rule's own family, which alone has them: `recent` and `hashlimit` go on with the same lists, ipsets
    /// are asked as they are when the packet comes.
    private static let kept: Set<String> = [
        "recent", "set", "hashlimit", "connlimit", "time", "length", "dscp", "tos", "ecn", "u32", "string", "statistic",
        "connbytes", "helper", "geoip",
    ]

    private var words: String {
        switch (name, revision) {
        case ("recent", 0...1):
            // struct xt_recent_mtinfo: seconds, hit_count, check_set, invert, name[200].
            let how = [1: "--set", 2: "--rcheck", 4: "--update", 8: "--remove"][Int(byte(8) & 15)] ?? ""
            let inverted = byte(9) != 0 ? "! " : ""
            return "recent \(inverted)\(how)" + (word(0) > 0 ? " --seconds \(word(0))" : "")
                + (word(4) > 0 ? " --hitcount \(word(4))" : "") + " --name \(text(10, 200))"
        // struct xt_set_info: index, dim, flags.
        case ("set", 1...4): return "ipset number \(short(0))"
        default: return "iptables' match \(name)"
        }
    }

    private func load(_ expression: TablesExpression) -> Step { .expression(expression) }
    private func test(_ expression: TablesExpression) -> Step { .expression(expression) }
    private func mask(_ bytes: [UInt8]) -> Step { .expression(.mask(bytes)) }

    /// struct xt_tcp and xt_udp begin with the first and last source port, the first and last destination port.
    private func ports(inverted: UInt8) -> [Step] {
        port(at: 0, short(0), short(2), isInverted: inverted & 1 != 0)
            + port(at: 2, short(4), short(6), isInverted: inverted & 2 != 0)
    }

    private func port(at offset: UInt32, _ first: UInt16, _ last: UInt16, isInverted: Bool) -> [Step] {
        if first == 0, last == 0xFFFF, !isInverted { return [] }
        return [
            load(.load(.transport, at: offset, size: 2)),
            first == last
                ? test(.compare(Self.big(first), isEqual: !isInverted))
                : test(.within(Self.big(first), Self.big(last), isInside: !isInverted)),
        ]
    }

    /// struct xt_tcp: option, flg_mask, flg_cmp, invflags from byte 8.
    private func tcpFlags() -> [Step] {
        if byte(8) != 0 { return [.doubt("tcp --tcp-option")] }
        if byte(9) == 0 { return [] }
        return [
            load(.load(.transport, at: 13, size: 1)), mask([byte(9)]),
            test(.compare([byte(10)], isEqual: byte(11) & 4 == 0)),
        ]
    }

    /// struct xt_multiport_v1: flags, count, ports[15], pflags[15], invert.
    private func multiport() -> [[Step]] {
        var ranges: [(UInt16, UInt16)] = []
        var index = 0
        while index < min(Int(byte(1)), 15) {
            let first = short(2 + 2 * index)
            let isRange = byte(32 + index) != 0 && index < 14
            ranges.append((first, isRange ? short(4 + 2 * index) : first))
            index += isRange ? 2 : 1
        }
        // XT_MULTIPORT_SOURCE, DESTINATION, EITHER
        let offsets: [UInt32] = byte(0) == 0 ? [0] : byte(0) == 1 ? [2] : [0, 2]
        var tests: [[Step]] = []
        for offset in offsets {
            tests += ranges.map { port(at: offset, $0.0, $0.1, isInverted: byte(47) != 0) }
        }
        return byte(47) != 0 ? [Array(tests.joined())] : tests
    }

    /// struct xt_conntrack_mtinfo1 to 3: match_flags at 146.
    private func connection() -> [Step] {
        let (wanted, inverted) = (short(146), short(148))
        // XT_CONNTRACK_STATE 1, STATUS 0x40, STATE_ALIAS 0x2000
        guard wanted & ~0x2041 == 0 else { return [.doubt("conntrack other than --ctstate and --ctstatus")] }
        var steps: [Step] = []
        if wanted & 1 != 0 {
            steps += state(mask: UInt32(revision == 1 ? UInt16(byte(150)) : short(150)), isInverted: inverted & 1 != 0)
        }
        if wanted & 0x40 != 0 {
            let status = UInt32(revision == 1 ? UInt16(byte(151)) : short(152))
            steps += [
                load(.load(.status)), mask(Self.native(status)),
                test(.compare(Self.native(0), isEqual: inverted & 0x40 != 0)),
            ]
        }
        return steps
    }

    /// XT_CONNTRACK_STATE_*: invalid 1, established 2, related 4, new 8, and untracked 256, which `state` writes 64. Those of
    /// address translation (64, 128) are not met by packets to the host itself.
    private func state(mask bits: UInt32, isInverted: Bool) -> [Step] {
        let untracked: UInt32 = name == "state" ? bits & 64 : bits & 256 != 0 ? 64 : 0
        return [
            load(.load(.state)), mask(Self.native(bits & 15 | untracked)), test(.compare(Self.native(0), isEqual: isInverted)),
        ]
    }

    /// struct xt_addrtype_info(_v1): bits 1 << RTN_* of source and destination.
    private func addressKinds(inverted: (source: Bool, destination: Bool)) -> [[Step]] {
        func tests(_ isSource: Bool, _ bits: UInt16, _ isInverted: Bool) -> [[Step]] {
            if bits == 0 { return [[]] }
            let kinds: [[Step]] = (0..<16).filter { bits & 1 << $0 != 0 }.map { kind in
                [
                    load(.loadAddressKind(isSource: isSource)),
                    test(.compare(Self.native(UInt32(kind)), isEqual: !isInverted)),
                ]
            }
            return isInverted ? [Array(kinds.joined())] : kinds
        }
        let destinations = tests(false, short(2), inverted.destination)
        return tests(true, short(0), inverted.source).flatMap { source in destinations.map { source + $0 } as [[Step]] }
    }

    /// struct ipt_ttl_info and ip6t_hl_info: mode (equal, unequal, less, more) and number.
    private func hops() -> [Step] {
        let number = byte(1)
        let place = load(.load(.network, at: isIPv6 ? 7 : 8, size: 1))
        switch byte(0) {
        case 0: return [place, test(.compare([number]))]
        case 1: return [place, test(.compare([number], isEqual: false))]
        case 2: return number == 0 ? [.doubt("ttl below 0")] : [place, test(.within([0], [number - 1]))]
        default: return number == 255 ? [.doubt("ttl above 255")] : [place, test(.within([number + 1], [255]))]
        }
    }

    /// struct ip6t_rt: rt_type, segsleft[2], hdrlen, flags, invflags. IP6T_RT_TYP is 1.
    private func routingHeader() -> [Step] {
        guard byte(16) == 1 else { return [.doubt("iptables' match rt")] }
        return [
            load(.load(extension: 43, at: 2, size: 1)), test(.compare([byte(0)], isEqual: byte(17) & 1 == 0)),
        ]
    }

    /// struct xt_iprange_mtinfo: src_min, src_max, dst_min, dst_max of 16 bytes each, flags: source 1, destination 2, inverted
    /// 16 and 32.
    private func addressRanges() -> [Step] {
        let (size, source, destination) = isIPv6 ? (16, UInt32(8), UInt32(24)) : (4, 12, 16)
        var steps: [Step] = []
        if byte(64) & 1 != 0 {
            steps += [
                load(.load(.network, at: source, size: UInt32(size))),
                test(.within(bytes(0, size), bytes(16, size), isInside: byte(64) & 16 == 0)),
            ]
        }
        if byte(64) & 2 != 0 {
            steps += [
                load(.load(.network, at: destination, size: UInt32(size))),
                test(.within(bytes(32, size), bytes(48, size), isInside: byte(64) & 32 == 0)),
            ]
        }
        return steps
    }

    /// struct xt_rateinfo: avg, in ten-thousandths of a second a packet, and burst.
    private func limit() -> [Step] {
        guard word(0) > 0 else { return [.doubt("iptables' match limit")] }
        let perDay = UInt64(86_400) * 10_000 / UInt64(word(0))
        return [.expression(.limit(packets: perDay, seconds: 86_400, burst: word(4)))]
    }
}

extension XTablesExtension {
    /// What happens to a packet that the rule means. Targets that only change marks and the like let it go on.
    func target() -> [Step] {
        switch name {
        case "LOG": [.expression(.log(prefix: text(2, 30), level: UInt32(byte(0))))]
        case "REJECT": [.outcome(.reject(rejection()))]
        case "NFQUEUE": [.outcome(.verdict(.queue))]
        case "NFLOG", "ULOG", "MARK", "CONNMARK", "SET", "CLASSIFY", "DSCP", "TOS", "ECN", "TRACE", "AUDIT", "CHECKSUM",
            "SECMARK",
            "CONNSECMARK", "CT", "HL", "TTL", "TCPMSS", "TCPOPTSTRIP", "TEE", "IDLETIMER", "RATEEST", "HMARK", "LED":
            []
        default: [.doubt("iptables' target \(name)"), .outcome(.verdict(.drop))]
        }
    }

    private func text(_ at: Int, _ count: Int) -> String {
        String(decoding: bytes(at, count).prefix { $0 != 0 }, as: UTF8.self)
    }

    /// enum ipt_reject_with and ip6t_reject_with.
    private func rejection() -> TablesExpression {
        let kind = Int(word(0))
        if kind == (isIPv6 ? 6 : 7) { return .reject(.reset) }
        let codes: [UInt8] = isIPv6 ? [0, 1, 2, 3, 4, 4, 4, 5, 6] : [0, 1, 2, 3, 3, 9, 10, 3, 13]
        return .reject(.unreachable(kind < codes.count ? codes[kind] : isIPv6 ? 4 : 3))
    }
}
