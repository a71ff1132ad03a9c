// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel's fast path. Every packet of every port comes by here: parse, look the flow up,
 * rewrite, send out of another port. What has no entry goes to user space.
 *
 * nf_core::fast_path::soft::SoftFastPath::process is the same program in Rust and decides what is
 * right: the numbered steps are the same, and a test feeds both the same packets. When one
 * changes, so does the other.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "counters.h"
#include "flow.h"
#include "frame.h"
#include "layout.h"
#include "maps.h"
#include "parse.h"
#include "punt.h"
#include "rewrite.h"
#include "template.h"
#include "translate.h"
#include "verdict.h"

static __always_inline bool is_shared(__u32 ifindex)
{
	struct port *port = bpf_map_lookup_elem(&ports, &ifindex);

	return port && port->flags & PORT_SHARED;
}

/* What a frame ends in that is not to be looked up, or was not found. `own` is the map of the
 * gateway's addresses of the frame's family, `daddr` the frame's destination. */
static __always_inline enum verdict refuse(const struct frame *frame, enum verdict step,
					   void *own, const void *daddr)
{
	bool shared = is_shared(frame->ifindex);

	if (step == STEP_NEIGHBOUR)
		return shared ? VERDICT_TAP : PUNT_CONTROL;
	if (!shared)
		return step;
	if (step >= VERDICT_DROP)
		return VERDICT_PASS;
	return bpf_map_lookup_elem(own, daddr) ? step : VERDICT_PASS;
}

static __always_inline enum verdict process4(void *context, const enum hook hook,
					     const struct frame *frame, __u32 *out)
{
	struct flow_key4 key = {};
	struct packet packet = {};
	struct flow_value4 *value;
	struct adjacency *adjacency;
	enum verdict step;

	step = parse4(frame, &key, &packet); /* 1. */
	if (step != STEP_FLOW)
		return refuse(frame, step, &own4, &key.daddr);
	key.sport = packet.sport;
	key.dport = packet.dport;
	key.scope_protocol = frame->ifindex << 8 | packet.protocol;
	value = bpf_map_lookup_elem(&flows4, &key); /* 2. */
	if (!value) {
		const struct crossing crossing = { .frame = *frame, .packet = packet };

		step = hook == HOOK_XDP ? to_ipv6_xdp(context, &crossing, &key, out)
					: to_ipv6_tc(context, &crossing, &key, out);
		if (step != PUNT_MISS)
			return step;
		if (make_flow4(frame, &packet, &key))
			value = bpf_map_lookup_elem(&flows4, &key);
		if (!value)
			return refuse(frame, PUNT_MISS, &own4, &key.daddr);
	}
	step = check(hook, frame, &packet, &value->state, 0, &adjacency); /* 3. */
	if (step != VERDICT_FORWARD)
		return step;
	note(frame, &packet, &value->state); /* 4. */
	rewrite4(context, hook, frame, &packet, value, adjacency); /* 5. */
	*out = adjacency->ifindex;
	return VERDICT_FORWARD;
}

static __always_inline enum verdict process6(void *context, const enum hook hook,
					     const struct frame *frame, __u32 *out)
{
	struct flow_key6 key = {};
	struct packet packet = {};
	struct flow_value6 *value;
	struct adjacency *adjacency;
	enum verdict step;

	step = parse6(frame, &key, &packet); /* 1. */
	if (step != STEP_FLOW)
		return refuse(frame, step, &own6, key.daddr);
	key.sport = packet.sport;
	key.dport = packet.dport;
	key.scope_protocol = frame->ifindex << 8 | packet.protocol;
	value = bpf_map_lookup_elem(&flows6, &key); /* 2. */
	if (!value)
		return refuse(frame, PUNT_MISS, &own6, key.daddr);
	if (value->state.flags & FLOW_TRANSLATED) {
		const struct crossing crossing = { .frame = *frame, .packet = packet };

		return hook == HOOK_XDP ? to_ipv4_xdp(context, &crossing, value, out)
					: to_ipv4_tc(context, &crossing, value, out);
	}
	step = check(hook, frame, &packet, &value->state, 0, &adjacency); /* 3. */
	if (step != VERDICT_FORWARD)
		return step;
	note(frame, &packet, &value->state); /* 4. */
	rewrite6(context, hook, frame, &packet, value, adjacency); /* 5. */
	*out = adjacency->ifindex;
	return VERDICT_FORWARD;
}

