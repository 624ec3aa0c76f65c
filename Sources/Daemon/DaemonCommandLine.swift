/// The command line for tests, which do not see the room's own types.
package enum DaemonCommandLine {
    package static func summary(_ arguments: [String]) throws -> String {
        switch try DaemonOptions.parse(arguments) {
        case .run(let options):
            let mtu = options.mtu.map { ", mtu \($0)" } ?? ""
            return "data \(options.dataRoot), run \(options.runRoot), sockets \(options.sockets.joined(separator: ",")), "
                + "level \(options.level)\(mtu)\(options.summary6)"
        case .validate: return "validate"
        case .help: return "help"
        case .version: return "version"
        }
    }
}
