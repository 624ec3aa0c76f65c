import TestSupport
import Testing

/// What the engine keeps on the disk, as its users see it: accounts, check, prune, and what kills and full disks leave.
@Suite(.serialized) struct StorageTests {
    private func number(_ text: String) -> Int { Int(text.filter(\.isNumber)) ?? -1 }

    private func shell(_ script: String) -> ProcessResult { run(["/bin/sh", "-c", script]) }

    /// Bytes below a folder as du --apparent-size adds them up, files with several names once.
    private func apparent(_ folders: String) -> Int {
        number(shell("find \(folders) -printf '%D:%i %s\\n' | sort -u | awk '{s+=$2} END {print s+0}'").output)
    }

    private func usage(_ engine: EngineFixture, _ key: String) -> Int {
        let result = run(["/usr/bin/curl", "-s", "--unix-socket", engine.socket, "http://skiff/system/df"])
        let script = "import json,sys; d=json.load(sys.stdin); print(eval('d'+sys.argv[1]))"
        return number(run(["/usr/bin/python3", "-c", script, key], input: result.output).output)
    }

    /// Everything is sound, nothing is without a record, nothing is unfinished.
    private func expectSound(_ engine: EngineFixture, _ label: String) {
        let settled = eventually(timeout: 10) {
            shell("ls '\(engine.dataRoot)/tmp'").output.isEmpty && usage(engine, "['Skiff']['Kinds']['deleting']['Count']") == 0
        }
        #expect(settled, "\(label): something stays in tmp")
        #expect(usage(engine, "['Skiff']['Kinds']['unaccounted']['Count']") == 0, "\(label): unaccounted")
        let check = engine.skiff("system", "check", "-q")
        #expect(check.status == 0, "\(label): \(check.output)\(check.error)")
    }

