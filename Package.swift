// swift-tools-version:6.2
import PackageDescription

// One rule for every target: warnings are errors. Which room may import which is read by Tests/HouseTests.
let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]

/// Rooms in programs that are started all the time ask for generic types directly, not by their mangled names: ten times as fast the
/// first time, which in such a program is the only one.
let quick: [SwiftSetting] =
    strict + [
        .unsafeFlags([
            "-Xfrontend", "-disable-concrete-type-metadata-mangled-name-accessors",
            "-Xfrontend", "-disable-generic-metadata-prespecialization",
        ])
    ]
let quickRooms = ["JSON", "Model", "Linux", "Logs", "Names", "Runtime", "Shim", "Client", "CLI"]

/// Rooms that end up in `skiff-runtime` stay free of Foundation, NIO and the concurrency runtime (docs/decisions/0001).
func room(_ name: String, _ dependencies: [Target.Dependency], link: [String] = []) -> Target {
    .target(
        name: name, dependencies: dependencies, swiftSettings: quickRooms.contains(name) ? quick : strict,
        linkerSettings: link.isEmpty ? nil : [.unsafeFlags(link.flatMap { ["-Xlinker", $0] })])
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]
let log: Target.Dependency = .product(name: "Logging", package: "swift-log")

let package = Package(
    name: "skiff",
    products: [
        .executable(name: "skiff", targets: ["skiff"]),
        .executable(name: "skiffd", targets: ["skiffd"]),
        .executable(name: "skiff-runtime", targets: ["skiff-runtime"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        // C
        .target(name: "CKernel"),
        // before the C library is set up: no stack protector, no calls that a compiler makes up
        .target(name: "CSeal", dependencies: ["CKernel"], cSettings: [.unsafeFlags(["-fno-stack-protector", "-fno-builtin"])]),
        .systemLibrary(name: "CSQLite"),
        .systemLibrary(name: "CCompression"),
        .systemLibrary(name: "CCrypto"),
        .systemLibrary(name: "CCrypt"),
        .target(name: "CTLS"),

        // Rooms without Foundation, NIO or concurrency
        room("JSON", []),
        room("Model", ["JSON"]),
        room("Linux", ["CKernel", "JSON", "Model"]),
        room("Logs", ["Linux", "JSON", "Model"]),
        room("Names", ["Linux", "JSON", "Model"]),
        room("Runtime", ["Linux", "JSON", "Model"]),
        room("Shim", ["Runtime", "Logs", "Names", "Linux", "JSON", "Model"]),

        room("Tar", ["Linux", "JSON", "Model"]),

        // The engine's rooms
        room(
            "Archive", ["Tar", "CCompression", "CCrypto", "Linux", "JSON", "Model"],
            link: [
                "-l:libzstd.a", "-l:liblzma.a", "-l:libbz2.a", "-l:liblz4.a", "-l:libdeflate.a", "-l:libz.a", "-l:libcrypto.a",
            ]),
        room("State", ["CSQLite", "JSON", "Model"], link: ["-l:libsqlite3.a", "-lm"]),
        room("Images", ["Archive", "State", "Linux", "JSON", "Model"]),
        room("Networks", ["State", "Names", "Linux", "JSON", "Model"]),
        // HTTP/1.1 on blocking sockets, plain or TLS; names to addresses: never in the fully static programs (decision 9)
        room("HTTP", ["CTLS", "Linux", "Model"], link: ["-l:libssl.a", "-l:libcrypto.a"]),
        room(
            "Registry", ["CCrypt", "CCrypto", "HTTP", "Images", "Archive", "State", "Linux", "JSON", "Model"],
            link: ["-l:libcrypt.a"]),
        room(
            "Engine",
            ["Registry", "HTTP", "Images", "Networks", "Names", "Logs", "State", "Archive", "Linux", "JSON", "Model", log]),
        room("API", ["Engine", "Linux", "JSON", "Model", log] + nio),
        room(
            "Daemon", ["API", "Engine", "Registry", "HTTP", "Images", "Networks", "State", "Linux", "JSON", "Model", log] + nio),

        // The client
        room("Client", ["Linux", "JSON", "Model"]),
        room("CLI", ["Client", "Tar", "Linux", "JSON", "Model"]),

        // Thin mains. Runtime and client are fully static: 0.6 ms to start instead of 2.6.
        .executableTarget(
            name: "skiff-runtime", dependencies: ["Shim", "CSeal"], path: "Sources/Executables/skiff-runtime",
            swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-static-executable", "-Xlinker", "-e", "-Xlinker", "skiff_start"])]),
        .executableTarget(
            name: "skiff", dependencies: ["CLI"], path: "Sources/Executables/skiff", swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-static-executable"])]),
        .executableTarget(
            name: "skiffd", dependencies: ["Daemon"], path: "Sources/Executables/skiffd", swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-static-stdlib"])]),

        // Tests: unprivileged, one target per room; what needs root is in Integration
        .target(
            name: "TestSupport", path: "Tests/Support",
            exclude: [
                "capture-rules.py", "faulty_registry.py", "leak-check.py", "made_images.py", "soak.py", "storage_storm.py",
                "storm_scene.py",
                "without.py",
            ],
            swiftSettings: strict),
        tests("HouseTests", []),
        tests(
            "Integration",
            ["TestSupport", "Images", "Archive", "Linux", "Logs", "Names", "Runtime", "Networks", "State", "JSON", "Model"],
            exclude: [
                "Names/name_server.py", "Names/resolve.c",
                "Networks/lab.py", "Networks/flood.py", "Networks/matrix.py", "Networks/cast.py", "Networks/books.py",
                "Networks/storm.py", "Networks/streams.py", "Networks/policy.py", "Networks/hostile.py",
                "CLI/engine.py", "CLI/engine_death.py", "CLI/terminal.py", "CLI/recorder.py", "CLI/compare_create.py",
                "Registry/registry_server.py", "Registry/scene.py", "Registry/pull_faults.py", "Registry/transfers.py",
                "Registry/live_registries.py",
                "Registry/transfer_kills.py",
            ]),
        tests("ClientTests", ["Client", "Linux", "JSON", "Model"]),
        tests("TarTests", ["TestSupport", "Tar", "Linux", "Model"]),
        tests("CLITests", ["TestSupport", "CLI", "Client", "Tar", "Linux", "JSON", "Model"], exclude: ["docker-create.json"]),
        tests("JSONTests", ["JSON"]),
        tests("ModelTests", ["Model", "JSON"]),
        tests("LinuxTests", ["Linux", "Model"]),
        tests("LogsTests", ["Logs", "Linux", "Model"]),
        tests("NamesTests", ["Names", "Linux", "JSON", "Model"]),
        tests("RuntimeTests", ["Runtime", "Linux", "JSON", "Model"]),
        tests("ShimTests", ["Shim", "Logs", "Linux", "Model", "JSON"]),
        tests("ArchiveTests", ["TestSupport", "Archive", "Linux", "Model"]),
        tests("ImagesTests", ["TestSupport", "Images", "Archive", "State", "Linux", "JSON", "Model"]),
        tests("HTTPTests", ["TestSupport", "HTTP", "Linux", "Model"]),
        tests("RegistryTests", ["TestSupport", "Registry", "HTTP", "Images", "Archive", "State", "Linux", "JSON", "Model"]),
        tests("NetworksTests", ["TestSupport", "Networks", "State", "Linux", "Model", "JSON"], exclude: ["HostRules"]),
        tests("EngineTests", ["Engine", "Networks", "Names", "Linux", "Model", "JSON"]),
        tests("StateTests", ["State", "Model", "JSON"]),
        tests("APITests", ["API", "Engine", "Linux", "Model", "JSON", log] + nio),
        tests("DaemonTests", ["Daemon", "Model"]),
    ],
    swiftLanguageModes: [.v6]
)
