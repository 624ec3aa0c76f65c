import Client
import Linux
import Model

/// The same request for many containers, side by side; names are printed as they are done, refusals at the end.
enum ManyContainers {
    /// - Parameter verb: the last part of the path; empty for none.
    static func each(
        _ invocation: Invocation, _ method: String, _ verb: String, _ query: Query = Query(), names: [String]? = nil,
        body: RequestBody = .none, prints: (String, [UInt8]) throws -> String? = { name, _ in name },
        forgives: (EngineRefusal) -> Bool = { _ in false }, summary: (([String]) -> String)? = nil
    ) throws -> CInt {
        let names = names ?? invocation.arguments
        let calls = names.map { name in
            ParallelCall(method, "/containers/\(Query.path(name))" + (verb.isEmpty ? "" : "/" + verb), query, body: body)
        }
        var faults: [String] = []
        var failed: [String] = []
        var broken: (any Error)?
        try invocation.client().parallel(calls) { index, result in
            do {
                let answer = try result.get()
                if let line = try prints(names[index], answer) { try Screen.out(line + "\n") }
            } catch let refusal as EngineRefusal {
                faults.append(refusal.description)
                if !forgives(refusal) { failed.append(names[index]) }
            } catch let fault as KernelFault { broken = fault } catch {
                faults.append(CommandLineRun.text(error))
                failed.append(names[index])
            }
        }
        if let broken { throw broken }
        // An engine that cannot be reached is one fault, not one for each name.
        if faults.count > 1, Set(faults).count == 1 { faults = [faults[0]] }
        if let summary, !failed.isEmpty { faults.append(summary(failed)) }
        if !faults.isEmpty { Screen.error(faults.joined(separator: "\n") + "\n") }
        return failed.isEmpty ? 0 : 1
    }
}
