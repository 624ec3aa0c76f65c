import Linux
import Model

/// The command line of `skiff-runtime shim`, which only the engine uses.
struct ShimArguments {
    /// Absolute.
    var bundle = ""
    /// An open network namespace for the container.
    var netns: CInt?
    /// Kept open while the container lives: reserved host ports.
    var hold: [CInt] = []
    /// Mounts overlays the way of kernels before 6.5, for tests.
    var forcesOldOverlay = false

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        func value(_ name: String) throws -> String {
            guard let value = rest.popFirst() else { throw Fault(.invalid, "\(name) needs a value") }
            return value
        }
        func descriptor(_ name: String) throws -> CInt {
            let text = try value(name)
            guard let number = CInt(text), number > 2, Processes.isOpen(number) else {
                throw Fault(.invalid, "\(name) \(text) is no open descriptor")
            }
            return number
        }
        while let name = rest.popFirst() {
            switch name {
            case "--bundle": bundle = try value(name)
            case "--netns": netns = try descriptor(name)
            case "--hold": hold.append(try descriptor(name))
            case "--old-overlay": forcesOldOverlay = true
            default: throw Fault(.invalid, "unknown argument \(name) of shim")
            }
        }
        guard bundle.hasPrefix("/") else { throw Fault(.invalid, "shim needs --bundle and an absolute path") }
    }
}
