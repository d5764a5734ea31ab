// SPDX-License-Identifier: GPL-2.0-only
/* Which way packets take through the kernel, counted on its tracepoints. */
#include "common.h"

/* Only packets of this length (skb->len as the tracepoint has it, header
 * included or not) are counted: nothing else on the machine is so long.
 */
volatile const __u32 len_l2;
volatile const __u32 len_l3;
/* Where the tracepoints' fields are, as their format files say: they move
 * between bases.
 */
volatile const __u32 rx_len_at;
volatile const __u32 entry_len_at;
volatile const __u32 xmit_len_at;
volatile const __u32 poll_name_at;

__u64 netif_rx = 0;
__u64 netif_receive_skb = 0;
__u64 start_xmit = 0;
__u64 backlog_work = 0;

static __always_inline bool ours(__u32 len)
{
	return len == len_l2 || len == len_l3;
}

SEC("tracepoint/net/netif_rx")
int on_netif_rx(void *ctx)
{
	if (ours(field32(ctx, rx_len_at)))
		__sync_fetch_and_add(&netif_rx, 1);
	return 0;
}

#define CPUS 512

/* Of one CPU: whether the next packet received is one that a driver hands to the
 * stack by itself, and how many others there were since the last poll.
 */
struct cpu {
	__u64 handed;
	__u64 polled;
};

struct cpu cpus[CPUS] = {};

static __always_inline struct cpu *here(void)
{
	return &cpus[bpf_get_smp_processor_id() & (CPUS - 1)];
}

/* netif_receive_skb() is called by drivers, and not by the backlog's poll. */
SEC("tracepoint/net/netif_receive_skb_entry")
int on_netif_receive_skb_entry(void *ctx)
{
	if (ours(field32(ctx, entry_len_at)))
		here()->handed = 1;
	return 0;
}

SEC("tracepoint/net/netif_receive_skb")
int on_netif_receive_skb(void *ctx)
{
	struct cpu *cpu = here();

	if (!ours(field32(ctx, rx_len_at)))
		return 0;
	__sync_fetch_and_add(&netif_receive_skb, 1);
	if (cpu->handed)
		cpu->handed = 0;
	else
		cpu->polled++;
	return 0;
}

SEC("tracepoint/net/net_dev_start_xmit")
int on_start_xmit(void *ctx)
{
	if (ours(field32(ctx, xmit_len_at)))
		__sync_fetch_and_add(&start_xmit, 1);
	return 0;
}

/* Packets taken from the backlog, whose poll belongs to no device. It is traced
 * when it is over; what it took beside ours, from a loopback device for one, is
 * in its own count and not in this.
 */
SEC("tracepoint/napi/napi_poll")
int on_napi_poll(void *ctx)
{
	__u32 name_at = field32(ctx, poll_name_at) & 0xffff;
	struct cpu *cpu = here();
	char name[4] = {};

	bpf_probe_read_kernel(name, sizeof(name), ctx + name_at);
	if (name[0] == '(')
		__sync_fetch_and_add(&backlog_work, cpu->polled);
	cpu->polled = 0;
	return 0;
}
