// SPDX-License-Identifier: GPL-2.0-only
/* Programs that redirect: one for each way that a case needs. */
#include "common.h"

/* Index of the device that packets are redirected to or, for
 * bpf_redirect_peer(), whose peer they are redirected to.
 */
volatile const __u32 target;
volatile const __u64 flags;
/* How often peer_chain redirects a packet before it lets it pass. */
volatile const __u32 chain;
/* What peer_marked puts on a packet. */
volatile const __u32 mark;
volatile const __u64 tstamp;

/* How many packets a program has been run for. */
__u64 hits = 0;
/* How many of them were probes. */
__u64 probes = 0;

static __always_inline void count(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&hits, 1);
	if (probe_header(skb))
		__sync_fetch_and_add(&probes, 1);
}

SEC("tc")
int peer(struct __sk_buff *skb)
{
	count(skb);
	return bpf_redirect_peer(target, flags);
}

/* The same, for act_bpf. */
SEC("action")
int peer_action(struct __sk_buff *skb)
{
	count(skb);
	return bpf_redirect_peer(target, flags);
}

/* The same, for what a netkit device transmits: the primary one, or its peer. */
SEC("netkit/primary")
int peer_netkit_primary(struct __sk_buff *skb)
{
	count(skb);
	return bpf_redirect_peer(target, flags);
}

SEC("netkit/peer")
int peer_netkit_peer(struct __sk_buff *skb)
{
	count(skb);
	return bpf_redirect_peer(target, flags);
}

/* Only what a case sends: noise takes the usual way. */
SEC("tc")
int peer_probe(struct __sk_buff *skb)
{
	if (!probe_header(skb))
		return TC_ACT_OK;
	count(skb);
	return bpf_redirect_peer(target, flags);
}

SEC("tc")
int plain(struct __sk_buff *skb)
{
	count(skb);
	return bpf_redirect(target, flags);
}

SEC("tc")
int neigh(struct __sk_buff *skb)
{
	count(skb);
	return bpf_redirect_neigh(target, NULL, 0, flags);
}

/* The next hop is `nexthop` instead of the destination itself. */
volatile const __u32 nexthop;

SEC("tc")
int neigh_nexthop(struct __sk_buff *skb)
{
	struct bpf_redir_neigh to = {
		.nh_family = 2 /* AF_INET */,
		.ipv4_nh = nexthop,
	};

	count(skb);
	return bpf_redirect_neigh(target, &to, sizeof(to), flags);
}

/* Records such a request and does not carry it out. */
SEC("tc")
int neigh_nexthop_unused(struct __sk_buff *skb)
{
	struct bpf_redir_neigh to = {
		.nh_family = 2 /* AF_INET */,
		.ipv4_nh = nexthop,
	};

	count(skb);
	bpf_redirect_neigh(target, &to, sizeof(to), 0);
	return TC_ACT_OK;
}

/* To wherever the host's own tables say. */
SEC("tc")
int neigh_fib(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct bpf_fib_lookup fib = { .ifindex = skb->ingress_ifindex };
	struct bpf_redir_neigh to = {};
	struct ethhdr *eth = data;
	long err;

	if ((void *)(eth + 1) > end)
		return TC_ACT_OK;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > end)
			return TC_ACT_OK;
		fib.family = 2; /* AF_INET */
		fib.tos = ip->tos;
		fib.l4_protocol = ip->protocol;
		fib.ipv4_src = ip->saddr;
		fib.ipv4_dst = ip->daddr;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = (void *)(eth + 1);

		if ((void *)(ip6 + 1) > end)
			return TC_ACT_OK;
		fib.family = 10; /* AF_INET6 */
		fib.l4_protocol = ip6->nexthdr;
		__builtin_memcpy(fib.ipv6_src, &ip6->saddr, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, &ip6->daddr, sizeof(fib.ipv6_dst));
	} else {
		return TC_ACT_OK;
	}
	err = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (err != BPF_FIB_LKUP_RET_SUCCESS && err != BPF_FIB_LKUP_RET_NO_NEIGH)
		return TC_ACT_SHOT;
	count(skb);
	to.nh_family = fib.family;
	__builtin_memcpy(to.ipv6_nh, fib.ipv6_dst, sizeof(to.ipv6_nh));
	return bpf_redirect_neigh(fib.ifindex, &to, sizeof(to), 0);
}

/* Drops everything: on a host end's egress it proves that nothing went the old way. */
SEC("tc")
int checker(struct __sk_buff *skb)
{
	count(skb);
	return TC_ACT_SHOT;
}

/* Sends a packet to and fro `chain` times, counted in its mark. */
SEC("tc")
int peer_chain(struct __sk_buff *skb)
{
	if (!probe_header(skb))
		return TC_ACT_OK;
	count(skb);
	if (skb->mark >= chain)
		return TC_ACT_OK;
	skb->mark++;
	return bpf_redirect_peer(target, 0);
}

SEC("tc")
int peer_marked(struct __sk_buff *skb)
{
	if (!probe_header(skb))
		return TC_ACT_OK;
	count(skb);
	skb->mark = mark;
	skb->tstamp = tstamp;
	return bpf_redirect_peer(target, 0);
}

