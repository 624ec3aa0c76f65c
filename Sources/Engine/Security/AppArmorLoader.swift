import Linux
import Model

/// Loads the default profile, once per boot and text. Blocking.
package struct AppArmorLoader {
    private let layout: Layout
    package var kernelSwitch = "/sys/module/apparmor/parameters/enabled"
    package var loadedProfiles = "/sys/kernel/security/apparmor/profiles"
    package var parsers = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser", "/usr/local/sbin/apparmor_parser"]

    /// The parser gets so long: a machine that is busy with its boot may need seconds.
    private static let patience = 30_000

    /// What was loaded last; gone after a reboot, as the kernel's own copy is.
    private var record: String { layout.runRoot + "/apparmor-default" }

    package init(layout: Layout) { self.layout = layout }

    package func run() -> AppArmorStanding {
        guard let enabled = try? readFile(kernelSwitch, limit: 64), enabled.first == UInt8(ascii: "Y") else { return .absent }
        let text = Array(DefaultAppArmor.source().utf8)
        if isLoaded, (try? readFile(record, limit: 1 << 20)) == text { return .ready }
        guard let parser = parsers.first(where: { LaunchCalls.find($0) != nil }) else {
            return .unusable("apparmor_parser is not installed (Debian: apt-get install apparmor)")
        }
        do {
            try load(text, parser)
            return .ready
        } catch { return .unusable(Fault(error).description) }
    }

    /// The kernel's list is readable for root where securityfs is mounted; elsewhere the parser's word counts.
    private var isLoaded: Bool {
        guard let list = try? readFile(loadedProfiles, limit: 4 << 20) else { return false }
        return list.split(separator: 0x0A).contains { $0.starts(with: (DefaultAppArmor.name + " (").utf8) }
    }

    private func load(_ text: [UInt8], _ parser: String) throws {
        let source = record + ".new"
        let said = record + ".log"
        try writeFile(source, text, permissions: 0o600)
        defer { SmallFile.remove(said) }
        let input = try Descriptor.open(source, .read)
        let output = try Descriptor.open(said, [.write, .create, .truncate], permissions: 0o600)
        let pid = try LaunchCalls.start(
            parser, ["--replace", "--skip-cache"], environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"],
            stdin: .descriptor(input.raw), stdout: .descriptor(output.raw), stderr: .descriptor(output.raw), newSession: true)
        let ending = try wait(pid)
        guard ending == .exited(0) else {
            let lines = ((try? readFile(said, limit: 64 << 10)) ?? []).split(separator: 0x0A)
            let last = lines.last.map { ": " + String(decoding: $0, as: UTF8.self) } ?? ""
            throw Fault(.system, "\(parser) failed\(last)")
        }
        try FileCalls.rename(source, record)
    }

    private func wait(_ pid: CInt) throws -> LaunchCalls.Ending {
        let deadline = FileCalls.monotonic + Int64(Self.patience) * 1_000_000
        while FileCalls.monotonic < deadline {
            if let ending = try LaunchCalls.poll(pid) { return ending }
            FileCalls.sleep(milliseconds: 5)
        }
        LaunchCalls.kill(pid, StopSignal.kill)
        _ = try LaunchCalls.wait(pid)
        throw Fault(.unavailable, "apparmor_parser did not end in \(Self.patience / 1000) seconds")
    }
}

extension EngineCore {
    /// In the background: the parser takes its time, and only the first start waits for it.
    func beginAppArmor() {
        Task {
            let standing = (try? await background.run { [layout] in AppArmorLoader(layout: layout).run() }) ?? .absent
            if let warning = standing.warning { log.warning("\(warning)") }
            apparmor.fulfil(standing)
        }
    }
}