/* Decides on a frame, and rewrites it if it goes on. */
static __always_inline enum verdict process(void *context, const enum hook hook,
					    const struct frame *frame, __u32 *out)
{
	struct ethhdr *ethernet = frame->data;

	if ((void *)(ethernet + 1) > frame->end)
		return refuse(frame, DROP_MALFORMED, &own4, &frame->ifindex);
	if (frame->outer_tag)
		return refuse(frame, DROP_ETHER_TYPE, &own4, &frame->ifindex);
	switch (ethernet->h_proto) {
	case bpf_htons(ETH_P_IP):
		return process4(context, hook, frame, out);
	case bpf_htons(ETH_P_IPV6):
		return process6(context, hook, frame, out);
	case bpf_htons(ETH_P_ARP):
		return refuse(frame, STEP_NEIGHBOUR, &own4, &frame->ifindex);
	default:
		return refuse(frame, DROP_ETHER_TYPE, &own4, &frame->ifindex);
	}
}

static __always_inline bool is_punt(enum verdict verdict)
{
	return verdict >= VERDICT_PUNT && verdict < VERDICT_DROP;
}

/* On every port. */
SEC("classifier")
int halfspace_tc(struct __sk_buff *skb)
{
	struct frame frame = frame_of_skb(skb);
	__u32 out = 0;
	enum verdict verdict = process(skb, HOOK_TC, &frame, &out);

	/* The host gets a tapped frame in any case; what did not fit into the ring was not tapped. */
	if (verdict == VERDICT_TAP)
		verdict = is_punt(punt_skb(skb, PUNT_CONTROL)) ? VERDICT_TAP : VERDICT_PASS;
	else if (is_punt(verdict))
		verdict = punt_skb(skb, verdict);
	count(verdict);
	switch (verdict) {
	case VERDICT_FORWARD:
		return bpf_redirect(out, 0);
	case VERDICT_PASS:
	case VERDICT_TAP:
		return TC_ACT_UNSPEC; /* other programs of the interface have their turn */
	default:
		return TC_ACT_SHOT;
	}
}

/* On ports whose driver has XDP, before the tc program. */
SEC("xdp")
int halfspace_xdp(struct xdp_md *xdp)
{
	struct frame frame = frame_of_xdp(xdp);
	__u32 out = 0;
	enum verdict verdict = process(xdp, HOOK_XDP, &frame, &out);

	switch (verdict) {
	case VERDICT_FORWARD:
		count(verdict);
		return bpf_redirect(out, 0);
	case VERDICT_PASS:
	case VERDICT_TAP:
	case STEP_LEAVE:
		/* What goes up meets the tc program, which decides again and counts. */
		return XDP_PASS;
	default:
		if (is_punt(verdict))
			verdict = punt_xdp(xdp, verdict);
		count(verdict);
		return XDP_DROP;
	}
}

/* One key of the list; `bpf_loop` calls it for each. */
static long restamp_one(__u32 index, void *context)
{
	struct restamp_order *order = context;
	struct restamp_key *wanted = bpf_map_lookup_elem(&restamps, &index);
	struct flow_value4 *value4;
	struct flow_value6 *value6;

	if (!wanted)
		return 1;
	if (wanted->is_ipv6) {
		value6 = bpf_map_lookup_elem(&flows6, &wanted->key.ipv6);
		if (value6)
			value6->state.generation = order->generation;
	} else {
		value4 = bpf_map_lookup_elem(&flows4, &wanted->key.ipv4);
		if (value4) {
			value4->state.generation = order->generation;
			return 0;
		}
		value6 = find_ipv4_in_flows6(&wanted->key.ipv4);
		if (value6)
			value6->state.generation = order->generation;
	}
	return 0;
}

/* Not attached anywhere: user space runs it (BPF_PROG_TEST_RUN) after it has filled `restamps`.
 * Writing the entries from there would overwrite counts that packets just added. */
SEC("classifier")
int halfspace_restamp(struct __sk_buff *skb)
{
	struct restamp_order order;

	if (bpf_skb_load_bytes(skb, 0, &order, sizeof(order)))
		return -1;
	return bpf_loop(order.count, restamp_one, &order, 0);
}

/* Not attached anywhere: user space runs it before the other programs, to set `clock`. Jiffies are
 * counted by the monotonic clock, so their distance stays; and the coarse clock moves when they do,
 * so it is right to within a jiffy. */
SEC("classifier")
int halfspace_clock(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct clock *scale = bpf_map_lookup_elem(&clock, &zero);
	struct clock_order order;

	if (!scale || bpf_skb_load_bytes(skb, 0, &order, sizeof(order)))
		return -1;
	scale->jiffy = order.jiffy;
	scale->base = bpf_ktime_get_coarse_ns() - bpf_jiffies64() * order.jiffy;
	return 0;
}

char LICENSE[] SEC("license") = "Apache-2.0";
