/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame as the two hooks hand it over. Everything from here on is the same code for both; `hook`
 * is always a constant, so each entry point keeps only its own half of the few differences.
 */
#ifndef HALFSPACE_FRAME_H
#define HALFSPACE_FRAME_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

enum hook {
	HOOK_TC,
	HOOK_XDP,
};

struct frame {
	void *data;
	void *end;    /* of the bytes that can be read directly, which include all headers */
	__u32 length; /* of the whole frame, Ethernet header included */
	__u32 ifindex;
	__u32 segment_size; /* payload bytes of each segment of a super-packet, else 0 */
	__u32 outer_tag;    /* a VLAN tag stands outside the data */
};

/* Ethernet, the longest IPv4 header (or IPv6's, which is shorter), and TCP's without options. */
#define HEADERS_MAX (ETH_HLEN + 60 + 20)

static __always_inline struct frame frame_of_skb(struct __sk_buff *skb)
{
	/* Headers may lie in pages; direct access sees only the linear part. */
	if (skb->data + HEADERS_MAX > skb->data_end && skb->len > skb->data_end - skb->data) {
		__u32 wanted = skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX;

		/* If it fails, what cannot be read counts as malformed. */
		bpf_skb_pull_data(skb, wanted);
	}
	return (struct frame){
		.data = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
		.length = skb->len,
		.ifindex = skb->ifindex,
		.segment_size = skb->gso_size,
		.outer_tag = skb->vlan_present,
	};
}

static __always_inline struct frame frame_of_xdp(struct xdp_md *xdp)
{
	return (struct frame){
		.data = (void *)(long)xdp->data,
		.end = (void *)(long)xdp->data_end,
		.length = xdp->data_end - xdp->data,
		.ifindex = xdp->ingress_ifindex,
	};
}

#endif
