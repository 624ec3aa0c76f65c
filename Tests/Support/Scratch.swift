import Glibc

/// A folder of a test's own and the undoing of what it did, last thing first.
public final class Scratch {
    public let path: String
    private var undo: [() -> Void] = []

    /// Below SKIFF_TEST_SCRATCH, or /tmp.
    public init(_ name: String = #function) throws {
        let base = getenv("SKIFF_TEST_SCRATCH").map { String(cString: $0) } ?? "/tmp"
        let clean = String(name.prefix { $0.isLetter || $0.isNumber }.prefix(24))
        var template = Array("\(base)/\(clean).XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw SetupFailure("mkdtemp below \(base) failed: errno \(errno)") }
        path = String(cString: made)
        chmod(path, 0o755)
    }

    deinit { clean() }

    public func defer_(_ action: @escaping () -> Void) { undo.append(action) }

    public func clean() {
        while let action = undo.popLast() { action() }
        _ = run(["/bin/rm", "-rf", "--one-file-system", path])
    }

    public func file(_ name: String, _ text: String, mode: mode_t = 0o644) throws -> String {
        let target = path + "/" + name
        guard let handle = fopen(target, "w") else { throw SetupFailure("cannot write \(target): errno \(errno)") }
        fputs(text, handle)
        fclose(handle)
        chmod(target, mode)
        return target
    }

    public func folder(_ name: String) -> String {
        let target = path + "/" + name
        _ = run(["/bin/mkdir", "-p", target])
        return target
    }

    /// A busybox root file system in a folder of this scratch.
    public func busyboxRoot(_ name: String = "rootfs") throws -> String {
        let root = folder(name)
        let script = """
            set -e; cd '\(root)'; mkdir -p bin sbin etc dev proc sys tmp root usr/bin var; chmod 1777 tmp
            cp /bin/busybox bin/busybox; for a in $(/bin/busybox --list); do [ $a = busybox ] || ln -sf busybox bin/$a; done
            printf 'root:x:0:0:root:/root:/bin/sh\\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\\nu:x:1000:1000::/home/u:/bin/sh\\n' >etc/passwd
            printf 'root:x:0:\\naudio:x:29:u\\nnogroup:x:65534:\\nu:x:1000:\\n' >etc/group
            """
        let result = run(["/bin/sh", "-c", script])
        guard result.status == 0 else { throw SetupFailure("cannot make a busybox root: \(result.error)") }
        return root
    }
}

public struct SetupFailure: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// Where the release binaries under test are.
public var binaries: String {
    getenv("SKIFF_BIN_DIR").map { String(cString: $0) }
        ?? #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/bin"
}

/// The cgroup below which a test's containers live.
public var testCgroup: String { getenv("SKIFF_TEST_CGROUP").map { String(cString: $0) } ?? "/skiff-test" }
