import Glibc
import JSON
import Linux
import Model
import Runtime
import TestSupport
import Testing

#if arch(x86_64)
    @Suite struct SeccompTests {
        private static let capabilities = ["CAP_CHOWN", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SYS_CHROOT"]

        private func bundle(_ profile: OCI.Seccomp, _ name: String = #function) throws -> RuntimeBundle {
            let bundle = try RuntimeBundle(name)
            bundle.linux = ",\"seccomp\":\(profile.jsonText)"
            return bundle
        }

        private func defaultBundle(_ name: String = #function) throws -> RuntimeBundle {
            try bundle(DefaultSeccomp.profile(capabilities: Self.capabilities, kernel: (6, 18)), name)
        }

        /// CVE-2026-31431: the kernel's algorithm sockets are not for containers.
        @Test(arguments: [(38, 1), (40, 1), (1, 0)] as [(UInt32, Int32)])
        func algorithmAndHypervisorSocketsAreRefused(family: UInt32, errno: Int32) throws {
            let bundle = try defaultBundle()
            // SOCK_DGRAM for AF_UNIX, SOCK_SEQPACKET for AF_ALG
            #expect(try bundle.run([try bundle.call(41, family, family == 38 ? 5 : 2)]).status == errno)
        }

        /// User-mode Linux takes `int 0x80` of a 64-bit process for a 64-bit call.
        private static let has32BitCalls =
            !((try? SmallFile.read("/proc/cpuinfo")).map { String(decoding: $0, as: UTF8.self) } ?? "")
            .contains("User Mode Linux")

        @Test(.enabled(if: has32BitCalls, "needs a kernel with 32-bit calls"))
        func algorithmSocketsAreRefusedByWayOfSocketcall() throws {
            let bundle = try defaultBundle()
            // int 0x80 with the arguments in memory below 4 GiB; ENOSYS too where the kernel has no 32-bit calls
            let code: [UInt8] =
                [0xB8, 102, 0, 0, 0, 0xBB, 1, 0, 0, 0, 0xB9, 0, 0, 0x40, 0] + [0xCD, 0x80] + RuntimeBundle.exitWithErrno
            var patched = code
            let place = UInt32(0x40_0000 + 120 + code.count)
            for byte in 0..<4 { patched[11 + byte] = UInt8(truncatingIfNeeded: place >> (8 * UInt32(byte))) }
            patched += [38, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]
            let result = try bundle.run([try bundle.program("socketcall", patched)])
            // a kernel without 32-bit calls ends the program by SIGSEGV
            #expect([38, 128 + SIGSEGV].contains(result.status))
        }

        @Test func newerCallIsMissingAndUnlistedOneForbidden() throws {
            let bundle = try defaultBundle()
            #expect(try bundle.run([try bundle.call(1000)]).status == ENOSYS)
            #expect(try bundle.run([try bundle.call(425, 1)]).status == EPERM)
            #expect(try bundle.run([try bundle.call(39)]).status == 0)
            // clone3 could hide its flags: programs fall back to clone
            #expect(try bundle.run([try bundle.call(435)]).status == ENOSYS)
        }

        @Test func actionsDoWhatTheyAreCalled() throws {
            let bundle = try RuntimeBundle()
            let program = try bundle.call(39)
            func status(_ action: OCI.SeccompAction, _ errno: UInt32? = nil) throws -> Int32 {
                let rule = OCI.SeccompRule(names: ["getpid"], action: action, errnoRet: errno)
                bundle.linux = ",\"seccomp\":\(OCI.Seccomp(defaultAction: .allow, syscalls: [rule]).jsonText)"
                return try bundle.run([program]).status
            }
            #expect(try status(.errno) == EPERM)
            #expect(try status(.errno, 28) == 28)
            #expect(try status(.log) == 0)
            #expect(try status(.killProcess) == 128 + SIGSYS)
            #expect(try status(.killThread) == 128 + SIGSYS)
            #expect(try status(.trap) == 128 + SIGSYS)
            // nobody traces: the call is not made
            #expect(try status(.trace) == ENOSYS)
        }

        @Test func argumentsAreFiltered() throws {
            let rule = OCI.SeccompRule(
                names: ["dup2"], action: .errno, errnoRet: 99,
                args: [.init(index: 0, value: 1, op: .equal), .init(index: 1, value: 5, op: .greaterOrEqual)])
            let bundle = try bundle(OCI.Seccomp(defaultAction: .allow, syscalls: [rule]))
            #expect(try bundle.run([try bundle.call(33, 1, 5)]).status == 99)
            #expect(try bundle.run([try bundle.call(33, 1, 4)]).status == 0)
            #expect(try bundle.run([try bundle.call(33, 2, 6)]).status == 0)
        }

        @Test func listenerIsHandedOver() throws {
            let rule = OCI.SeccompRule(names: ["mkdir"], action: .notify)
            let bundle = try bundle(OCI.Seccomp(defaultAction: .allow))
            let path = bundle.scratch.path + "/listener"
            let profile = OCI.Seccomp(
                defaultAction: .allow, listenerPath: path, listenerMetadata: "for-the-test", syscalls: [rule])
            bundle.linux = ",\"seccomp\":\(profile.jsonText)"
            let listener = try Sockets.listen(path)
            let answering = try NotifyAnswer(listener.raw, errno: 77)
            // mkdir of address 0: EFAULT if it were let through
            #expect(try bundle.run([try bundle.call(83)]).status == 77)
            let state = try #require(answering.wait())
            #expect(state.fds == ["seccompFd"])
            #expect(state.metadata == "for-the-test")
            #expect(state.pid > 0)
            #expect(state.state.status == .creating || state.state.status == .created)
        }

        @Test func faultNamesTheField() throws {
            let bundle = try bundle(OCI.Seccomp(defaultAction: .allow, syscalls: [.init(names: ["mkdir"], action: .notify)]))
            let result = try bundle.run(["/bin/true"])
            #expect(result.status != 0)
            #expect(result.error.contains("linux.seccomp.listenerPath"))
        }
    }

    /// Takes one listener at a socket and answers one notification with an errno, in a thread of its own.
    private final class NotifyAnswer {
        private final class Box: @unchecked Sendable {
            // written by the thread before it ends, read after it was joined
            var state: OCI.SeccompState?
            let socket: CInt
            let errno: Int32
            init(_ socket: CInt, _ errno: Int32) {
                self.socket = socket
                self.errno = errno
            }
        }
        private let box: Box
        private var thread = pthread_t()

        init(_ socket: CInt, errno: Int32) throws {
            box = Box(socket, errno)
            let context = Unmanaged.passRetained(box).toOpaque()
            pthread_create(
                &thread, nil,
                { context in
                    guard let context else { return nil }
                    let box = Unmanaged<Box>.fromOpaque(context).takeRetainedValue()
                    box.state = try? NotifyAnswer.answer(box.socket, box.errno)
                    return nil
                }, context)
        }

        func wait() -> OCI.SeccompState? {
            pthread_join(thread, nil)
            return box.state
        }

        private static func answer(_ socket: CInt, _ errno: Int32) throws -> OCI.SeccompState? {
            var poll = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            guard Glibc.poll(&poll, 1, 20_000) == 1 else { return nil }
            let connection = try Sockets.accept(socket)
            var message = try Sockets.receive(connection.raw, limit: 65536, descriptors: 1)
            let state = try OCI.SeccompState(json: message.bytes)
            guard let notify = message.takeDescriptor() else { return nil }
            // struct seccomp_notif of 80 bytes, struct seccomp_notif_resp of 24 (linux/seccomp.h)
            var request = [UInt64](repeating: 0, count: 10)
            guard ioctl(notify.raw, 0xC050_2100, &request) == 0 else { return nil }
            var response: [UInt64] = [request[0], 0, UInt64(UInt32(bitPattern: -errno))]
            guard ioctl(notify.raw, 0xC018_2101, &response) == 0 else { return nil }
            return state
        }
    }
#endif
