// swift-tools-version:6.2
import Foundation
import PackageDescription

// Fuzzers for what reads bytes from outside, with libFuzzer and the address sanitizer. A package of its own, so that neither the
// sanitizers nor the fuzzers' entry points touch the build. `Rooms` is a link to ../Sources.
let sanitized: [SwiftSetting] = [.unsafeFlags(["-sanitize=fuzzer,address", "-parse-as-library"])]

func room(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, path: "Rooms/\(name)", swiftSettings: sanitizedRoom)
}

let sanitizedRoom: [SwiftSetting] = [.unsafeFlags(["-sanitize=fuzzer,address", "-parse-as-library"])]
let codecs = ["zstd", "lzma", "bz2", "lz4", "deflate", "z", "crypto"].flatMap { ["-Xlinker", "-l\($0)"] }

/// Only what reads requests: the rest of the room needs the store.
let parsers = [
    "ByteRanges.swift", "DistributionFault.swift", "RegistryAccess.swift", "RegistryRoute.swift", "StrictBase64.swift",
    "TokenAccess.swift", "TokenKeys.swift",
]
let server = "Rooms/Registry/Server"
let others = try FileManager.default.contentsOfDirectory(atPath: Context.packageDirectory + "/" + server).filter {
    !parsers.contains($0)
}

func fuzzer(_ name: String, _ dependencies: [Target.Dependency], link: [String] = []) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: "Targets/\(name)", swiftSettings: sanitized,
        linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"] + link)])
}

let package = Package(
    name: "skiff-fuzz",
    targets: [
        .target(name: "Driver", path: "Driver"),
        .target(name: "CKernel", path: "Rooms/CKernel"),
        .systemLibrary(name: "CCompression", path: "Rooms/CCompression"),
        .systemLibrary(name: "CCrypto", path: "Rooms/CCrypto"),
        .target(name: "CTLS", path: "Rooms/CTLS"),
        room("JSON", []),
        room("Model", ["JSON"]),
        room("Linux", ["CKernel", "JSON", "Model"]),
        room("Tar", ["Linux", "JSON", "Model"]),
        room("Archive", ["Tar", "CCompression", "CCrypto", "Linux", "JSON", "Model"]),
        room("Names", ["Linux", "JSON", "Model"]),
        room("HTTP", ["CTLS", "Linux", "Model"]),
        .target(
            name: "RegistryParsers", dependencies: ["CCrypto", "HTTP", "Linux", "JSON", "Model"], path: server,
            exclude: others, sources: parsers, swiftSettings: sanitizedRoom),
        fuzzer("RegistryFuzzer", ["Driver", "RegistryParsers", "HTTP"], link: ["-Xlinker", "-lssl", "-Xlinker", "-lcrypto"]),
        fuzzer("WireFuzzer", ["Driver", "HTTP", "Linux", "Model"], link: ["-Xlinker", "-lssl", "-Xlinker", "-lcrypto"]),
        fuzzer("TarFuzzer", ["Driver", "Archive"], link: codecs),
        fuzzer("NamesFuzzer", ["Driver", "Names", "Model"]),
        fuzzer("ReferenceFuzzer", ["Driver", "Model"]),
        fuzzer("ManifestFuzzer", ["Driver", "Model", "JSON"]),
    ],
    swiftLanguageModes: [.v6]
)
