// SPDX-License-Identifier: GPL-2.0-only
/* Which way packets take through the kernel, counted on its tracepoints. */
#include "common.h"

/* Only packets of this length (skb->len as the tracepoint has it, header
 * included or not) are counted: nothing else on the machine is so long.
 */
volatile const __u32 len_l2;
volatile const __u32 len_l3;

__u64 netif_rx = 0;
__u64 netif_receive_skb = 0;
__u64 start_xmit = 0;
__u64 kfree = 0;
__u32 kfree_reason = 0;

/* As /sys/kernel/tracing/events/net/netif_rx/format has it on every base. */
struct net_dev_template {
	__u64 common;
	const void *skbaddr;
	__u32 len;
	__u32 name;
};

static __always_inline bool ours(__u32 len)
{
	return len == len_l2 || len == len_l3;
}

SEC("tracepoint/net/netif_rx")
int on_netif_rx(struct net_dev_template *ctx)
{
	if (ours(ctx->len))
		__sync_fetch_and_add(&netif_rx, 1);
	return 0;
}

SEC("tracepoint/net/netif_receive_skb")
int on_netif_receive_skb(struct net_dev_template *ctx)
{
	if (ours(ctx->len))
		__sync_fetch_and_add(&netif_receive_skb, 1);
	return 0;
}

/* net_dev_queue has the same layout; net_dev_start_xmit has not. */
SEC("tracepoint/net/net_dev_queue")
int on_net_dev_queue(struct net_dev_template *ctx)
{
	if (ours(ctx->len))
		__sync_fetch_and_add(&start_xmit, 1);
	return 0;
}
