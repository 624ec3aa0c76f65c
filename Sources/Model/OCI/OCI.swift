/// The types of the OCI runtime specification 1.3: configuration, state and features.
///
/// Reading is as strict as the JSON schemas: a wrong type, an unknown value of an enumeration or a missing member is a fault
/// that names the JSON path. A member that is not known is passed over and noted in `JSONReader.ignored`. `null` is the same
/// as an absent member, as in Go.
public enum OCI {
    /// The newest version of the specification that is understood.
    public static let version = "1.3.0"
    public static let minimumVersion = "1.0.0"

    /// `[1-9][0-9]*[KMG]B`
    static func isPageSize(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count >= 3, bytes.last == UInt8(ascii: "B"), (0x31...0x39).contains(bytes[0]) else { return false }
        guard [UInt8(ascii: "K"), UInt8(ascii: "M"), UInt8(ascii: "G")].contains(bytes[bytes.count - 2]) else { return false }
        return bytes.dropLast(2).allSatisfy { (0x30...0x39).contains($0) }
    }
}
