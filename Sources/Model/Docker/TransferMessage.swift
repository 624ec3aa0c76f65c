import JSON

extension Docker {
    /// A line of the stream that pull and push answer with (moby's jsonmessage.JSONMessage).
    public struct TransferMessage: Sendable, Equatable, JSONWritable {
        public var status: String
        /// The layer, or the tag of `Pulling from …`.
        public var id: String?
        /// Not nil: something is on its way; both zero shows as `{}`.
        public var current: Int64?
        public var total: Int64?
        /// Of a push's last message: `{"Tag","Digest","Size"}` as JSON.
        public var aux: JSONValue?

        public init(_ status: String, id: String? = nil) {
            self.status = status
            self.id = id
        }

        public func write(to writer: inout JSONWriter) {
            writer.object { writer in
                if let aux {
                    writer.key("progressDetail")
                    writer.object { _ in }
                    return writer.member("aux", aux)
                }
                writer.member("status", status)
                if current != nil || total != nil {
                    writer.key("progressDetail")
                    writer.object { writer in
                        if let current, current > 0 { writer.member("current", current) }
                        if let total, total > 0 { writer.member("total", total) }
                    }
                }
                writer.member("id", ifPresent: id)
            }
        }
    }
}
