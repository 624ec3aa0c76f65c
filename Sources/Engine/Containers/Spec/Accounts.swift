import Linux
import Model
import Synchronization

/// Who a process runs as.
package struct Account: Sendable, Equatable {
    package var uid: UInt32
    package var gid: UInt32
    package var groups: [UInt32]
    package var home: String

    package init(uid: UInt32, gid: UInt32, groups: [UInt32], home: String) {
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home
    }
}

/// A root file system's /etc/passwd and /etc/group, as far as they can be read: lines that are not understood do not count.
package struct AccountFiles: Sendable {
    /// Longer files are refused: somebody made them to hurt.
    package static let limit = 1 << 20

    package struct User: Sendable {
        package var name: String
        package var uid: UInt32
        package var gid: UInt32
        package var home: String
    }

    package struct Group: Sendable {
        package var name: String
        package var gid: UInt32
        package var members: [String]
    }

    package var users: [User] = []
    package var groups: [Group] = []

    package init(passwd: [UInt8]?, group: [UInt8]?) {
        users = Self.lines(passwd).compactMap { fields in
            guard fields.count >= 4, let uid = UInt32(fields[2]), let gid = UInt32(fields[3]) else { return nil }
            return User(name: fields[0], uid: uid, gid: gid, home: fields.count > 5 ? fields[5] : "")
        }
        groups = Self.lines(group).compactMap { fields in
            guard fields.count >= 3, let gid = UInt32(fields[2]) else { return nil }
            let members = fields.count > 3 ? fields[3].split(separator: ",").map { String($0) } : []
            return Group(name: fields[0], gid: gid, members: members)
        }
    }

    private static func lines(_ bytes: [UInt8]?) -> [[String]] {
        guard let bytes else { return [] }
        return bytes.split(separator: 0x0A).compactMap { line in
            guard line.first != UInt8(ascii: "#") else { return nil }
            return line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false).map {
                String(decoding: $0, as: UTF8.self)
            }
        }
    }

    /// Docker's rules for `--user` (`name`, `uid`, `name:group`, `uid:gid`) and `--group-add`.
    /// - Throws: `invalid` in docker's words: an unknown name, a number beyond what the kernel takes.
    package func account(_ user: String, groupAdd: [String]) throws -> Account {
        let parts = user.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map { String($0) }
        let userText = parts.first ?? ""
        let groupText = parts.count > 1 ? parts[1] : ""
        var account = Account(uid: 0, gid: 0, groups: [], home: "/")
        var named: User?
        if userText.isEmpty {
            named = users.first { $0.uid == 0 }
        } else if let user = users.first(where: { $0.name == userText }) {
            named = user
        } else if userText.drop(while: { $0 == "-" }).utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            guard let uid = UInt32(userText), uid <= UInt32(Int32.max) else {
                throw Fault(.invalid, "uids and gids must be in range 0-2147483647", subject: user)
            }
            account.uid = uid
            named = users.first { $0.uid == uid }
        } else {
            throw Fault(.invalid, "unable to find user \(userText): no matching entries in passwd file", subject: user)
        }
        if let named {
            account.uid = named.uid
            account.gid = named.gid
            if !named.home.isEmpty { account.home = named.home }
            if groupText.isEmpty {
                account.groups = groups.filter { $0.members.contains(named.name) && $0.gid != named.gid }.map(\.gid)
            }
        }
        if !groupText.isEmpty { account.gid = try gid(groupText) }
        for group in groupAdd {
            let gid = try gid(group)
            if !account.groups.contains(gid) { account.groups.append(gid) }
        }
        // Else a process that sets another group id leaves this one behind, and what it forbids (CVE-2022-36109).
        if !account.groups.contains(account.gid) { account.groups.append(account.gid) }
        return account
    }

    private func gid(_ text: String) throws -> UInt32 {
        if let group = groups.first(where: { $0.name == text }) { return group.gid }
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), !text.isEmpty else {
            throw Fault(.invalid, "unable to find group \(text): no matching entries in group file", subject: text)
        }
        guard let gid = UInt32(text), gid <= UInt32(Int32.max) else {
            throw Fault(.invalid, "uids and gids must be in range 0-2147483647", subject: text)
        }
        return gid
    }
}

/// Account files of images, kept because most containers start with their image's.
final class AccountCache: Sendable {
    private let files = Mutex<[String: AccountFiles]>([:])

    /// Blocking. `upper` is looked at first; where it has neither file, the image's are taken from the cache.
    func accounts(image: String, layers: [String], upper: String) throws -> AccountFiles {
        let etc = (try? Descriptor.open(upper, [.path, .directory]).status(of: Array("etc".utf8))) ?? nil
        if etc != nil { return try read([upper] + layers) }
        if let cached = files.withLock({ $0[image] }) { return cached }
        let read = try read(layers)
        files.withLock { files in
            if files.count > 256 { files = [:] }
            files[image] = read
        }
        return read
    }

    private func read(_ layers: [String]) throws -> AccountFiles {
        let stack = LayerStack(layers: layers)
        func content(_ path: String) throws -> [UInt8]? {
            do { return try stack.file(path, limit: AccountFiles.limit) } catch {
                throw Fault(.invalid, "\(path) of the container cannot be read", cause: error)
            }
        }
        return AccountFiles(passwd: try content("/etc/passwd"), group: try content("/etc/group"))
    }
}
