import Model

/// A record of an answer of ours.
public enum DNSRecord: Sendable, Equatable {
    case address(IPAddress)
    case pointer(DNSName)

    var type: UInt16 {
        switch self {
        case .address(.v4): DNSQuestion.a
        case .address(.v6): DNSQuestion.aaaa
        case .pointer: DNSQuestion.ptr
        }
    }
}

/// RCODEs (RFC 1035 4.1.1, RFC 6891 9).
public enum DNSCode: UInt16, Sendable {
    case noError = 0
    case formatError = 1
    case serverFailure = 2
    case noSuchName = 3
    case notImplemented = 4
    case refused = 5
    case badVersion = 16
}

/// Builds answers and changes messages in transit.
public enum DNSAnswer {
    /// Seconds that clients may keep an address of ours: containers come and go.
    static let timeToLive: UInt32 = 5
    /// What we take and send over UDP when the other side can.
    static let size: UInt16 = 4096
    /// UDP without EDNS (RFC 1035 2.3.4).
    static let smallest = 512

    /// How many bytes the client takes.
    public static func limit(_ query: DNSMessage, isStream: Bool) -> Int {
        if isStream { return 65535 }
        return max(smallest, min(Int(query.edns?.size ?? 0), Int(size)))
    }

    /// The answer to a query of ours, within `limit`; TC is set where not all records fit. The question is the query's own
    /// bytes, so that the client finds its letter case again; records' names point at it.
    public static func make(
        _ query: DNSMessage, _ bytes: [UInt8], code: DNSCode = .noError, records: [DNSRecord] = [], limit: Int
    ) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(query.questionEnd + 32 + 28 * records.count)
        append(&out, query.id)
        // QR, the query's opcode and RD, RA
        append(&out, 0x8080 | query.flags & 0x7900 | code.rawValue & 0xF)
        append(&out, query.question == nil ? 0 : 1)
        for _ in 0..<3 { append(&out, 0) }
        out.append(contentsOf: bytes[12..<query.questionEnd])
        let room = limit - (query.edns == nil ? 0 : 11)
        var count: UInt16 = 0
        for record in records {
            let before = out.count
            append(&out, record)
            if out.count > room {
                out.removeLast(out.count - before)
                out[2] |= 0x02
                break
            }
            count += 1
        }
        put(&out, count, at: 6)
        if let edns = query.edns {
            out.append(0)
            append(&out, DNSQuestion.opt)
            append(&out, size)
            append(&out, UInt16(code.rawValue >> 4) << 8)
            append(&out, edns.wantsSignatures ? 0x8000 : 0)
            append(&out, 0)
            put(&out, 1, at: 10)
        }
        return out
    }

    private static func append(_ out: inout [UInt8], _ record: DNSRecord) {
        append(&out, 0xC00C)
        append(&out, record.type)
        append(&out, DNSQuestion.internet)
        append(&out, UInt16(timeToLive >> 16))
        append(&out, UInt16(truncatingIfNeeded: timeToLive))
        switch record {
        case .address(.v4(let address)):
            append(&out, 4)
            append(&out, UInt16(truncatingIfNeeded: address.number >> 16))
            append(&out, UInt16(truncatingIfNeeded: address.number))
        case .address(.v6(let address)):
            append(&out, 16)
            out.append(contentsOf: address.bytes)
        case .pointer(let name):
            append(&out, UInt16(name.wire.count))
            out.append(contentsOf: name.wire)
        }
    }

    private static func append(_ out: inout [UInt8], _ word: UInt16) {
        out.append(UInt8(word >> 8))
        out.append(UInt8(truncatingIfNeeded: word))
    }

    private static func put(_ out: inout [UInt8], _ word: UInt16, at place: Int) {
        out[place] = UInt8(word >> 8)
        out[place + 1] = UInt8(truncatingIfNeeded: word)
    }

    /// The same message under another id.
    public static func renumbered(_ bytes: [UInt8], id: UInt16) -> [UInt8] {
        var bytes = bytes
        put(&bytes, id, at: 0)
        return bytes
    }

    /// A server's answer as the client may have it: its id, and no larger than it takes. A larger one is cut behind the
    /// question and marked TC; the client comes again over TCP.
    static func passed(_ answer: [UInt8], _ query: DNSMessage, _ bytes: [UInt8], limit: Int) -> [UInt8] {
        if answer.count <= limit { return renumbered(answer, id: query.id) }
        var cut = make(query, bytes, limit: limit)
        cut[2] |= 0x02
        cut[3] |= answer[3] & 0x0F
        return cut
    }
}
