import Glibc

/// Reading, writing and waiting on descriptors that the caller keeps.
public enum StreamCalls {
    public enum Interest: Sendable { case read, write, readWrite }

    /// What poll(2) found on one descriptor. Errors count as both readable and writable, so that the next call reports them.
    public struct Readiness: Sendable {
        public var readable: Bool
        public var writable: Bool
        public var hungUp: Bool
    }

    /// Up to `buffer.count` bytes into `buffer`; 0 is the end of the stream (read(2)).
    public static func read(_ fd: CInt, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        try kernel("read") { Glibc.read(fd, buffer.baseAddress, buffer.count) }
    }

    /// As `read`, but nil where nothing is there yet (EAGAIN).
    public static func readIfReady(_ fd: CInt, into buffer: UnsafeMutableRawBufferPointer) throws -> Int? {
        do { return try read(fd, into: buffer) } catch let fault as KernelFault where fault.errno == EAGAIN { return nil }
    }

    /// Writes everything; waits where a descriptor does not take it at once.
    public static func writeAll(_ fd: CInt, _ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.write(fd, rest.baseAddress, rest.count)
            if count >= 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                continue
            }
            let code = errno
            if code == EINTR { continue }
            guard code == EAGAIN else { throw KernelFault("write", errno: code) }
            _ = try wait([(fd, .write)], milliseconds: -1)
        }
    }

    public static func writeAll(_ fd: CInt, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try writeAll(fd, $0) }
    }

    /// What the descriptor takes without waiting; 0 where it takes nothing now. A socket gets MSG_DONTWAIT, others must have been
    /// found writable by poll(2), which promises a pipe PIPE_BUF bytes.
    public static func writeSome(_ fd: CInt, _ bytes: UnsafeRawBufferPointer) throws -> Int {
        while true {
            var count = Glibc.send(fd, bytes.baseAddress, bytes.count, CInt(MSG_DONTWAIT | MSG_NOSIGNAL))
            if count < 0, errno == ENOTSOCK { count = Glibc.write(fd, bytes.baseAddress, min(bytes.count, 4096)) }
            if count >= 0 { return count }
            let code = errno
            if code == EINTR { continue }
            if code == EAGAIN { return 0 }
            throw KernelFault("write", errno: code)
        }
    }

    /// poll(2). Nil when a signal interrupted it; all unready after the time is over. Negative: no limit.
    public static func wait(_ wanted: [(fd: CInt, interest: Interest)], milliseconds: CInt) throws -> [Readiness]? {
        var polled = wanted.map { item in
            let events: CInt
            switch item.interest {
            case .read: events = POLLIN
            case .write: events = POLLOUT
            case .readWrite: events = POLLIN | POLLOUT
            }
            return pollfd(fd: item.fd, events: Int16(events), revents: 0)
        }
        let result = Glibc.poll(&polled, nfds_t(polled.count), milliseconds)
        if result < 0 {
            let code = errno
            if code == EINTR { return nil }
            throw KernelFault("poll", errno: code)
        }
        return polled.map { item in
            let events = CInt(item.revents)
            let broken = events & (POLLERR | POLLNVAL | POLLHUP) != 0
            return Readiness(
                readable: events & POLLIN != 0 || broken, writable: events & POLLOUT != 0 || broken,
                hungUp: events & (POLLHUP | POLLERR | POLLNVAL) != 0)
        }
    }

    /// A pipe whose both ends are closed on exec (pipe2(2)).
    public static func pipe() throws -> PipeEnds {
        var ends: [CInt] = [-1, -1]
        try kernel("pipe") { Glibc.pipe(&ends) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return PipeEnds(read: Descriptor(owning: ends[0]), write: Descriptor(owning: ends[1]))
    }

    public static func setNonBlocking(_ fd: CInt, _ on: Bool) throws {
        let flags = try kernel("fcntl F_GETFL") { fcntl(fd, F_GETFL) }
        try kernel("fcntl F_SETFL") { fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) }
    }

    public static func isTerminal(_ fd: CInt) -> Bool { isatty(fd) == 1 }

    /// Writing to a closed pipe or socket answers EPIPE instead of ending the process.
    public static func ignoreBrokenPipes() { _ = signal(SIGPIPE, SIG_IGN) }
    public static func dieOfBrokenPipes() { _ = signal(SIGPIPE, SIG_DFL) }
}

/// The two ends of a pipe.
public struct PipeEnds: ~Copyable {
    public let read: Descriptor
    public let write: Descriptor

    /// Gives both ends away.
    public consuming func split() -> (read: CInt, write: CInt) { (read.release(), write.release()) }
}

extension KernelFault {
    /// EAGAIN: nothing there at the moment.
    public var isTryAgain: Bool { self.errno == EAGAIN }
}
