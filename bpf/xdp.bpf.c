// SPDX-License-Identifier: GPL-2.0-only
/* XDP on either side of a switch. */
#include "common.h"

__u64 hits = 0;
__u32 rx_queue = 0;

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&hits, 1);
	rx_queue = ctx->rx_queue_index;
	return XDP_PASS;
}

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

/* Destination port of what is redirected here; the rest goes on to tc. */
#define REDIRECTED_PORT 9005

SEC("xdp")
int redirect_map(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) ||
	    ip->protocol != IPPROTO_UDP || udp->dest != bpf_htons(REDIRECTED_PORT))
		return XDP_PASS;
	__sync_fetch_and_add(&hits, 1);
	return bpf_redirect_map(&devices, 0, XDP_DROP);
}