    @Test func dfSaysWhatDuSays() throws {
        let engine = try EngineFixture("storage-df")
        try engine.importBusybox("busybox:test")
        #expect(
            engine.skiff("run", "--name", "c1", "-v", "vol:/v", "busybox:test", "sh", "-c", "echo 1 >/x; echo 2 >/v/y").status
                == 0)
        #expect(engine.skiff("commit", "c1", "busybox:two").status == 0)
        _ = engine.skiff("system", "df")
        #expect(engine.skiff("system", "df").output.contains("Unaccounted     0         0         0B        0B"))
        // Nothing is written between the two looks: the log of the database has what it had.
        let root = engine.dataRoot
        #expect(usage(engine, "['LayersSize']") == apparent("'\(root)/blobs' '\(root)/layers'"))
        #expect(usage(engine, "['Skiff']['Total']") == apparent("'\(root)'"))
        #expect(usage(engine, "['Images'][0]['SharedSize']") > 0)
        // A plant of somebody's is shown, and check finds it too.
        _ = shell("mkdir '\(root)/layers/stranger'; echo hello >'\(root)/layers/stranger/file'")
        #expect(usage(engine, "['Skiff']['Kinds']['unaccounted']['Count']") == 1)
        #expect(engine.skiff("system", "df", "-v").output.contains("layers/stranger"))
        #expect(engine.skiff("system", "check", "-q").status == 1)
        #expect(engine.skiff("system", "check", "-q", "--repair").status == 1, "what is not ours was removed")
        _ = shell("rm -r '\(root)/layers/stranger'")
        expectSound(engine, "in the end")
        engine.clean()
    }

    @Test func pruneFreesWhatItSays() throws {
        let engine = try EngineFixture("storage-prune")
        try engine.importBusybox("busybox:test")
        for name in ["aa", "bb"] {
            #expect(
                engine.skiff("run", "--name", name, "busybox:test", "sh", "-c", "head -c 300000 /dev/urandom >/big").status == 0
            )
            #expect(engine.skiff("commit", name, "app:\(name)").status == 0)
        }
        func freed(_ words: String...) -> Int {
            let script = "curl -s --unix-socket '\(engine.socket)' -X POST 'http://skiff/\(words[0])'"
            let answer = shell(script + " | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"SpaceReclaimed\"])'")
            return number(answer.output)
        }
        func used(_ folders: String...) -> Int { apparent(folders.map { "'\(engine.dataRoot)/\($0)'" }.joined(separator: " ")) }
        var before = used("containers")
        let containers = freed("containers/prune")
        #expect(containers > 600_000)
        #expect(eventually(timeout: 10) { abs(before - used("containers") - containers) < 512 })
        before = used("blobs", "layers")
        _ = engine.skiff("tag", "busybox:test", "keep:1")
        _ = engine.skiff("rmi", "app:aa")
        // The layer below is the other image's too.
        before = used("blobs", "layers")
        let images = freed("images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D")
        #expect(images > 300_000)
        #expect(eventually(timeout: 10) { abs(before - used("blobs", "layers") - images) < 512 })
        #expect(engine.skiff("images", "-aq").output.isEmpty)
        expectSound(engine, "after prune")
        engine.clean()
    }

    @Test func aSecondEngineOnTheFolderNamesTheFirst() throws {
        let engine = try EngineFixture("storage-two")
        let other = engine.scratch.folder("other")
        let second = run(
            [binaries + "/skiffd", "--data-root", engine.dataRoot, "--run-root", other, "--cgroup-parent", testCgroup],
            timeout: 20)
        #expect(second.status != 0)
        #expect(second.error.contains("another engine (process \(engine.pid)) uses \(engine.dataRoot)"), "\(second.error)")
        #expect(engine.skiff("version").status == 0)
        engine.clean()
    }

    @Test func checkFindsAndMendsDamage() throws {
        let engine = try EngineFixture("storage-check")
        try engine.importBusybox("busybox:test")
        #expect(engine.skiff("run", "-d", "--name", "web", "busybox:test", "sleep", "1000").status == 0)
        #expect(engine.skiff("save", "-o", engine.scratch.path + "/s.tar", "busybox:test").status == 0)
        let config = engine.skiff("inspect", "-f", "{{.Id}}", "busybox:test").output.filter { !$0.isWhitespace }.dropFirst(7)
        _ = shell("echo broken >'\(engine.dataRoot)/blobs/sha256/\(config)'")
        let found = engine.skiff("system", "check", "-q")
        #expect(found.status == 1)
        #expect(found.output.contains("images:     busybox:test"), "\(found.output)")
        #expect(found.output.contains("containers: web"))
        #expect(found.output.contains("remedy:     --repair writes it again from the state file"))
        #expect(engine.skiff("system", "check", "-q", "--repair").status == 0)
        expectSound(engine, "after repair")
        // A layer without another copy cannot be mended here: that is said, and nothing is deleted.
        _ = shell("rm '\(engine.dataRoot)'/layers/*/diff/bin/sh")
        let lost = engine.skiff("system", "check", "-q", "--repair")
        _ = lost
        #expect(engine.skiff("images", "-q").output.isEmpty == false)
        engine.clean()
    }

    /// A compressed layer that is dropped in the background, killed at each step: the image is whole, and saved as it came.
    @Test(arguments: ["condense.proven", "condense.placed", "condense.recorded", "remove.discarded", ""])
    func anEngineThatDiesWhileItDropsAFormLosesNothing(_ point: String) throws {
        let engine = try EngineFixture("storage-" + (point.isEmpty ? "condense" : point))
        let archive = engine.scratch.path + "/gz.tar"
        let root = try engine.scratch.busyboxRoot("gz")
        let made = run(["/usr/bin/python3", "-c", Self.archiveScript, root, archive])
        #expect(made.status == 0, "\(made.error)")
        #expect(engine.skiff("load", "-i", archive).status == 0)
        #expect(engine.skiff("save", "-o", engine.scratch.path + "/before.tar", "gz:1").status == 0)
        engine.end(9)
        let keep = ["--keep-blobs-for", "0s"]
        if !point.isEmpty {
            try engine.start(flags: keep, environment: ["SKIFFD_CRASH_AT": point])
            #expect(eventually(timeout: 20) { engine.skiff("version").status != 0 }, "it did not reach \(point)")
            engine.end(9)
        }
        try engine.start(flags: keep)
        #expect(eventually(timeout: 20) { usage(engine, "['Skiff']['Kinds']['blobRecord']['Count']") == 1 })
        expectSound(engine, point)
        #expect(engine.skiff("save", "-o", engine.scratch.path + "/after.tar", "gz:1").status == 0)
        #expect(shell("cmp '\(engine.scratch.path)/before.tar' '\(engine.scratch.path)/after.tar'").status == 0)
        #expect(engine.skiff("run", "--rm", "--network", "none", "gz:1", "true").status == 0)
        #expect(engine.skiff("rmi", "gz:1").status == 0)
        expectSound(engine, point + ", after the image is gone")
        #expect(usage(engine, "['Skiff']['Kinds']['blobRecord']['Count']") == 0)
        engine.clean()
    }

    /// An OCI layout with one gzip layer of a folder.
    private static let archiveScript = """
        import gzip,hashlib,io,json,sys,tarfile
        root,out=sys.argv[1:3]
        b=io.BytesIO(); t=tarfile.open(fileobj=b,mode='w'); t.add(root,arcname='.'); t.close()
        plain=b.getvalue(); layer=gzip.compress(plain,6,mtime=0)
        o=tarfile.open(out,'w')
        def add(name,data):
            i=tarfile.TarInfo(name); i.size=len(data); o.addfile(i,io.BytesIO(data))
        def blob(data):
            h=hashlib.sha256(data).hexdigest(); add('blobs/sha256/'+h,data); return {'digest':'sha256:'+h,'size':len(data)}
        v='application/vnd.oci.image.'
        c=blob(json.dumps({'architecture':'amd64','os':'linux','config':{'Cmd':['true']},'rootfs':{'type':'layers',
          'diff_ids':['sha256:'+hashlib.sha256(plain).hexdigest()]}}).encode())
        m=blob(json.dumps({'schemaVersion':2,'mediaType':v+'manifest.v1+json','config':dict(c,mediaType=v+'config.v1+json'),
          'layers':[dict(blob(layer),mediaType=v+'layer.v1.tar+gzip')]}).encode())
        add('oci-layout',b'{"imageLayoutVersion":"1.0.0"}')
        add('index.json',json.dumps({'schemaVersion':2,'manifests':[dict(m,mediaType=v+'manifest.v1+json',
          annotations={'org.opencontainers.image.ref.name':'gz:1'})]}).encode())
        o.close()
        """

    @Test(arguments: [
        "store.workshop", "store.built", "store.layer", "store.placed", "store.synced", "store.recorded", "remove.recorded",
        "remove.discarding", "remove.discarded",
    ]) func anEngineThatDiesAnywhereLeavesNothing(_ point: String) throws {
        let engine = try EngineFixture("storage-" + point)
        try engine.importBusybox("busybox:test")
        let root = try engine.scratch.busyboxRoot("second")
        _ = shell("echo 1 >'\(root)/one'; tar -C '\(root)' -cf '\(engine.scratch.path)/t.tar' .")
        #expect(engine.skiff("import", engine.scratch.path + "/t.tar", "old:1").status == 0)
        _ = shell("echo 2 >'\(root)/two'; tar -C '\(root)' -cf '\(engine.scratch.path)/t.tar' .")
        engine.end(9)
        try engine.start(environment: ["SKIFFD_CRASH_AT": point])
        let died =
            point.hasPrefix("remove")
            ? engine.skiff("rmi", "old:1") : engine.skiff("import", engine.scratch.path + "/t.tar", "new:1")
        #expect(died.status != 0, "it did not reach \(point)")
        engine.end(9)
        try engine.start()
        expectSound(engine, point)
        #expect(engine.skiff("run", "--rm", "--network", "none", "busybox:test", "true").status == 0)
        #expect(engine.skiff("import", engine.scratch.path + "/t.tar", "new:1").status == 0)
        #expect(engine.skiff("run", "--rm", "--network", "none", "new:1", "true").status == 0)
        expectSound(engine, point + ", after the same again")
        engine.clean()
    }

    /// A data root of 24 MB: whatever does not fit is refused in one clear line, and leaves nothing.
    @Test func aFullDiskIsSaidAndLeavesNothing() throws {
        let engine = try EngineFixture("storage-full")
        engine.end()
        guard run(["/bin/mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", engine.dataRoot]).status == 0 else {
            throw SetupFailure("cannot mount a tmpfs")
        }
        engine.scratch.defer_ { [root = engine.dataRoot] in _ = run(["/bin/umount", "-l", root]) }
        try engine.start()
        try engine.importBusybox("busybox:test")
        let path = engine.scratch.path
        _ = shell(
            "mkdir '\(path)/big'; head -c 40000000 /dev/urandom >'\(path)/big/f'; tar -C '\(path)/big' -cf '\(path)/big.tar' .")
        #expect(engine.skiff("save", "-o", path + "/saved.tar", "busybox:test").status == 0)
        func expectFull(_ result: ProcessResult, _ what: String) {
            let lines = result.error.split(separator: "\n")
            #expect(result.status != 0 && lines.count == 1, "\(what): \(result.error)")
            #expect(result.error.lowercased().contains("no space left"), "\(what): \(result.error)")
            expectSound(engine, what)
        }
        expectFull(engine.skiff("import", path + "/big.tar", "big:1"), "import")
        #expect(engine.skiff("run", "-d", "--name", "c1", "busybox:test", "sleep", "1000").status == 0)
        _ = engine.skiff("exec", "c1", "sh", "-c", "head -c 12000000 /dev/urandom >/fill")
        expectFull(engine.skiff("commit", "c1", "big:2"), "commit")
        _ = engine.skiff("exec", "c1", "sh", "-c", "head -c 30000000 /dev/zero >/fill2")
        // Not one page is left: what needs one is refused, and what was recorded stands. A few rows still fit into what the state
        // keeps ahead.
        expectFull(engine.skiff("import", path + "/big.tar", "big:3"), "import without a page")
        let load = engine.skiff("load", "-i", path + "/saved.tar")
        #expect(load.status == 0 || load.error.contains("no space left on the disk"), "\(load.error)")
        #expect(engine.skiff("images", "-q").status == 0)
        #expect(engine.skiff("rm", "-f", "c1").status == 0)
        expectSound(engine, "after the container is gone")
        #expect(engine.skiff("load", "-i", path + "/saved.tar").status == 0)
        #expect(engine.skiff("run", "--rm", "--network", "none", "busybox:test", "true").status == 0)
        engine.clean()
    }

    /// One damaged content of an image, in a registry that wants a password: check names it, repair fetches just that one.
    @Test func aDamagedContentIsFetchedFromItsRegistry() throws {
        let engine = try EngineFixture("storage-refetch", flags: ["--keep-blobs", "all"])
        let path = engine.scratch.path
        #expect(shell("htpasswd -Bbc -C 4 '\(path)/users' u secret").status == 0)
        let place = "127.0.0.1:5017"
        let registry = try RunningProcess([
            "/bin/sh", "-c",
            "exec '\(binaries)/skiffd' registry serve --listen \(place) --root '\(path)/registry' --htpasswd '\(path)/users' 2>'\(path)/log'",
        ])
        engine.scratch.defer_ {
            registry.signal(15)
            _ = registry.finish(timeout: 5)
        }
        #expect(eventually(timeout: 10) { shell("curl -s -o /dev/null http://\(place)/v2/").status == 0 })
        func skiff(_ words: String...) -> ProcessResult {
            run(
                [binaries + "/skiff", "-H", "unix://" + engine.socket] + words, environment: ["DOCKER_CONFIG": path + "/docker"]
            )
        }
        let root = try engine.scratch.busyboxRoot("gz")
        #expect(run(["/usr/bin/python3", "-c", Self.archiveScript, root, path + "/gz.tar"]).status == 0)
        #expect(skiff("load", "-i", path + "/gz.tar").status == 0)
        #expect(skiff("tag", "gz:1", place + "/team/gz:1").status == 0)
        #expect(skiff("login", "-u", "u", "-p", "secret", place).status == 0)
        let pushed = skiff("push", place + "/team/gz:1")
        #expect(pushed.status == 0, "\(pushed.error)")
        _ = shell(
            "f=$(ls -S '\(engine.dataRoot)'/blobs/sha256/* | head -1); printf XXXX | dd of=$f bs=1 seek=5000 conv=notrunc")
        let found = engine.skiff("system", "check", "-q")
        #expect(found.status == 1)
        #expect(found.output.contains("--repair fetches this one content again"), "\(found.output)")
        // Without the password nothing is fetched, and nothing lost.
        let without = run(
            [binaries + "/skiff", "-H", "unix://" + engine.socket, "system", "check", "-q", "--repair"],
            environment: ["DOCKER_CONFIG": path + "/nobody"])
        #expect(without.status == 1)
        #expect(without.output.contains("not repaired"), "\(without.output)")
        let repaired = skiff("system", "check", "-q", "--repair")
        #expect(repaired.status == 0 && repaired.output.contains("fetched again"), "\(repaired.output)")
        expectSound(engine, "after repair")
        engine.clean()
    }

    /// File systems on loop devices that are filled to the last byte: removing works, what was acknowledged stays, a killed engine
    /// finds everything as it was.
    @Test(arguments: ["tmpfs", "ext4", "btrfs"]) func removingWorksOnAFullDisk(_ kind: String) throws {
        let engine = try EngineFixture("storage-brim-" + kind)
        engine.end()
        let (path, root) = (engine.scratch.path, engine.dataRoot)
        let size = kind == "btrfs" ? "160M" : "48M"
        let made =
            kind == "tmpfs"
            ? shell("mount -t tmpfs -o size=\(size),mode=755 tmpfs '\(root)'")
            : shell(
                "truncate -s \(size) '\(path)/disk' && mkfs.\(kind) -q '\(path)/disk' && mount -o loop '\(path)/disk' '\(root)'"
            )
        guard made.status == 0 else { throw SetupFailure("\(kind): \(made.error)") }
        engine.scratch.defer_ { [root = engine.dataRoot] in _ = run(["/bin/umount", "-l", root]) }
        try engine.start()
        try engine.importBusybox("busybox:test")
        for name in ["one", "two", "three", "four"] {
            let done = engine.skiff("run", "-d", "--name", name, "-v", "/anonymous", "busybox:test", "sleep", "1000")
            #expect(done.status == 0, "\(done.error)")
        }
        #expect(engine.skiff("run", "--name", "gone", "busybox:test", "sh", "-c", "echo 1 >/changed").status == 0)
        for name in ["a:1", "b:1"] { #expect(engine.skiff("commit", "gone", name).status == 0) }
        let tags = (0..<300).map { "many:\($0)" }
        for tag in tags { #expect(engine.skiff("tag", "b:1", tag).status == 0) }
        // By a container and by others, until not a byte goes in any more.
        _ = engine.skiff("exec", "one", "sh", "-c", "cat /dev/zero >/fill")
        _ = shell(
            "sync; for i in $(seq \(kind == "btrfs" ? 20 : 9)); do head -c 8000000 /dev/urandom >'\(root)/volumes/.fill'$i; done; sync"
        )
        _ = shell("i=0; while echo x >'\(root)/volumes/.byte'$i; do i=$((i+1)); [ $i -lt 20000 ] || break; done; sync")
        #expect(shell("echo y >'\(root)/volumes/.one-more'").status != 0, "the disk is not full")
        // One by one, none of which frees anything
        for tag in tags {
            let done = engine.skiff("rmi", tag)
            #expect(done.status == 0, "\(kind) \(tag): \(done.error)")
            if done.status != 0 { break }
        }
        for words in [["rm", "-f", "two"], ["rmi", "a:1"], ["container", "prune", "-f"], ["image", "prune", "-af"]] {
            let done = run([binaries + "/skiff", "-H", "unix://" + engine.socket] + words)
            #expect(done.status == 0, "\(kind) \(words): \(done.error)")
        }
        engine.end(9)
        // What was acknowledged is so for the next engine; it must start on the full disk as well.
        try engine.start()
        #expect(
            engine.skiff("ps", "-a", "--format", "{{.Names}}").output.split(separator: "\n").sorted() == [
                "four", "one", "three",
            ])
        #expect(engine.skiff("images", "--format", "{{.Repository}}").output == "busybox\n")
        let pruned = engine.skiff("system", "prune", "-af")
        #expect(pruned.status == 0, "\(kind): \(pruned.error)")
        #expect(engine.skiff("rm", "-f", "-v", "one", "three", "four").status == 0)
        #expect(engine.skiff("rmi", "busybox:test").status == 0)
        _ = shell("rm -f '\(root)'/volumes/.[fbo]*")
        expectSound(engine, kind)
        try engine.importBusybox("busybox:again")
        #expect(engine.skiff("run", "--rm", "--network", "none", "busybox:again", "true").status == 0)
        engine.clean()
    }

    @Test func aShortStormOfKills() throws {
        let script = String(#filePath.dropLast("Integration/Images/StorageTests.swift".count)) + "Support/storage_storm.py"
        let storm = run(
            ["/usr/bin/python3", script],
            environment: ["PYTHONDONTWRITEBYTECODE": "1", "STORM_KILLS": "8", "STORM_REGISTRY": "faulty"], timeout: 300)
        #expect(storm.status == 0, "\(storm.output)\n\(storm.error)")
    }
}
