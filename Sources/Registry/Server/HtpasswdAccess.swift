import Archive
import HTTP
import Linux
import Model
import Synchronization

/// Users with passwords from a file of htpasswd(1); whoever is one of them may do everything. The file is read again when it changes.
package final class HtpasswdAccess: RegistryAccess {
    private struct Users {
        var hashes: [String: String] = [:]
        /// What the file was when it was read: inode, size, time.
        var version: [UInt64] = []
        var looked: Int64 = 0
        /// Credentials that were found right, as keyed hashes, with the time until which they count.
        var verified: [Digest: Int64] = [:]
    }

    private let path: String
    private let log: RegistryLog
    private let users = Mutex(Users())
    /// bcrypt runs: no more at a time than the machine has for them, so that a flood of guesses leaves room for others.
    private let slots = Monitor(2)
    private let key = RandomBytes.make(32)
    private static let memory: Int64 = 300_000_000_000
    private static let rememberedLimit = 4096

    /// - Throws: `invalid` that names the line which is none, or whose hash is not bcrypt.
    package init(path: String, log: RegistryLog) throws {
        self.path = path
        self.log = log
        let (hashes, version) = try Self.read(path)
        users.withLock {
            $0.hashes = hashes
            $0.version = version
            $0.looked = Clock.monotonic
        }
    }

    package func check(_ request: ServerRequest, needs: [AccessNeed]) throws {
        guard let (user, password) = Self.credentials(request["authorization"]) else { throw Self.challenge() }
        guard verify(user, password) else { throw Self.challenge("the user or the password is wrong") }
    }

    private static func challenge(_ words: String = "authentication required") -> DistributionFault {
        DistributionFault(
            401, .unauthorized, words,
            fields: [.init("WWW-Authenticate", "Basic realm=\"Skiff registry\", charset=\"UTF-8\"")])
    }

    /// `Basic base64(user:password)` (RFC 7617).
    static func credentials(_ field: String?) -> (user: String, password: String)? {
        guard let field, field.utf8.count <= 4096 else { return nil }
        let words = field.split(separator: " ", omittingEmptySubsequences: true)
        guard words.count == 2, words[0].lowercased() == "basic", let bytes = StrictBase64.decode(words[1]),
            let colon = bytes.firstIndex(of: UInt8(ascii: ":"))
        else { return nil }
        return (
            String(decoding: bytes[..<colon], as: UTF8.self), String(decoding: bytes[(colon + 1)...], as: UTF8.self)
        )
    }

    private func verify(_ user: String, _ password: String) -> Bool {
        refresh()
        let mark = try? ContentHash.digest(of: key + Array(user.utf8) + [0] + Array(password.utf8))
        let now = Clock.monotonic
        let (hash, isKnown) = users.withLock { users in
            (users.hashes[user], mark.flatMap { users.verified[$0] }.map { $0 > now } ?? false)
        }
        if isKnown, hash != nil { return true }
        _ = slots.wait { slots in
            guard slots > 0 else { return nil as Bool? }
            slots -= 1
            return true
        }
        // the same work whether there is such a user or not
        let isRight = PasswordHash.verify(password, hash ?? anyHash)
        slots.update { $0 += 1 }
        guard isRight, let hash else { return false }
        if let mark {
            users.withLock { users in
                // unless the file has changed meanwhile
                guard users.hashes[user] == hash else { return }
                if users.verified.count >= Self.rememberedLimit { users.verified = users.verified.filter { $0.value > now } }
                if users.verified.count < Self.rememberedLimit { users.verified[mark] = now + Self.memory }
            }
        }
        return true
    }

    /// One of the file's costs, so that guessing at a user who does not exist takes as long.
    private var anyHash: String { users.withLock { $0.hashes.values.max() ?? PasswordHash.dummy } }

    // MARK: File

    private func refresh() {
        let now = Clock.monotonic
        let isDue = users.withLock { users in
            guard now - users.looked > 1_000_000_000 else { return false }
            users.looked = now
            return true
        }
        guard isDue else { return }
        do {
            let version = try Self.version(path)
            if users.withLock({ $0.version == version }) { return }
            let (hashes, read) = try Self.read(path)
            users.withLock { users in
                users.hashes = hashes
                users.version = read
                users.verified = [:]
            }
            log.info("\(path) was read again", [("users", "\(hashes.count)")])
        } catch { log.error("the users stay as they were: \(Fault(error))") }
    }

    private static func version(_ path: String) throws -> [UInt64] {
        let status = try Files.status(path)
        return [status.inode, status.size, UInt64(bitPattern: status.modified)]
    }

    private static func read(_ path: String) throws -> ([String: String], [UInt64]) {
        do {
            let version = try version(path)
            return (try parse(String(decoding: try Files.read(path, limit: 4 << 20), as: UTF8.self), path), version)
        } catch let fault as KernelFault {
            throw Fault(.invalid, "cannot read the users of --htpasswd \(path)", subject: path, cause: fault)
        }
    }

    static func parse(_ text: String, _ path: String) throws -> [String: String] {
        var users: [String: String] = [:]
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let line = HTTPFields.trimmed(line).filter { $0 != "\r" }
            if line.isEmpty || line.hasPrefix("#") { continue }
            guard let colon = line.firstIndex(of: ":"), colon > line.startIndex else {
                throw Fault(.invalid, "\(path):\(number + 1): not user:hash", subject: path)
            }
            let user = String(line[..<colon])
            let hash = String(line[line.index(after: colon)...])
            guard PasswordHash.isBcrypt(hash) else {
                throw Fault(
                    .invalid, "\(path):\(number + 1): the hash of \(user) is not bcrypt; make it with `htpasswd -B`",
                    subject: path)
            }
            users[user] = hash
        }
        return users
    }
}
