import Linux
import Model

/// Finds a command as execvp(3) does, in the process's own PATH, as the user and in the root that it will have.
enum ExecutableLookup {
    static func find(_ command: String, environment: [String]) throws -> String {
        if command.contains("/") {
            try check(command, command)
            return command
        }
        let path = environment.last { $0.hasPrefix("PATH=") }.map { $0.dropFirst(5) } ?? ""
        var refused: Fault?
        for folder in command.isEmpty ? [] : path.split(separator: ":", omittingEmptySubsequences: false) {
            // An empty part is the current folder (environ(7)); runc refuses those, and so does this.
            guard folder.hasPrefix("/") else { continue }
            let candidate = "\(folder)/\(command)"
            do {
                try check(candidate, command)
                return candidate
            } catch let fault as Fault {
                if fault.kind == .commandNotExecutable { refused = refused ?? fault }
            }
        }
        throw refused ?? Fault(.commandNotFound, "exec: \"\(command)\": executable file not found in $PATH", subject: command)
    }

    private static func check(_ path: String, _ command: String) throws {
        let status: NodeStatus
        do { status = try Files.status(path) } catch let fault as KernelFault {
            throw Fault(
                fault.isRefused ? .commandNotExecutable : .commandNotFound,
                "exec: \"\(command)\": stat \(path): \(fault.reason.lowercased())", subject: command)
        }
        if status.kind == .folder {
            throw Fault(.commandNotExecutable, "exec: \"\(command)\": is a directory: permission denied", subject: command)
        }
        guard Files.isExecutable(path) else {
            throw Fault(.commandNotExecutable, "exec: \"\(command)\": permission denied", subject: command)
        }
    }

    /// What an errno of execve(2) means to the person who named the command.
    static func fault(_ errno: CInt, _ path: String) -> Fault {
        let fault = KernelFault("exec", errno: errno, path)
        let kind: Fault.Kind = fault.isMissingFile || fault.isNoFolder ? .commandNotFound : .commandNotExecutable
        return Fault(kind, "exec \(path): \(fault.reason.lowercased())", subject: path)
    }
}
