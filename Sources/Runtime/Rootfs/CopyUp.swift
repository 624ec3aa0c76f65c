import Linux

/// `tmpcopyup`: what lies under a new tmpfs is copied into it before it is attached.
enum CopyUp {
    /// Copies the content of one open folder into another: folders, files, links, nodes, with modes and owners.
    static func copy(from source: CInt, to target: CInt) throws {
        let status = try Files.status(of: source)
        let folder = try Files.open(".", [.readOnly, .directory], at: source)
        let into = try Files.open(".", [.path, .directory], at: target)
        try Files.changeOwner(of: into.raw, user: status.user, group: status.group)
        for name in try Files.names(in: folder.raw) { try copyEntry(name, folder.raw, into.raw) }
    }

    private static func copyEntry(_ name: String, _ source: CInt, _ target: CInt) throws {
        let status = try Files.status(name, at: source, follow: false)
        switch status.kind {
        case .folder:
            try Files.makeFolder(name, mode: status.permissions, at: target)
            let from = try Files.openInside(
                source, name, [.path, .directory], resolve: [.beneath, .noSymlinks, .noCrossMounts])
            let to = try Files.openInside(target, name, [.path, .directory], resolve: [.beneath, .noSymlinks])
            try copy(from: from.raw, to: to.raw)
        case .regular:
            let from = try Files.openInside(source, name, .readOnly, resolve: [.beneath, .noSymlinks])
            let to = try Files.open(name, [.writeOnly, .create, .exclusive, .noFollow], mode: status.permissions, at: target)
            try Files.copy(from: from.raw, to: to.raw)
        case .link: try Files.link(name, to: try Files.readLink(name, at: source), at: target)
        case .character, .block, .pipe:
            guard let kind = status.kind else { return }
            try Files.makeNode(
                name, kind, permissions: status.permissions, major: status.major, minor: status.minor, at: target)
        case .socket, nil: return
        }
        if status.kind != .folder { try Files.changeOwner(name, user: status.user, group: status.group, at: target) }
    }
}
