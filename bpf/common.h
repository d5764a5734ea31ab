/* SPDX-License-Identifier: GPL-2.0-only */
/* What every program here needs. Only UAPI headers: no BTF, so that the
 * programs load on kernels built without it.
 */
#ifndef REDIRECT_PEER_COMMON_H
#define REDIRECT_PEER_COMMON_H

#include <stddef.h>
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Where probes are sent to; everything else on a link is noise (MLD, DAD). */
#define PROBE_PORT 9004

/* Size of struct bpf_tunnel_key as every base takes it: later ones append. */
#define TUNNEL_KEY offsetof(struct bpf_tunnel_key, local_ipv4)

/* Where the ports are of a packet for PROBE_PORT, of UDP or TCP, or NULL when the
 * packet is not one. TCP's header begins as UDP's does and is longer.
 */
static __always_inline struct udphdr *ports_of(struct __sk_buff *skb, __u8 protocol)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct udphdr *udp;

	if ((void *)(eth + 1) > end)
		return NULL;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end || ip->protocol != protocol)
			return NULL;
		udp = (void *)(ip + 1);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = (void *)(eth + 1);

		if ((void *)(ip6 + 1) > end || ip6->nexthdr != protocol)
			return NULL;
		udp = (void *)(ip6 + 1);
	} else {
		return NULL;
	}
	if ((void *)(udp + 1) > end || udp->dest != bpf_htons(PROBE_PORT))
		return NULL;
	return udp;
}

/* The UDP header of a probe, or NULL when the packet is not one. */
static __always_inline struct udphdr *probe_header(struct __sk_buff *skb)
{
	return ports_of(skb, IPPROTO_UDP);
}

/* skb->csum of a packet whose checksum is CHECKSUM_COMPLETE; an error else. */
static __always_inline __s64 checksum(struct __sk_buff *skb)
{
	return bpf_csum_update(skb, 0);
}

/* A field of a tracepoint's record, which begins at ctx. */
static __always_inline __u32 field32(void *ctx, __u32 at)
{
	__u32 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), ctx + at);
	return value;
}

char _license[] SEC("license") = "GPL";

#endif
