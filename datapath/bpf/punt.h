/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing frames and events to user space through one ring, so that it sees them in the order
 * they happened.
 *
 * A ring record's size must be a constant, so there is one record type for each of a few sizes: the
 * first packets of most flows are small and shall not take the room of large ones.
 */
#ifndef HALFSPACE_PUNT_H
#define HALFSPACE_PUNT_H

#include "counters.h"
#include "frame.h"
#include "maps.h"

/* The record's head is part of its size; the kernel adds 8 bytes of its own. */
#define RECORD_OF(size)                                                        \
	struct record_##size {                                                 \
		struct record_head head;                                       \
		__u8 frame[(size) - sizeof(struct record_head)];               \
	}

RECORD_OF(248);
RECORD_OF(2040);
RECORD_OF(16376);
/* The longest IP packet with its Ethernet header and a VLAN tag; more only with BIG TCP. */
RECORD_OF(65592);

static __always_inline int load_frame(void *context, const enum hook hook, void *to, __u32 length,
				      __u32 room)
{
	/* The verifier has to see both bounds right before the call. The barriers keep the compiler,
	 * which knows them already, from dropping the comparisons or folding them into one that the
	 * verifier cannot follow. */
	barrier_var(length);
	if (length > room)
		return -1;
	barrier_var(length);
	if (length == 0)
		return -1;
	return hook == HOOK_XDP ? bpf_xdp_load_bytes(context, 0, to, length)
				: bpf_skb_load_bytes(context, 0, to, length);
}

/* Pushes the frame as a record of the smallest size that holds it, or goes on to the next. */
#define PUSH_IF_FITS(size)                                                                         \
	if (length <= sizeof(((struct record_##size *)0)->frame)) {                                \
		struct record_##size *record = bpf_ringbuf_reserve(&punts, sizeof(*record), 0);    \
                                                                                                   \
		if (!record)                                                                       \
			return DROP_PUNT_RING_FULL;                                                \
		record->head = head;                                                               \
		if (load_frame(context, hook, record->frame, length, sizeof(record->frame))) {                            \
			bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);                             \
			return DROP_MALFORMED;                                                     \
		}                                                                                  \
		bpf_ringbuf_submit(record, 0);                                                     \
		return reason;                                                                     \
	}

static __always_inline enum verdict punt(void *context, const enum hook hook, __u32 length,
					 __u32 ifindex, __u32 segment_size, enum verdict reason)
{
	const struct record_head head = {
		.kind = RECORD_FRAME,
		.reason = reason - VERDICT_PUNT,
		.ifindex = ifindex,
		.length = length,
		.segment_size = segment_size,
	};

	PUSH_IF_FITS(248)
	PUSH_IF_FITS(2040)
	PUSH_IF_FITS(16376)
	PUSH_IF_FITS(65592)
	return DROP_PUNT_TOO_LARGE;
}

/* Both return `reason` if the frame is on its way to user space, else the drop it ended in. They
 * are out of line to keep the way of the packets that are not punted short. */
static __noinline enum verdict punt_skb(struct __sk_buff *skb, enum verdict reason)
{
	return punt(skb, HOOK_TC, skb->len, skb->ifindex, skb->gso_size, reason);
}

static __noinline enum verdict punt_xdp(struct xdp_md *xdp, enum verdict reason)
{
	return punt(xdp, HOOK_XDP, xdp->data_end - xdp->data, xdp->ingress_ifindex, 0, reason);
}

/* Out of line likewise. */
static __noinline int report_tcp(struct record_head *head)
{
	long lost = bpf_ringbuf_output(&punts, head, sizeof(*head), 0);

	/* User space still finds the flags in the entry, only later. */
	if (lost)
		count(LOST_EVENT);
	return 0;
}

#endif
