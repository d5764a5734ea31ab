// SPDX-License-Identifier: GPL-2.0-only
/* How the receive softirq comes to run, counted on tracepoints: which passes
 * there are, how long one waits once it is asked for, and who runs it.
 */
#include "common.h"

#define CPUS 512
#define NET_RX_SOFTIRQ 3

/* Where the tracepoints' fields are, as their format files say. */
volatile const __u32 vec_at;
volatile const __u32 comm_at;
volatile const __u32 work_at;
volatile const __u32 name_at;

/* Of one CPU, so that nothing is shared. */
struct cpu {
	/* When the next pass was asked for; 0 when none is due. */
	__u64 raised_at;
	/* It is in a pass now, and the next was asked for from within one. */
	__u64 inside;
	__u64 next_is_again;
	/* The pass has polled a device. */
	__u64 device_was_polled;
	/* Passes; those that a pass asked for; those that ksoftirqd ran. */
	__u64 passes;
	__u64 again;
	__u64 by_ksoftirqd;
	/* Nanoseconds from asking for a pass to its start, over all of them, and
	 * over those that a pass asked for.
	 */
	__u64 wait;
	__u64 wait_again;
	__u64 ksoftirqd_wakeups;
	/* Polls of the backlog and packets in them; polls of devices, the same. */
	__u64 backlog_polls;
	__u64 backlog_work;
	__u64 device_polls;
	__u64 device_work;
	/* Polls of the backlog in a pass that has polled a device before. */
	__u64 backlog_after_device;
};

struct cpu cpus[CPUS] = {};

static __always_inline struct cpu *here(void)
{
	return &cpus[bpf_get_smp_processor_id() & (CPUS - 1)];
}

static __always_inline bool is_ksoftirqd(const char *name)
{
	return name[0] == 'k' && name[1] == 's' && name[2] == 'o' && name[3] == 'f';
}

SEC("tracepoint/irq/softirq_raise")
int on_raise(void *ctx)
{
	struct cpu *cpu = here();

	if (field32(ctx, vec_at) != NET_RX_SOFTIRQ || cpu->raised_at)
		return 0;
	cpu->raised_at = bpf_ktime_get_ns();
	cpu->next_is_again = cpu->inside;
	return 0;
}

SEC("tracepoint/irq/softirq_entry")
int on_entry(void *ctx)
{
	struct cpu *cpu = here();
	char name[16] = {};
	__u64 waited = 0;

	if (field32(ctx, vec_at) != NET_RX_SOFTIRQ)
		return 0;
	if (cpu->raised_at)
		waited = bpf_ktime_get_ns() - cpu->raised_at;
	cpu->raised_at = 0;
	cpu->inside = 1;
	cpu->device_was_polled = 0;
	cpu->passes++;
	cpu->wait += waited;
	if (cpu->next_is_again) {
		cpu->again++;
		cpu->wait_again += waited;
	}
	cpu->next_is_again = 0;
	bpf_get_current_comm(name, sizeof(name));
	if (is_ksoftirqd(name))
		cpu->by_ksoftirqd++;
	return 0;
}

SEC("tracepoint/irq/softirq_exit")
int on_exit(void *ctx)
{
	if (field32(ctx, vec_at) == NET_RX_SOFTIRQ)
		here()->inside = 0;
	return 0;
}

SEC("tracepoint/sched/sched_wakeup")
int on_wakeup(void *ctx)
{
	char name[4] = {};

	bpf_probe_read_kernel(name, sizeof(name), ctx + comm_at);
	if (is_ksoftirqd(name))
		here()->ksoftirqd_wakeups++;
	return 0;
}

SEC("tracepoint/napi/napi_poll")
int on_poll(void *ctx)
{
	struct cpu *cpu = here();
	__u32 at = field32(ctx, name_at) & 0xffff;
	char name[4] = {};

	/* The backlog belongs to no device: "(no_device)". */
	bpf_probe_read_kernel(name, sizeof(name), ctx + at);
	if (name[0] == '(') {
		cpu->backlog_polls++;
		cpu->backlog_work += field32(ctx, work_at);
		if (cpu->inside && cpu->device_was_polled)
			cpu->backlog_after_device++;
	} else {
		cpu->device_was_polled = 1;
		cpu->device_polls++;
		cpu->device_work += field32(ctx, work_at);
	}
	return 0;
}
