import Glibc

/// The first process of a container with `--init`: starts the real one, hands it every signal, reaps whatever is orphaned,
/// and ends as the real one ends. Never returns to work: the answer is the exit code.
///
/// The command gets a process group of its own, in the foreground of the terminal where there is one, so that a signal from
/// the keyboard reaches it once.
public func runAsInit(_ command: [String]) -> CInt {
    guard let program = command.first else {
        say("no command to run")
        return 127
    }
    var all = sigset_t()
    sigfillset(&all)
    sigprocmask(SIG_BLOCK, &all, nil)
    var child: pid_t = 0
    let code = start(program, command, &child)
    guard code == 0 else {
        say("exec \(program) failed: \(KernelFault.text(of: code))")
        return code == ENOENT ? 127 : 126
    }
    while true {
        var signal: CInt = 0
        guard sigwait(&all, &signal) == 0 else { continue }
        if signal == SIGCHLD {
            if let ended = reapAll(until: child) { return ended }
        } else {
            kill(child, signal)
        }
    }
}

private func start(_ program: String, _ command: [String], _ child: inout pid_t) -> CInt {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(&attributes, Int16(CInt(POSIX_SPAWN_SETSIGMASK) | CInt(POSIX_SPAWN_SETPGROUP)))
    let words = command.map { strdup($0) }
    defer { for word in words { free(word) } }
    let result = posix_spawnp(&child, program, nil, &attributes, words + [nil], environ)
    // In the background for an instant: whoever was stopped for reading too early is continued.
    if result == 0, isatty(0) == 1, tcsetpgrp(0, child) == 0 { kill(-child, SIGCONT) }
    return result
}

/// Reaps everybody who has ended; the child's exit code when it is among them.
private func reapAll(until child: pid_t) -> CInt? {
    var ended: CInt?
    var status: CInt = 0
    while true {
        let pid = waitpid(-1, &status, WNOHANG)
        if pid <= 0 { return ended }
        if pid == child { ended = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F) }
    }
}

private func say(_ text: String) {
    let bytes = Array("[init] \(text)\n".utf8)
    _ = write(2, bytes, bytes.count)
}
