import Model

/// A version of the Docker Engine API, `1.55`.
public struct APIVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let major: Int
    public let minor: Int

    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Nil unless the text is two numbers with a dot between them.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.count <= 4 && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let major = Int(parts[0]), let minor = Int(parts[1])
        else { return nil }
        self.init(major, minor)
    }

    public static let newest = APIVersion(Docker.apiVersion) ?? APIVersion(1, 55)
    public static let oldest = APIVersion(Docker.minimumAPIVersion) ?? APIVersion(1, 24)

    public static func < (left: APIVersion, right: APIVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    public var description: String { "\(major).\(minor)" }

    /// The version itself when this engine serves it.
    ///
    /// - Throws: `invalid` in docker's words, which clients that negotiate look for.
    func served() throws -> APIVersion {
        if self < Self.oldest {
            throw Fault(
                .invalid,
                "client version \(self) is too old. Minimum supported API version is \(Self.oldest), "
                    + "please upgrade your client to a newer version")
        }
        if self > Self.newest {
            throw Fault(.invalid, "client version \(self) is too new. Maximum supported API version is \(Self.newest)")
        }
        return self
    }
}
