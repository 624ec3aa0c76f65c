import Archive
import Images
import Linux
import Model
import TestSupport
import Testing

@Suite struct ImageImportTests {
    /// Every kind of thing that a root file system may hold.
    private static let strange = """
        mkdir -p t/dev t/d/e t/sticky && mknod t/dev/null c 1 3 && mknod t/dev/loop b 7 200 && mkfifo t/dev/fifo && chmod 666 t/dev/null
        echo suid >t/suid && chown 70000:3000000000 t/suid && chmod 6755 t/suid && chmod 1777 t/sticky && chmod 2750 t/d
        truncate -s 3M t/sparse && echo end >>t/sparse && ln t/suid t/d/hard && ln -s ../suid t/d/soft && ln -s /etc/passwd t/abs
        chown -h 5:6 t/d/soft && touch -h -d '2002-03-04 05:06:07.123456789' t/d/soft t/suid t/d && touch "t/$(printf 'n\\377l')"
        setfattr -n user.note -v hello t/suid; setfattr -n trusted.mark -v 0x0102 t/d
        setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 t/sparse
        setfacl -m u:1234:r t/suid 2>/dev/null || true; setfacl -d -m g:77:rx t/d 2>/dev/null || true
        """

    @Test(arguments: ["cat", "gzip -1", "zstd -q", "xz -0", "bzip2 -1"])
    func aRootFileSystemIsUnpackedAsGNUTarWould(_ compressor: String) async throws {
        let fixture = try ImageRootFixture("strange")
        try fixture.shell(Self.strange)
        try fixture.shell(
            "tar --format=pax --numeric-owner --xattrs --xattrs-include='*' --acls --sparse --sort=name -C t -cf - . | \(compressor) >t.tar"
        )
        let image = try await fixture.importTar("t.tar", as: "strange:1")
        let found = difference(try fixture.census(fixture.scratch.path + "/t"), try fixture.census(image.layers[0]))
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
        let blocks = try fixture.shell("stat -c %b '\(image.layers[0])/sparse'").dropLast()
        #expect(Int(blocks) ?? 9999 < 64)
        try await fixture.save("strange:1", to: "saved.tar")
        let diffID = try #require(image.config.diffIDs.first)
        let digest = try fixture.shell("tar -xOf saved.tar blobs/sha256/\(diffID.hex) | sha256sum | cut -d' ' -f1").dropLast()
        #expect(String(digest) == diffID.hex)
    }

    @Test func aFullDiskIsACleanFaultAndLeavesNothing() async throws {
        let outer = try Scratch("full")
        let disk = outer.folder("disk")
        #expect(run(["/bin/mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]).status == 0)
        outer.defer_ { _ = run(["/bin/umount", "-l", disk]) }
        let fixture = try ImageRootFixture("full", dataRoot: disk)
        try fixture.shell("mkdir t && head -c 10M /dev/urandom >t/big && tar -C t -cf t.tar .")
        let fault = await #expect(throws: Fault.self) { try await fixture.importTar("t.tar", as: "big") }
        #expect(fault?.message == "no space left on the disk, while unpacking \"./big\"")
        #expect(fault?.kind == .unavailable)
        try await fixture.store.settle()
        #expect(
            try fixture.shell("find '\(disk)' -type f ! -name 'skiff.db*'; ls '\(disk)/tmp' '\(disk)/layers' | grep -v :")
                == "\n")
        try fixture.shell("rm t/big && echo small >t/f && tar -C t -cf t.tar .")
        _ = try await fixture.importTar("t.tar", as: "small")
    }
}
