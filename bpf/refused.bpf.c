// SPDX-License-Identifier: GPL-2.0-only
/* Programs of types that must not have bpf_redirect_peer(). */
#include "common.h"

#define REFUSED(section, name, context)				\
SEC(section)							\
int name(context *ctx)						\
{								\
	return bpf_redirect_peer(1, 0);				\
}

REFUSED("xdp", as_xdp, struct xdp_md)
REFUSED("socket", as_socket_filter, struct __sk_buff)
REFUSED("cgroup_skb/ingress", as_cgroup_skb, struct __sk_buff)
REFUSED("lwt_in", as_lwt_in, struct __sk_buff)
REFUSED("lwt_out", as_lwt_out, struct __sk_buff)
REFUSED("lwt_xmit", as_lwt_xmit, struct __sk_buff)
REFUSED("sk_skb/stream_verdict", as_sk_skb, struct __sk_buff)
REFUSED("sockops", as_sock_ops, struct bpf_sock_ops)
REFUSED("flow_dissector", as_flow_dissector, struct __sk_buff)
REFUSED("kprobe/do_nanosleep", as_kprobe, void)
REFUSED("tracepoint/net/netif_rx", as_tracepoint, void)
REFUSED("raw_tracepoint/netif_rx", as_raw_tracepoint, void)
REFUSED("perf_event", as_perf_event, void)
REFUSED("sk_msg", as_sk_msg, struct sk_msg_md)
REFUSED("cgroup/connect4", as_cgroup_sock_addr, struct bpf_sock_addr)
REFUSED("sk_lookup", as_sk_lookup, struct bpf_sk_lookup)

/* The one that must have it: without it a refusal proves nothing. */
SEC("tc")
int as_tc(struct __sk_buff *skb)
{
	return bpf_redirect_peer(1, 0);
}

SEC("action")
int as_act(struct __sk_buff *skb)
{
	return bpf_redirect_peer(1, 0);
}
