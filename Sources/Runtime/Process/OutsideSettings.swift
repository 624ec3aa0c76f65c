import Linux
import Model

/// What the runtime sets on the container's process from outside, with its own rights: a process that has entered a user
/// namespace could not.
enum OutsideSettings {
    static func apply(_ process: ProcessPlan, pid: CInt, hasUserNamespace: Bool, report: Reporter) throws {
        if hasUserNamespace { try raise(process.limits, pid, report) }
        if let score = process.oomScoreAdjustment { try adjust(score, pid, report) }
        if let scheduling = process.scheduling {
            do { try Scheduling.setAttributes(pid, scheduling) } catch let fault as KernelFault {
                throw Fault(.unsupported, "process.scheduler: the kernel refuses it", cause: fault)
            }
        }
        if let kind = process.ioClass {
            do { try Scheduling.setIOPriority(pid, class: kind, level: process.ioLevel) } catch let fault as KernelFault {
                throw Fault(.unsupported, "process.ioPriority: the kernel refuses it", cause: fault)
            }
        }
    }

    /// A process in a user namespace has lowered its limits itself; only from outside they can be raised.
    private static func raise(_ limits: [ProcessPlan.Limit], _ pid: CInt, _ report: Reporter) throws {
        for limit in limits {
            let present = try Scheduling.limit(limit.number)
            if limit.hard <= present.hard { continue }
            do { try Scheduling.setLimit(pid, limit.number, soft: limit.soft, hard: limit.hard) } catch let fault as KernelFault
            {
                guard fault.isNotPermitted else {
                    throw Fault(.invalid, "process.rlimits: cannot set \(limit.name)", cause: fault)
                }
                report(.warning, refusal(limit, present.hard))
            }
        }
    }

    /// The process's own part, before it gives up its rights: without CAP_SYS_RESOURCE no hard limit can be raised, so as much
    /// as can be had, and a warning.
    static func limit(_ limits: [ProcessPlan.Limit], hasUserNamespace: Bool, warn: (String) -> Void) throws {
        for limit in limits {
            do { try Scheduling.setLimit(0, limit.number, soft: limit.soft, hard: limit.hard) } catch let fault as KernelFault {
                guard fault.isNotPermitted else {
                    throw Fault(.invalid, "process.rlimits: cannot set \(limit.name)", cause: fault)
                }
                let present = try Scheduling.limit(limit.number)
                let hard = min(limit.hard, present.hard)
                try Scheduling.setLimit(0, limit.number, soft: min(limit.soft, hard), hard: hard)
                if !hasUserNamespace { warn(refusal(limit, present.hard)) }
            }
        }
    }

    private static func refusal(_ limit: ProcessPlan.Limit, _ hard: UInt64) -> String {
        "process.rlimits: \(limit.name) stays at \(hard) in place of \(limit.hard): only CAP_SYS_RESOURCE, which this runtime does "
            + "not have, may raise a hard limit"
    }

    private static func adjust(_ score: Int, _ pid: CInt, _ report: Reporter) throws {
        do { try Files.put(String(score), "/proc/\(pid)/oom_score_adj") } catch let fault as KernelFault {
            guard fault.isRefused else { throw Fault(.system, "process.oomScoreAdj: cannot set \(score)", cause: fault) }
            report(
                .warning,
                "process.oomScoreAdj: \(score) cannot be set: only CAP_SYS_RESOURCE, which this runtime does not have, may lower it"
            )
        }
    }
}
