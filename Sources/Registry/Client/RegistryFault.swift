import HTTP
import JSON
import Model

/// What a registry said instead of what was asked (distribution-spec, "Error Codes").
struct RegistryRefusal: Error {
    let status: Int
    /// The first error's code, like `MANIFEST_UNKNOWN`; empty when the answer had none.
    let code: String
    let message: String

    init(status: Int, code: String = "", message: String = "") {
        self.status = status
        self.code = code
        self.message = message
    }

    /// Reads an answer that is none of the expected ones.
    init(_ answer: HTTPAnswer) {
        status = answer.status
        let body = (try? answer.readAll(limit: 64 << 10)) ?? []
        let errors = (try? ErrorList(json: body, limits: JSONLimits(size: 64 << 10, depth: 16)))?.errors ?? []
        code = errors.first?.code ?? ""
        message = Self.printable(errors.first?.message ?? "")
    }

    /// What strangers write goes to people's terminals: one line, no control characters, not endless.
    static func printable(_ text: String) -> String { VisibleText.of(text) }

    /// As docker shows codes: `manifest unknown: manifest unknown`.
    var words: String {
        let name = code.lowercased().replacing("_", with: " ")
        let rest = message.isEmpty ? "" : message
        if name.isEmpty { return rest.isEmpty ? "unexpected status \(status)" : rest }
        return rest.isEmpty ? name : "\(name): \(rest)"
    }

    var isMissing: Bool { status == 404 || code == "MANIFEST_UNKNOWN" || code == "NAME_UNKNOWN" || code == "BLOB_UNKNOWN" }
    var isDenied: Bool { status == 401 || status == 403 || code == "DENIED" || code == "UNAUTHORIZED" }

    private struct ErrorList: JSONReadable {
        var errors: [Entry] = []

        init(from reader: inout JSONReader) throws {
            try reader.object { key, reader in if key == "errors" { errors = try reader.value() } else { try reader.skip() } }
        }

        struct Entry: JSONReadable {
            var code = ""
            var message = ""

            init(from reader: inout JSONReader) throws {
                try reader.object { key, reader in
                    switch key {
                    case "code": code = try reader.value() ?? ""
                    case "message": message = try reader.value() ?? ""
                    default: try reader.skip()
                    }
                }
            }
        }
    }
}

/// A registry's wish to be left alone for a while.
struct RegistryBusy: Error {
    let status: Int
    /// Milliseconds, where it said so.
    let wait: Int?
}

enum RegistryFaults {
    /// Any error of an exchange, in words for people.
    /// - Parameter what: `Get "https://…/v2/x"`, or the image.
    static func fault(_ error: any Error, _ what: String) -> Fault {
        switch error {
        case let fault as Fault: return fault
        case let fault as WireFault where fault.kind == .cancelled: return Fault(.cancelled, "context canceled")
        case let fault as WireFault: return Fault(.system, "\(what): \(fault.message)")
        case let refusal as RegistryRefusal:
            if refusal.status == 401 { return Fault(.forbidden, "\(what): unauthorized: \(refusal.words)") }
            if refusal.isDenied { return Fault(.forbidden, "\(what): \(refusal.words)") }
            if refusal.isMissing { return Fault(.notFound, "\(what): \(refusal.words)") }
            return Fault(.system, "\(what): \(refusal.words)")
        case let busy as RegistryBusy:
            if busy.status == 429 {
                return Fault(.unavailable, "\(what): toomanyrequests: the registry limits how often it may be asked; try later")
            }
            return Fault(.unavailable, "\(what): the registry is busy (status \(busy.status)); try later")
        default: return Fault(.system, what, cause: error)
        }
    }

    /// docker's texts for a pull that does not begin.
    static func pullFault(_ error: any Error, _ reference: Reference) -> Fault {
        guard let refusal = error as? RegistryRefusal else { return fault(error, "pulling \(reference.familiar)") }
        if refusal.isDenied {
            let words = refusal.message.isEmpty ? "requested access to the resource is denied" : refusal.message
            return Fault(
                .notFound,
                "pull access denied for \(reference.familiarName), repository does not exist or may require 'docker login': "
                    + "denied: \(words)", subject: reference.familiar)
        }
        if refusal.code == "NAME_UNKNOWN" {
            return Fault(
                .notFound, "repository \(reference.familiarName) not found: \(refusal.words)", subject: reference.familiar)
        }
        if refusal.isMissing {
            let words = refusal.code.isEmpty ? "manifest unknown: manifest unknown" : refusal.words
            return Fault(.notFound, "manifest for \(reference.familiar) not found: \(words)", subject: reference.familiar)
        }
        return fault(error, "pulling \(reference.familiar)")
    }
}
