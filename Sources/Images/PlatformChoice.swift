import Linux
import Model

/// Which of an index's images is for a machine: the same system and processor, and of its variants the best that the machine can run.
public struct PlatformChoice: Sendable {
    private let wanted: ImagePlatform
    /// The person named it.
    private let isExplicit: Bool
    private let level: Int

    /// - Parameter wanted: nil is this machine.
    public init(_ wanted: ImagePlatform?) {
        self.wanted = wanted ?? .host
        isExplicit = wanted != nil
        let named = Self.level(self.wanted)
        level = wanted == nil && self.wanted.architecture == "amd64" ? Self.hostLevel : named
    }

    /// `linux/amd64`, `linux/arm/v7`
    public var text: String {
        wanted.os + "/" + wanted.architecture + (wanted.variant.isEmpty ? "" : "/" + wanted.variant)
    }

    /// The best entry; nil when none is for the machine.
    public func best(_ manifests: [ContentDescriptor]) -> ContentDescriptor? {
        var best: (rank: Int, descriptor: ContentDescriptor)?
        for descriptor in manifests where descriptor.annotations["vnd.docker.reference.type"] == nil {
            guard let rank = rank(descriptor), best.map({ rank > $0.rank }) ?? true else { continue }
            best = (rank, descriptor)
        }
        return best?.descriptor
    }

    /// Whether an image that was found without a choice is for the machine.
    public func accepts(_ platform: ImagePlatform) -> Bool {
        if platform.os.isEmpty || platform.architecture.isEmpty { return true }
        return rank(platform) != nil
    }

    private func rank(_ descriptor: ContentDescriptor) -> Int? {
        // An entry that does not say what it is for may be for us, if nothing else is.
        guard let platform = descriptor.platform else { return descriptor.artifactType == nil ? 0 : nil }
        return rank(platform)
    }

    private func rank(_ platform: ImagePlatform) -> Int? {
        guard platform.os == wanted.os else { return nil }
        if platform.architecture == wanted.architecture {
            guard Self.levels[platform.architecture] != nil else { return platform.variant == wanted.variant ? 100 : nil }
            let level = Self.level(platform)
            return level <= self.level ? 100 + level : nil
        }
        // 64-bit ARM machines run 32-bit programs.
        if wanted.architecture == "arm64", platform.architecture == "arm", !isExplicit { return 10 + Self.level(platform) }
        return nil
    }

    /// Variants that build upon one another, and which one is meant where none is named.
    private static let levels: [String: Int] = ["amd64": 1, "arm": 7, "arm64": 8]

    private static func level(_ platform: ImagePlatform) -> Int {
        let digits = platform.variant.drop { $0 == "v" }.prefix { $0.isNumber }
        return Int(digits) ?? levels[platform.architecture] ?? 0
    }

    /// x86-64-v1 to v4 of this machine (the psABI's micro-architecture levels), by the kernel's names.
    private static let hostLevel: Int = {
        let bytes = (try? readFile("/proc/cpuinfo", limit: 64 << 10)) ?? []
        let text = String(decoding: bytes, as: UTF8.self)
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("flags") }) else { return 1 }
        let flags = Set(line.split(separator: " ").map { String($0) })
        let needed: [[String]] = [
            ["cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"],
            ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"],
            ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
        ]
        return 1 + needed.prefix { $0.allSatisfy(flags.contains) }.count
    }()
}
