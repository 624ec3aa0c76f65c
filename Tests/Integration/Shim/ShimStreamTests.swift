import Glibc
import Linux
import Logs
import Model
import Testing
import TestSupport

@Suite struct ShimStreamTests {
    @Test func whatIsAttachedBeforeTheStartMissesNothing() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "echo first; seq 1 1000"])
        let client = try shim.attach(ShimStream())
        _ = try shim.start()
        let text = client.readAll()
        #expect(text.hasPrefix("first\n1\n") && text.hasSuffix("1000\n"))
        #expect(client.isEnded)
        #expect(try shim.exit().exitCode == 0)
    }

    @Test func standardInputComesFromTheClientToItsHalfClose() throws {
        let shim = try ShimDriver(["/bin/cat"]) { _, config in
            config.openStdin = true
            config.stdinOnce = true
        }
        let client = try shim.attach(ShimStream(stdin: true, early: Array("early\n".utf8)))
        _ = try shim.start()
        client.send("late\n")
        client.halfClose()
        #expect(client.readAll() == "early\nlate\n")
        #expect(try shim.exit().exitCode == 0)
    }

    @Test func withoutOpenStdinTheProcessReadsAnEnd() throws {
        let shim = try ShimDriver(["/bin/cat"])
        _ = try shim.start()
        #expect(try shim.exit().exitCode == 0)
    }

    @Test func closeStdinEndsIt() throws {
        let shim = try ShimDriver(["/bin/cat"]) { _, config in config.openStdin = true }
        _ = try shim.start()
        try shim.request(.closeStdin(exec: nil))
        #expect(try shim.exit().exitCode == 0)
    }

    @Test func aTerminalIsOneWithSizeAndDetachKeys() throws {
        let shim = try ShimDriver(["/bin/sh"]) { spec, config in
            spec.process?.terminal = true
            spec.process?.consoleSize = OCI.ConsoleSize(height: 20, width: 70)
            config.openStdin = true
        }
        let client = try shim.attach(ShimStream(stdin: true, detachKeys: [16, 17]))
        _ = try shim.start()
        client.send("stty size; tty\n")
        #expect(client.expect("20 70"))
        #expect(client.expect("/dev/"))
        try shim.request(.resize(exec: nil, width: 133, height: 44))
        client.send("stty size\n")
        #expect(client.expect("44 133"))
        client.send("\u{10}\u{11}")
        _ = client.readAll()
        #expect(client.isEnded)
        try shim.wait { if case .detached(nil) = $0 { true } else { nil } }
        // The shell goes on and takes the next client
        let second = try shim.attach(ShimStream(stdin: true))
        second.send("echo ag''ain; exit 3\n")
        #expect(second.expect("again"))
        #expect(try shim.exit().exitCode == 3)
        #expect(try shim.log().contains("again"))
    }

    @Test func aKilledClientHarmsNobody() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "while true; do seq 1 1000; done"])
        let client = try shim.attach(ShimStream())
        let other = try shim.attach(ShimStream(framing: .multiplexed))
        _ = try shim.start()
        #expect(client.expect("1000"))
        client.hangUp()
        let before = other.received.count
        #expect(
            eventually(timeout: 40) {
                other.read(limit: 1 << 20)
                return other.received.count > before + (4 << 20)
            })
        // Each frame names stdout
        #expect(other.received[0...3] == [1, 0, 0, 0])
    }

    @Test func aSlowClientHoldsTheProcessAndTheShimStaysSmall() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "yes | head -c 50000000; echo done"]) { _, config in config.log = nil }
        let client = try shim.attach(ShimStream())
        _ = try shim.start()
        usleep(500_000)
        // Its own memory; the program's pages are the same for all shims.
        let memory = run(["/bin/sh", "-c", "grep RssAnon /proc/\(shim.shimPid)/status"]).output
        let kilobytes = Int(memory.split { !$0.isNumber }.first ?? "") ?? .max
        #expect(kilobytes < 4_000)
        #expect(try shim.hello().phase == .running)
        #expect(
            eventually(timeout: 30) {
                client.read(limit: 1 << 20)
                return client.isEnded
            })
        #expect(client.received.count == 50_000_000 + 5)
        #expect(try shim.exit().exitCode == 0)
    }

    @Test func theLogRotatesAndAFollowerSeesAll() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "seq 1 30000"]) { _, config in
            config.log = config.log.map { ShimLog(path: $0.path, maximumSize: 200_000, maximumFiles: 50) }
        }
        let reader = LogReader(path: shim.logPath)
        let wait = try reader.waitDescriptor()
        _ = try shim.start()
        var numbers = 0
        let deadline = monotonic() + 20
        while numbers < 30000, monotonic() < deadline {
            var poll = pollfd(fd: wait, events: Int16(POLLIN), revents: 0)
            _ = Glibc.poll(&poll, 1, 100)
            reader.clearWait()
            while let record = try reader.next() {
                numbers += 1
                #expect(record.text == Array("\(numbers)\n".utf8))
            }
        }
        #expect(numbers == 30000)
        #expect(shim.exists(shim.logPath + ".5"))
        _ = try shim.exit()
    }

    @Test func outputOfANonRootUserCanBeOpenedAnew() throws {
        let shim = try ShimDriver(["/bin/sh", "-c", "echo one >/dev/stdout; echo two >/proc/self/fd/2"]) { spec, _ in
            spec.process?.user = OCI.User(uid: 1000, gid: 1000)
        }
        _ = try shim.start()
        #expect(try shim.exit().exitCode == 0)
        #expect(try shim.log().utf8.count == 8)
    }

    @Test func aFullDiskLosesLogLinesAndSaysSoButNeverStopsTheContainer() throws {
        let scratch = try Scratch("full")
        let folder = scratch.folder("disk")
        let mounted = run(["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder])
        #expect(mounted.status == 0)
        scratch.defer_ { _ = run(["/bin/umount", "-l", folder]) }
        let shim = try ShimDriver(["/bin/sh", "-c", "seq 1 20000; read x; echo after"]) { _, config in
            config.log = ShimLog(path: folder + "/json.log", maximumSize: nil, maximumFiles: 1)
            config.openStdin = true
        }
        let client = try shim.attach(ShimStream(stdin: true))
        _ = try shim.start()
        #expect(client.expect("\n20000\n"))
        // Room again
        _ = run(["/bin/mount", "-o", "remount,size=1m", folder])
        client.send("go\n")
        #expect(try shim.exit().exitCode == 0)
        let reader = LogReader(path: folder + "/json.log")
        var text = ""
        while let record = try reader.next() { text += String(decoding: record.text, as: UTF8.self) }
        #expect(text.hasPrefix("1\n2\n3\n") && text.hasSuffix("after\n"))
        #expect(text.contains("records of this log were lost"))
    }
}
