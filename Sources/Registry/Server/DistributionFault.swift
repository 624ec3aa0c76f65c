import HTTP
import JSON

/// An answer of the registry that is an error, with a code of the distribution specification ("Error Codes").
struct DistributionFault: Error {
    enum Code: String {
        case blobUnknown = "BLOB_UNKNOWN"
        case blobUploadInvalid = "BLOB_UPLOAD_INVALID"
        case blobUploadUnknown = "BLOB_UPLOAD_UNKNOWN"
        case digestInvalid = "DIGEST_INVALID"
        case manifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
        case manifestInvalid = "MANIFEST_INVALID"
        case manifestUnknown = "MANIFEST_UNKNOWN"
        case nameInvalid = "NAME_INVALID"
        case nameUnknown = "NAME_UNKNOWN"
        case sizeInvalid = "SIZE_INVALID"
        case tagInvalid = "TAG_INVALID"
        case unauthorized = "UNAUTHORIZED"
        case denied = "DENIED"
        case unsupported = "UNSUPPORTED"
        case tooManyRequests = "TOOMANYREQUESTS"
        case paginationInvalid = "PAGINATION_NUMBER_INVALID"
        case rangeInvalid = "RANGE_INVALID"
        case unavailable = "UNAVAILABLE"
        case unknown = "UNKNOWN"
    }

    let status: Int
    let code: Code
    let message: String
    /// What the message is about, as a JSON object of one member.
    var detail: (name: String, value: String)?
    var fields: [ServerField] = []

    init(
        _ status: Int, _ code: Code, _ message: String, detail: (name: String, value: String)? = nil,
        fields: [ServerField] = []
    ) {
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.fields = fields
    }

    var response: ServerResponse {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("errors")
            writer.array { writer in
                writer.object { writer in
                    writer.member("code", code.rawValue)
                    writer.member("message", message)
                    if let detail {
                        writer.key("detail")
                        writer.object { $0.member(detail.name, detail.value) }
                    }
                }
            }
        }
        writer.newline()
        var response = ServerResponse(status, fields, body: .bytes(writer.bytes))
        response.add("Content-Type", "application/json")
        response.note = "\(code.rawValue): \(message)"
        return response
    }

    static func blobUnknown(_ digest: String) -> DistributionFault {
        DistributionFault(404, .blobUnknown, "blob unknown to registry", detail: ("digest", digest))
    }
    static func manifestUnknown(_ reference: String) -> DistributionFault {
        DistributionFault(404, .manifestUnknown, "manifest unknown", detail: ("reference", reference))
    }
    static func nameUnknown(_ name: String) -> DistributionFault {
        DistributionFault(404, .nameUnknown, "repository name not known to registry", detail: ("name", name))
    }
    static func uploadUnknown(_ id: String) -> DistributionFault {
        DistributionFault(404, .blobUploadUnknown, "blob upload unknown to registry", detail: ("upload", id))
    }
    static func digestInvalid(_ text: String) -> DistributionFault {
        DistributionFault(
            400, .digestInvalid, "invalid digest: it must be sha256:<64 hexadecimal digits> or sha512:<128>",
            detail: ("digest", String(text.prefix(200))))
    }
}