/* A delivery time, as a sender with pacing has set it. */
SEC("tc")
int peer_stamped(struct __sk_buff *skb)
{
	if (!probe_header(skb))
		return TC_ACT_OK;
	count(skb);
	if (bpf_skb_set_tstamp(skb, tstamp, BPF_SKB_TSTAMP_DELIVERY_MONO))
		return TC_ACT_SHOT;
	return bpf_redirect_peer(target, 0);
}

/* The receive queue of a NIC with more queues than the peer has. */
volatile const __u32 queue;

SEC("tc")
int peer_queued(struct __sk_buff *skb)
{
	if (!probe_header(skb))
		return TC_ACT_OK;
	count(skb);
	skb->queue_mapping = queue;
	return bpf_redirect_peer(target, 0);
}

/* As a NIC in promiscuous mode or an overlay leaves a frame. */
SEC("tc")
int peer_otherhost(struct __sk_buff *skb)
{
	if (!probe_header(skb))
		return TC_ACT_OK;
	count(skb);
	if (bpf_skb_change_type(skb, 3 /* PACKET_OTHERHOST */))
		return TC_ACT_SHOT;
	return bpf_redirect_peer(target, 0);
}

/* As a tunnel device leaves a packet: with where it came from as its dst. */
SEC("tc")
int peer_tunnelled(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = { .tunnel_id = 155, .remote_ipv4 = 0x0a000001, .tunnel_ttl = 64 };
	struct bpf_tunnel_key set = {};

	if (!probe_header(skb))
		return TC_ACT_OK;
	if (bpf_skb_set_tunnel_key(skb, &key, TUNNEL_KEY, 0))
		return TC_ACT_SHOT;
	if (bpf_skb_get_tunnel_key(skb, &set, TUNNEL_KEY, 0) || set.tunnel_id != key.tunnel_id)
		return TC_ACT_SHOT;
	count(skb);
	return bpf_redirect_peer(target, 0);
}

/* The sum that came with the last probe, or an error. */
__s64 csum = 0;

SEC("tc")
int peer_checksum(struct __sk_buff *skb)
{
	if (!probe_header(skb))
		return TC_ACT_OK;
	count(skb);
	csum = checksum(skb);
	return bpf_redirect_peer(target, 0);
}

/* Chooses a socket of this namespace, then leaves the namespace. */
static __always_inline int assigned(struct __sk_buff *skb, __u8 protocol)
{
	struct udphdr *ports = ports_of(skb, protocol);
	bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size;
	long err;

	if (!ports)
		return TC_ACT_OK;
	if (v6) {
		tuple.ipv6.dport = ports->dest;
		size = sizeof(tuple.ipv6);
	} else {
		tuple.ipv4.dport = ports->dest;
		size = sizeof(tuple.ipv4);
	}
	if (protocol == IPPROTO_TCP)
		sk = bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return TC_ACT_SHOT;
	err = bpf_sk_assign(skb, sk, 0);
	bpf_sk_release(sk);
	if (err)
		return TC_ACT_SHOT;
	count(skb);
	return bpf_redirect_peer(target, 0);
}

SEC("tc")
int peer_assigned_udp(struct __sk_buff *skb)
{
	return assigned(skb, IPPROTO_UDP);
}

SEC("tc")
int peer_assigned_tcp(struct __sk_buff *skb)
{
	return assigned(skb, IPPROTO_TCP);
}

/* Gives a packet of a device without link-layer header one, as a container's
 * device needs it.
 */
volatile const __u8 l2_dst[ETH_ALEN];

SEC("tc")
int peer_from_l3(struct __sk_buff *skb)
{
	struct ethhdr eth = { .h_source = { 2, 0, 0, 0, 0, 9 } };
	int i;

	__sync_fetch_and_add(&hits, 1);
	for (i = 0; i < ETH_ALEN; i++)
		eth.h_dest[i] = l2_dst[i];
	eth.h_proto = skb->protocol;
	if (bpf_skb_change_head(skb, ETH_HLEN, 0))
		return TC_ACT_SHOT;
	if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0))
		return TC_ACT_SHOT;
	return bpf_redirect_peer(target, 0);
}

/* Records a request and does not carry it out. */
SEC("tc")
int peer_unused(struct __sk_buff *skb)
{
	count(skb);
	bpf_redirect_peer(target, 0);
	return TC_ACT_OK;
}

/* The verdict without the request that goes with it. */
SEC("tc")
int verdict_only(struct __sk_buff *skb)
{
	if (!probe_header(skb))
		return TC_ACT_OK;
	count(skb);
	return TC_ACT_REDIRECT;
}

SEC("lwt_xmit")
int verdict_only_lwt(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&hits, 1);
	return BPF_REDIRECT;
}

/* Does nothing but look. */
SEC("tc")
int look(struct __sk_buff *skb)
{
	count(skb);
	return TC_ACT_OK;
}

/* Nothing but the helper, or nothing at all: for measuring. */
SEC("tc")
int lean_peer(struct __sk_buff *skb)
{
	return bpf_redirect_peer(target, 0);
}

SEC("tc")
int lean_pass(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

SEC("tc")
int lean_redirect(struct __sk_buff *skb)
{
	return bpf_redirect(target, 0);
}

SEC("tc")
int lean_neigh(struct __sk_buff *skb)
{
	return bpf_redirect_neigh(target, NULL, 0, 0);
}
