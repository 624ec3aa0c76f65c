import Client
import JSON
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
        let ubuntu = [
            "trusty", "xenial", "bionic", "focal", "impish", "jammy", "kinetic", "lunar", "mantic", "noble", "oracular",
            "plucky",
            "questing", "resolute",
        ]
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

    /// What the program is started with, the keeping of the recipe left out.
    package func recipeWords(_ tool: Tool, folder: String) -> [String] {
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
        // One script serves every suite of Ubuntu; Debian's debootstrap does not know the newest by name.
        case .debootstrap: words += [suite, folder, mirror] + (distribution == "ubuntu" ? ["gutsy"] : [])
        }
        return words
    }

    package func words(_ tool: Tool, folder: String) -> [String] {
        let words = recipeWords(tool, folder: folder)
        return tool == .mmdebstrap ? ["--customize-hook=" + recipeScript(tool)] + words : words
    }

    /// Where the recipe is in the image.
    package static let recipeFolder = "/usr/share/skiff"

    /// A shell script that writes `bootstrap.json` (what was run, which repository, which packages were asked for) and `packages` (which
    /// came, with their versions) below the root that is its first argument.
    package func recipeScript(_ tool: Tool) -> String {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("tool", tool.rawValue)
            writer.member("command", [tool.rawValue] + recipeWords(tool, folder: "ROOT"))
            writer.member("distribution", distribution)
            writer.member("suite", suite)
            writer.member("repository", mirror)
            writer.member("components", components.split(separator: ",").map(String.init))
            writer.member("variant", variant)
            writer.member("include", packages)
            writer.member("keyring", keyring)
        }
        let folder = "\"$1\"" + Self.recipeFolder
        return "set -e; mkdir -p \(folder); printf '%s\\n' \(Self.quoted(String(decoding: writer.bytes, as: UTF8.self))) "
            + ">\(folder)/bootstrap.json; dpkg-query --admindir=\"$1\"/var/lib/dpkg -W "
            + "-f '${Package} ${Version} ${Architecture}\\n' >\(folder)/packages"
    }

    /// The command line, as a person would type it.
    package func commandLine(_ tool: Tool) -> String {
        ([tool.rawValue] + recipeWords(tool, folder: "ROOT")).map { word in
            let isPlain = word.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                    || "-_=./:,+@%".utf8.contains(byte)
            }
            return isPlain ? word : Self.quoted(word)
        }.joined(separator: " ")
    }

    private static func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }

    /// Instructions that keep the recipe with the image.
    package func changes(_ tool: Tool) -> [String] {
        let labels: [(String, String)] = [
            ("org.skiff.bootstrap.tool", tool.rawValue), ("org.skiff.bootstrap.distribution", distribution),
            ("org.skiff.bootstrap.suite", suite),
            ("org.skiff.bootstrap.repository", mirror), ("org.skiff.bootstrap.components", components),
            ("org.skiff.bootstrap.variant", variant),
            ("org.skiff.bootstrap.packages", packages.joined(separator: ",")),
            ("org.skiff.bootstrap.command", commandLine(tool)),
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
