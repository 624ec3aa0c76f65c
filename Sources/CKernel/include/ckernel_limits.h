#ifndef CKERNEL_LIMITS_H
#define CKERNEL_LIMITS_H
// bpf(2), seccomp(2) and what their headers hide from Swift. Numbers are the kernel's ABI, so that old headers suffice.
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int skiff_bpf(int command, union bpf_attr *attributes, unsigned size) {
    return (int)syscall(SYS_bpf, command, attributes, size);
}

/// BPF_PROG_LOAD of a program of a type (BPF_PROG_TYPE_CGROUP_DEVICE 15, BPF_PROG_TYPE_SCHED_CLS 3). The log may be NULL.
static inline int skiff_bpf_load_program(unsigned type, const void *instructions, unsigned count, char *log, unsigned log_size) {
    union bpf_attr attributes;
    static const char license[] = "Apache-2.0";
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = type;
    attributes.insns = (uint64_t)(uintptr_t)instructions;
    attributes.insn_cnt = count;
    attributes.license = (uint64_t)(uintptr_t)license;
    if (log && log_size) {
        attributes.log_level = 1;
        attributes.log_buf = (uint64_t)(uintptr_t)log;
        attributes.log_size = log_size;
    }
    return skiff_bpf(BPF_PROG_LOAD, &attributes, sizeof attributes);
}

/// BPF_PROG_ATTACH to BPF_CGROUP_DEVICE. `replaced` is a program descriptor for BPF_F_REPLACE, or -1.
static inline int skiff_bpf_attach_device_program(int cgroup, int program, unsigned flags, int replaced) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.target_fd = (uint32_t)cgroup;
    attributes.attach_bpf_fd = (uint32_t)program;
    attributes.attach_type = BPF_CGROUP_DEVICE;
    attributes.attach_flags = flags;
    if (replaced >= 0) attributes.replace_bpf_fd = (uint32_t)replaced;
    return skiff_bpf(BPF_PROG_ATTACH, &attributes, sizeof attributes);
}

static inline int skiff_bpf_detach_device_program(int cgroup, int program) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.target_fd = (uint32_t)cgroup;
    attributes.attach_bpf_fd = (uint32_t)program;
    attributes.attach_type = BPF_CGROUP_DEVICE;
    return skiff_bpf(BPF_PROG_DETACH, &attributes, sizeof attributes);
}

/// BPF_PROG_QUERY: ids of the device programs attached to this very cgroup. `count` is capacity in, number out.
static inline int skiff_bpf_query_device_programs(int cgroup, uint32_t *ids, uint32_t *count) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.query.target_fd = (uint32_t)cgroup;
    attributes.query.attach_type = BPF_CGROUP_DEVICE;
    attributes.query.prog_ids = (uint64_t)(uintptr_t)ids;
    attributes.query.prog_cnt = *count;
    int result = skiff_bpf(BPF_PROG_QUERY, &attributes, sizeof attributes);
    *count = attributes.query.prog_cnt;
    return result;
}

static inline int skiff_bpf_open_program(uint32_t id) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_id = id;
    return skiff_bpf(BPF_PROG_GET_FD_BY_ID, &attributes, sizeof attributes);
}

/// seccomp(2) SECCOMP_SET_MODE_FILTER. Answers the listener's descriptor with SECCOMP_FILTER_FLAG_NEW_LISTENER.
static inline int skiff_seccomp_set_filter(unsigned flags, const struct sock_filter *instructions, unsigned short count) {
    struct sock_fprog program = {.len = count, .filter = (struct sock_filter *)instructions};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/// seccomp(2) SECCOMP_SET_MODE_FILTER without a program: EFAULT when every flag is known, EINVAL otherwise.
static inline int skiff_seccomp_probe_flags(unsigned flags) {
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, NULL);
}

/// seccomp(2) SECCOMP_GET_ACTION_AVAIL.
static inline int skiff_seccomp_action_available(uint32_t action) {
    return (int)syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
}

#endif
