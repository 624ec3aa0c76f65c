import Client
import Linux
import Model

/// How a base image is made from a distribution's packages: which program, with which words.
package struct BootstrapPlan: Sendable, Equatable {
    package enum Tool: String, Sendable { case mmdebstrap, debootstrap }

    package var distribution: String
    package var suite: String
    package var mirror: String
    package var variant: String
    package var components: String
    package var packages: [String]
    package var keyring: String
    package var reference: String

    package init(
        distribution: String, suite: String, mirror: String, variant: String, components: String, packages: [String],
        keyring: String,
        reference: String
    ) {
        self.distribution = distribution
        self.suite = suite
        self.mirror = mirror
        self.variant = variant
        self.components = components
        self.packages = packages
        self.keyring = keyring
        self.reference = reference
    }

    /// `debian:bookworm`, `ubuntu:noble`, or a suite alone, whose distribution is told by its name.
    package static func source(_ text: String) throws -> (distribution: String, suite: String) {
        let (distribution, suite) = GoText.cut(text, ":") ?? (guess(text), text)
        guard !suite.isEmpty, suite.allSatisfy({ $0.isLetter || $0.isNumber || "-_.".contains($0) }), suite.first != "-" else {
            throw FlagFault("invalid suite \(GoText.quote(suite)): use debian:bookworm or ubuntu:noble")
        }
        guard keyrings[distribution] != nil else {
            throw FlagFault("cannot bootstrap \(GoText.quote(distribution)): only debian and ubuntu are known")
        }
        return (distribution, suite)
    }

    private static func guess(_ suite: String) -> String {
        let ubuntu = ["bionic", "focal", "jammy", "noble", "oracular", "plucky", "questing", "resolute"]
        return ubuntu.contains(suite) ? "ubuntu" : "debian"
    }

    package static let keyrings = [
        "debian": (file: "/usr/share/keyrings/debian-archive-keyring.gpg", package: "debian-archive-keyring"),
        "ubuntu": (file: "/usr/share/keyrings/ubuntu-archive-keyring.gpg", package: "ubuntu-keyring"),
    ]

    /// The main mirror of a distribution in the output of `apt-get indextargets --format '$(SITE) $(COMPONENT)'`.
    package static func mirror(for distribution: String, in targets: String) -> String? {
        for line in targets.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 2, words[1] == "main" else { continue }
            var site = String(words[0])
            while site.hasSuffix("/") { site.removeLast() }
            if site.hasSuffix("/" + distribution) { return site }
        }
        return nil
    }

    package func words(_ tool: Tool, folder: String) -> [String] {
        var words: [String]
        switch tool {
        case .mmdebstrap:
            words = [
                "--format=tar", "--variant=\(variant)", "--aptopt=Acquire::Languages \"none\"",
                "--aptopt=APT::Install-Recommends \"false\"",
            ]
        case .debootstrap: words = ["--variant=\(variant)"]
        }
        if !components.isEmpty { words.append("--components=\(components)") }
        if !packages.isEmpty { words.append("--include=\(packages.joined(separator: ","))") }
        words.append("--keyring=\(keyring)")
        switch tool {
        case .mmdebstrap: words += [suite, "-", mirror]
        case .debootstrap: words += [suite, folder, mirror]
        }
        return words
    }

    /// Instructions that keep the recipe with the image.
    package func changes(_ tool: Tool) -> [String] {
        let labels: [(String, String)] = [
            ("org.skiff.bootstrap.tool", tool.rawValue), ("org.skiff.bootstrap.distribution", distribution),
            ("org.skiff.bootstrap.suite", suite),
            ("org.skiff.bootstrap.repository", mirror), ("org.skiff.bootstrap.components", components),
            ("org.skiff.bootstrap.variant", variant),
            ("org.skiff.bootstrap.packages", packages.joined(separator: ",")),
        ]
        return ["CMD [\"bash\"]"] + labels.filter { !$0.1.isEmpty }.map { "LABEL \($0.0)=\(GoText.quote($0.1))" }
    }

    /// What is wrong with the packages' names, before a program sees them.
    package static func packages(_ lists: [String]) throws -> [String] {
        let names = lists.flatMap { $0.split { $0 == "," || $0 == " " }.map(String.init) }
        for name in names {
            guard let first = name.utf8.first,
                (0x30...0x39).contains(first) || (0x61...0x7A).contains(first) || first == UInt8(ascii: "?"),
                name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
            else { throw FlagFault("invalid package name \(GoText.quote(name))") }
        }
        return names
    }
}
