// SPDX-License-Identifier: GPL-2.0-only
/* Which frames the kernel frees, and why. */
#include "common.h"

/* Only frames of this protocol are counted. */
volatile const __u16 protocol;
/* Where the tracepoint's fields are, as its format file says. */
volatile const __u32 protocol_at;
/* 0 where kernels have no reasons, before 5.17. */
volatile const __u32 reason_at;

#define REASONS 512

__u64 freed[REASONS] = {};

SEC("tracepoint/skb/kfree_skb")
int on_free(void *ctx)
{
	__u32 reason = reason_at ? field32(ctx, reason_at) : 0;

	if ((field32(ctx, protocol_at) & 0xffff) != protocol)
		return 0;
	if (reason >= REASONS)
		reason = REASONS - 1;
	/* The compiler knows that this changes nothing, the verifier does not. */
	barrier_var(reason);
	reason &= REASONS - 1;
	__sync_fetch_and_add(&freed[reason], 1);
	return 0;
}
