import Driver
import Model
import Names

private let servers = ["10.0.0.1", "10.0.0.2"].compactMap { NameServer($0) }

private let sandbox: NamesSandbox = {
    var sandbox = NamesSandbox(id: .random())
    let address = NamesAddress(.v4(IPv4Address(number: 0x0A01_0002)), prefix: 24)
    sandbox.endpoints = [NamesEndpoint(network: "n", networkName: "net", addresses: [address], names: ["a", "web"])]
    return sandbox
}()

private let table: NamesTable = {
    var table = NamesTable()
    table.put(sandbox)
    return table
}()

/// Bytes as a query and as an answer: what is read keeps its borders, what is written can be read again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard let message = try? DNSMessage(bytes) else { return 0 }
    precondition((12...bytes.count).contains(message.questionEnd))
    if let question = message.question {
        precondition(question.name.wire.count <= 255)
        var records: [DNSRecord] = []
        if case .known(let found) = table.verdict(question, for: sandbox.id, turn: 1) { records = found }
        for limit in [512, 4096, 65535] {
            let answer = DNSAnswer.make(message, bytes, records: records, limit: limit)
            guard let again = try? DNSMessage(answer) else { preconditionFailure("an answer of ours cannot be read") }
            precondition(again.question == question && again.isResponse && answer.count <= max(limit, 512))
        }
    }
    pass(bytes, message)
    return 0
}

/// The same bytes as what a server says to a query of the same question.
private func pass(_ bytes: [UInt8], _ message: DNSMessage) {
    guard message.isResponse, let question = message.question else { return }
    var query: [UInt8] = [0, 0, UInt8(message.opcode) << 3 | 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] + question.name.wire
    query += [UInt8(question.type >> 8), UInt8(question.type & 0xFF), UInt8(question.class >> 8), UInt8(question.class & 0xFF)]
    guard let asked = try? DNSMessage(query) else { preconditionFailure("a query of ours cannot be read") }
    var book = ServerBook()
    var exchange = Exchange(query, asked, servers: servers, isStream: bytes.count % 2 == 1, now: 0)
    _ = exchange.begin(id: message.id, now: 0)
    if case .reply(let reply) = exchange.received(bytes, for: 0, id: 7, book: &book, now: 1) {
        precondition(reply[0] == 0 && reply[1] == 0)
        precondition(exchange.isStream || reply.count <= 512)
    }
}

@main struct NamesFuzzer {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = LLVMFuzzerRunDriver(&count, &arguments, fuzz)
    }
}
