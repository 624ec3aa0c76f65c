import Engine
import Linux
import Model
import Testing

struct AccountsTests {
    static let passwd = Array(
        """
        root:x:0:0:root:/root:/bin/sh
        # a remark
        app:x:1000:1001:app:/home/app:/bin/sh
        broken line
        huge:x:99999999999:0::/:/bin/sh
        777:x:5:6::/numeric:/bin/sh
        """.utf8)
    static let group = Array("root:x:0:\napp:x:1001:\nwheel:x:10:app,other\naudio:x:29:app\n".utf8)
    static let files = AccountFiles(passwd: passwd, group: group)

    @Test func `Nobody named is root, with root's home`() throws {
        #expect(try Self.files.account("", groupAdd: []) == Account(uid: 0, gid: 0, groups: [0], home: "/root"))
    }

    @Test func `A name brings group, further groups and home`() throws {
        #expect(
            try Self.files.account("app", groupAdd: [])
                == Account(uid: 1000, gid: 1001, groups: [10, 29, 1001], home: "/home/app"))
    }

    @Test func `A group of one's own brings no others`() throws {
        #expect(
            try Self.files.account("app:audio", groupAdd: []) == Account(uid: 1000, gid: 29, groups: [29], home: "/home/app"))
        #expect(try Self.files.account("1234:5678", groupAdd: ["wheel"]).groups == [10, 5678])
    }

    @Test func `CVE-2022-36109 who sets another group id keeps the first one`() throws {
        for user in ["", "app", "777", "1234:5678", "app:wheel"] {
            let account = try Self.files.account(user, groupAdd: [])
            #expect(account.groups.contains(account.gid), "\(user)")
        }
    }

    @Test func `A name that looks like a number is a name first`() throws {
        #expect(try Self.files.account("777", groupAdd: []).uid == 5)
    }

    @Test(arguments: ["2147483648", "4294967295", "4294967296", "99999999999999999999", "0:2147483648", "huge"])
    func `CVE-2024-40635 numbers beyond the kernel's are refused`(user: String) {
        #expect(throws: Fault.self) { try Self.files.account(user, groupAdd: []) }
    }

    @Test func `Unknown names are named`() {
        #expect {
            try Self.files.account("nobody", groupAdd: [])
        } throws: {
            ($0 as? Fault)?.message == "unable to find user nobody: no matching entries in passwd file"
        }
        #expect {
            try Self.files.account("app:staff", groupAdd: [])
        } throws: {
            ($0 as? Fault)?.message == "unable to find group staff: no matching entries in group file"
        }
    }

    @Test func `CVE-2022-4318 a record with a line break in its home is two lines`() throws {
        let files = AccountFiles(passwd: Array("evil:x:1:1::/home\nroot2:x:0:0::/:/bin/sh\n".utf8), group: nil)
        #expect(try files.account("evil", groupAdd: []).home == "/home")
    }
}

struct LayerStackTests {
    /// Two layers in a folder of their own.
    private func withLayers(_ body: (_ upper: String, _ lower: String, _ stack: LayerStack) throws -> Void) throws {
        let root = try FileCalls.makeTemporaryFolder("/tmp/skiff-engine-tests-XXXXXX")
        defer { try? removeTree(root) }
        for name in ["upper", "lower"] { try Descriptor.makeDirectories("\(root)/\(name)/etc") }
        try body(root + "/upper", root + "/lower", LayerStack(layers: [root + "/upper", root + "/lower"]))
    }

    @Test func `The topmost layer's file is the file`() throws {
        try withLayers { upper, lower, stack in
            try writeFile(lower + "/etc/passwd", Array("lower".utf8))
            #expect(try stack.file("/etc/passwd", limit: 100) == Array("lower".utf8))
            try writeFile(upper + "/etc/passwd", Array("upper".utf8))
            #expect(try stack.file("/etc/passwd", limit: 100) == Array("upper".utf8))
            #expect(try stack.file("/etc/group", limit: 100) == nil)
        }
    }

    @Test func `Links are followed within the stack and never out of it`() throws {
        try withLayers { upper, lower, stack in
            try Descriptor.makeDirectories(lower + "/usr/lib")
            try writeFile(lower + "/usr/lib/passwd", Array("found".utf8))
            let etc = try Descriptor.open(upper + "/etc", [.read, .directory])
            try etc.makeSymlink(Array("passwd".utf8), to: Array("/usr/lib/passwd".utf8))
            #expect(try stack.file("/etc/passwd", limit: 100) == Array("found".utf8))
            try etc.makeSymlink(Array("group".utf8), to: Array("../../../../../../../etc/hostname".utf8))
            #expect(try stack.file("/etc/group", limit: 4096) == nil)
            try etc.makeSymlink(Array("loop".utf8), to: Array("loop".utf8))
            #expect(try stack.file("/etc/loop", limit: 100) == nil)
        }
    }

    @Test func `CVE-2022-31030 a file beyond the limit is refused`() throws {
        try withLayers { upper, _, stack in
            try writeFile(upper + "/etc/group", [UInt8](repeating: 0x61, count: 5000))
            #expect(throws: KernelFault.self) { try stack.file("/etc/group", limit: 4096) }
        }
    }
}
