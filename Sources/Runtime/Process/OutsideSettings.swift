import Linux
import Model

/// What the runtime sets on the container's process from outside, with its own rights: a process that has entered a user
/// namespace could not.
enum OutsideSettings {
    static func apply(_ process: ProcessPlan, pid: CInt, report: Reporter) throws {
        for limit in process.limits { try set(limit, pid, report) }
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

    /// Without CAP_SYS_RESOURCE no hard limit can be raised: as much as can be had, and a warning.
    private static func set(_ limit: ProcessPlan.Limit, _ pid: CInt, _ report: Reporter) throws {
        do { try Scheduling.setLimit(pid, limit.number, soft: limit.soft, hard: limit.hard) } catch let fault as KernelFault {
            guard fault.isNotPermitted else {
                throw Fault(.invalid, "process.rlimits: cannot set \(limit.name) to \(limit.soft)", cause: fault)
            }
            let present = try Scheduling.limit(limit.number)
            let hard = min(limit.hard, present.hard)
            let soft = min(limit.soft, hard)
            try Scheduling.setLimit(pid, limit.number, soft: soft, hard: hard)
            report(
                .warning,
                "process.rlimits: \(limit.name) is \(soft) in place of \(limit.soft): only CAP_SYS_RESOURCE, which this runtime "
                    + "does not have, may raise the hard limit of \(present.hard)")
        }
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
