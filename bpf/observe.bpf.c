// SPDX-License-Identifier: GPL-2.0-only
/* What a program on the container's side sees of a probe. */
#include "common.h"

struct seen {
	__u64 count;
	/* How many probes had a receive queue recorded. */
	__u64 queued;
	/* How many came with a tunnel's dst. */
	__u64 tunnelled;
	__u64 tstamp;
	__u32 len;
	__u32 mark;
	__u32 ifindex;
	__u32 ingress_ifindex;
	__u32 pkt_type;
	__u32 vlan_present;
	__u32 vlan_tci;
	/* In host byte order, both. */
	__u32 vlan_proto;
	__u32 protocol;
	__u32 gso_segs;
	__u32 gso_size;
	__u32 tstamp_type;
};

/* The last probe. */
struct seen seen = {};

SEC("tc")
int observe(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};

	if (!probe_header(skb))
		return TC_ACT_OK;
	seen.count++;
	if (!bpf_skb_get_tunnel_key(skb, &key, TUNNEL_KEY, 0))
		seen.tunnelled++;
	seen.tstamp = skb->tstamp;
	seen.len = skb->len;
	seen.mark = skb->mark;
	seen.ifindex = skb->ifindex;
	seen.ingress_ifindex = skb->ingress_ifindex;
	seen.pkt_type = skb->pkt_type;
	seen.vlan_present = skb->vlan_present;
	seen.vlan_tci = skb->vlan_tci;
	seen.vlan_proto = bpf_ntohs(skb->vlan_proto);
	seen.protocol = bpf_ntohs(skb->protocol);
	if (skb->queue_mapping)
		seen.queued++;
	seen.gso_segs = skb->gso_segs;
	seen.gso_size = skb->gso_size;
	return TC_ACT_OK;
}

/* At tc ingress skb->tstamp reads as 0 unless the program asks for its type as
 * well; kernels before 5.18 have no type.
 */
SEC("tc")
int observe_stamp(struct __sk_buff *skb)
{
	if (!probe_header(skb))
		return TC_ACT_OK;
	seen.count++;
	seen.tstamp_type = skb->tstamp_type;
	seen.tstamp = skb->tstamp;
	return TC_ACT_OK;
}

/* The sum that came with the last probe, or an error. */
__s64 csum = 0;

SEC("tc")
int observe_checksum(struct __sk_buff *skb)
{
	if (!probe_header(skb))
		return TC_ACT_OK;
	seen.count++;
	csum = checksum(skb);
	return TC_ACT_OK;
}

/* Every packet of a TCP stream, which is no probe. */
struct stream {
	__u64 packets;
	__u64 bytes;
	/* The longest, and what it says of its segments. */
	__u32 longest;
	__u32 gso_segs;
	__u32 gso_size;
};

struct stream stream = {};

SEC("tc")
int observe_stream(struct __sk_buff *skb)
{
	stream.packets++;
	stream.bytes += skb->len;
	if (skb->len > stream.longest) {
		stream.longest = skb->len;
		stream.gso_segs = skb->gso_segs;
		stream.gso_size = skb->gso_size;
	}
	return TC_ACT_OK;
}
