import Images
import Linux
import Model
import TestSupport
import Testing

/// What every storage driver keeps, whatever it makes roots from. `folder` is on a file system that the driver works on.
struct LayerDriverContract {
    let driver: any LayerDriver
    let folder: String

    private func shell(_ script: String) throws -> String {
        let result = run(["/bin/bash", "-euo", "pipefail", "-c", "cd '\(folder)'; " + script])
        guard result.status == 0 else { throw SetupFailure("\(script): \(result.error)") }
        return result.output
    }

    /// Two layers: the upper one replaces, deletes and hides things of the lower one.
    private func image() throws -> LayeredImage {
        _ = try shell(
            """
            mkdir -p tmp layers/a/diff layers/b/diff containers; cd layers/a/diff
            mkdir -p etc gone/deep opaque/below; echo lower >etc/file; echo kept >etc/kept; ln etc/kept etc/other; ln -s file etc/link
            echo x >gone/deep/x; echo y >opaque/below/y; mknod pipe p; chmod 4711 etc/kept; chown 70000:70001 etc/file
            setfattr -n user.mark -v one etc/file; touch -d '2001-02-03 04:05:06.789012345' etc/file
            cd ../../b/diff; mkdir -p etc opaque; echo upper >etc/file; mknod gone c 0 0
            setfattr -n trusted.overlay.opaque -v y opaque; echo new >opaque/new
            """)
        let chain = try #require(Digest(.sha256, hex: String(repeating: "ab", count: 32)))
        return LayeredImage(chainID: chain, layers: [folder + "/layers/b/diff", folder + "/layers/a/diff"])
    }

    private func container(_ name: String, _ image: LayeredImage) throws -> (place: String, root: String) {
        let place = folder + "/containers/" + name
        try Descriptor.makeDirectories(place + "/upper", permissions: 0o755)
        try Descriptor.makeDirectories(place + "/work")
        switch try driver.prepare(container: place, image) {
        case .folder(let root): return (place, root)
        case .overlay(let lower, let upper, let work):
            _ = try shell(
                "mkdir -p containers/\(name)/m; mount -t overlay overlay -o 'redirect_dir=off,metacopy=off,lowerdir="
                    + "\(lower.joined(separator: ":")),upperdir=\(upper),workdir=\(work)' containers/\(name)/m")
            return (place, place + "/m")
        }
    }

    private func close(_ root: String) { _ = run(["/bin/umount", root]) }

    private func list(_ root: String) throws -> String {
        try shell("cd '\(root)'; find . -mindepth 1 -printf '%P %y %m %U:%G %l\\n' | LC_ALL=C sort")
    }

    /// The changes as a list: path and what stands there.
    private func changes(_ place: String, _ image: LayeredImage, _ name: String) throws -> [String] {
        let scratch = folder + "/scratch-" + name
        _ = run(["/bin/rm", "-rf", scratch])
        try Descriptor.makeDirectories(scratch)
        let upper = try driver.changes(container: place, image, scratch: scratch)
        return try shell("cd '\(upper)'; find . -mindepth 1 -printf '%P %y\\n' | LC_ALL=C sort")
            .split(separator: "\n").map(String.init)
    }

    func verify() throws {
        let image = try image()
        let (place, root) = try container("one", image)
        defer { close(root) }

        // The root shows the layers as one tree.
        let tree = try list(root)
        #expect(
            tree == """
                etc d 755 0:0 \n\
                etc/file f 644 0:0 \n\
                etc/kept f 4711 0:0 \n\
                etc/link l 777 0:0 file
                etc/other f 4711 0:0 \n\
                opaque d 755 0:0 \n\
                opaque/new f 644 0:0 \n\
                pipe p 644 0:0 \n
                """, "\(driver.name): \(tree)")
        #expect(try shell("cat '\(root)/etc/file'") == "upper\n")
        if driver.name != "overlay2" {
            #expect(try shell("stat -c %i '\(root)'/etc/kept '\(root)'/etc/other | uniq | wc -l") == "1\n")
        }

        // Nothing has changed in a container that did nothing; preparing it again changes nothing.
        #expect(try changes(place, image, "one").isEmpty)
        _ = try shell("echo mine >'\(root)/mine'")
        if driver.name != "overlay2" { _ = try driver.prepare(container: place, image) }
        #expect(try shell("cat '\(root)/mine'") == "mine\n")

        // Every kind of change is seen, and nothing else.
        _ = try shell(
            """
            cd '\(root)'; echo more >>etc/file; rm etc/link; mkdir -p new/deep; echo z >new/deep/z; chmod 700 opaque
            touch -r etc/kept /tmp/driver-stamp; printf 'K' | dd of=etc/kept bs=1 conv=notrunc 2>/dev/null; touch -r /tmp/driver-stamp etc/kept
            rm -r opaque/new; mkdir opaque/new; rm /tmp/driver-stamp
            """)
        let found = try changes(place, image, "one")
        // Where a change takes a file of its own out of the layer, its other name keeps what it had.
        let otherName = driver.name == "overlay2" ? [] : ["etc/other f"]
        #expect(
            found == ["etc d", "etc/file f", "etc/kept f", "etc/link c"] + otherName + [
                "mine f", "new d", "new/deep d", "new/deep/z f", "opaque d", "opaque/new d",
            ], "\(driver.name): \(found)")
        #expect(try driver.written(container: place, image) > 0)

        // Containers of one image do not see each other, and the image stays as it was.
        let (_, second) = try container("two", image)
        defer { close(second) }
        #expect(try list(second) == tree)
        #expect(try shell("cat layers/b/diff/etc/file layers/a/diff/etc/kept") == "upper\nkept\n")
        #expect(driver.workshops.isEmpty)
        #expect(try shell("ls tmp").isEmpty)

        // A container's folder goes like any other.
        close(second)
        try removeTree(folder + "/containers/two")
        #expect(!Files.exists(folder + "/containers/two"))
    }
}
