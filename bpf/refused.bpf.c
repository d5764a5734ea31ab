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

REFUSED("sk_reuseport", as_sk_reuseport, struct sk_reuseport_md)
REFUSED("lwt_seg6local", as_lwt_seg6local, struct __sk_buff)
REFUSED("cgroup/sock_create", as_cgroup_sock, struct bpf_sock)
REFUSED("cgroup/dev", as_cgroup_device, struct bpf_cgroup_dev_ctx)
REFUSED("cgroup/sysctl", as_cgroup_sysctl, struct bpf_sysctl)
REFUSED("cgroup/getsockopt", as_cgroup_sockopt, struct bpf_sockopt)
REFUSED("raw_tracepoint.w/netif_rx", as_raw_tracepoint_writable, void)
REFUSED("netfilter", as_netfilter, void)
REFUSED("syscall", as_syscall, void)
/* Not here: tracing, lsm, ext and struct_ops, which are loaded for something that
 * the kernel's BTF describes. The guest's kernels have none.
 */

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
