/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First packets that need not go up. Where user space has left a template for a flow's class, and
 * ports for the class in stock, the program makes both entries itself and only tells of it: one
 * record instead of a frame, no frame to be sent back down.
 *
 * Every lot that is taken is told of, as a flow or as unused, so none is lost. The record is
 * reserved before the entries are made: user space learns of a flow before it sees any packet that
 * met the flow's entries.
 */
#ifndef HALFSPACE_TEMPLATE_H
#define HALFSPACE_TEMPLATE_H

#include "flow.h"
#include "frame.h"
#include "maps.h"
#include "parse.h"
#include "rewrite.h"

#define TAKE_ATTEMPTS 4

/* What of a packet decides whether it can be the first of a flow. By itself, and made for those
 * packets alone that have no entry: what goes into a call is kept in memory all along, and those
 * that have an entry are not to pay for that. */
struct opening {
	const void *data; /* as in struct frame */
	const void *end;
	__u32 ifindex;
	__u8 protocol; /* as in struct packet */
	__u8 ttl;
	__u8 tcp_flags;
};

/* Whether a packet can be the first of a flow, by all that user space would look at and the class
 * does not tell. What is in doubt goes up. */
static __always_inline bool may_open(const struct opening *opening,
				     const struct template *template)
{
	const struct ethhdr *ethernet = opening->data;
	const struct iphdr *ip = (const void *)(ethernet + 1);
	const __u16 *mac = (const void *)ethernet->h_source;
	const __u16 *wanted = (const void *)template->src_mac;

	if ((const void *)(ip + 1) > opening->end)
		return false;
	if (opening->protocol == IPPROTO_TCP) {
		if ((opening->tcp_flags & (TCP_STATE_FLAGS | TCP_ACK)) != TCP_SYN)
			return false;
	} else if (opening->protocol != IPPROTO_UDP) {
		return false;
	}
	if (mac[0] != wanted[0] || mac[1] != wanted[1] || mac[2] != wanted[2])
		return false;
	return opening->ttl > 1 && ip->ihl == sizeof(*ip) / 4 && header_is_right(ip);
}

static __always_inline bool take_lot(struct stock *stock, struct lot *lot)
{
	for (int i = 0; i < TAKE_ATTEMPTS; i++) {
		__u32 head = *(volatile __u32 *)&stock->head;
		/* With an order: what stands before the tail is read after it. */
		__u32 tail = __sync_fetch_and_add(&stock->tail, 0);

		if (head == tail)
			return false;
		*lot = stock->lots[head % LOTS];
		if (__sync_val_compare_and_swap(&stock->head, head, head + 1) == head)
			return true;
	}
	return false;
}

static __always_inline __u16 negated(__u16 delta)
{
	return delta ? ~delta : 0;
}

/* Adds the reverse entry and then the forward one: no packet goes out whose answer finds no way.
 * Whoever has made one of them first wins. */
static __always_inline bool make_entries(const struct flow_key4 *key,
					 const struct template *template, const struct lot *lot)
{
	__u16 port_delta = fold((__u32)lot->port + (__u16)~key->sport);
	struct flow_value4 value = {
		.saddr = template->saddr,
		.daddr = key->daddr,
		.rewrite = {
			.sport = lot->port,
			.dport = key->dport,
			.address_delta = template->address_delta,
			.port_delta = port_delta,
		},
		.state = {
			.adjacency = template->forward_adjacency,
			.generation = template->generation,
			.flow = lot->flow,
			.last_seen = tick_now(),
			.meter = template->forward_meter,
			.flags = template->flags & FLOW_TRACKED,
		},
	};
	struct flow_key4 back = {
		.saddr = key->daddr,
		.daddr = template->saddr,
		.sport = key->dport,
		.dport = lot->port,
		.scope_protocol = template->reverse_port << 8 | (key->scope_protocol & 0xff),
	};
	struct flow_value4 answer = {
		.saddr = key->daddr,
		.daddr = key->saddr,
		.rewrite = {
			.sport = key->dport,
			.dport = key->sport,
			.address_delta = negated(template->address_delta),
			.port_delta = negated(port_delta),
		},
		.state = {
			.adjacency = template->reverse_adjacency,
			.generation = template->generation,
			.flow = lot->flow | FLOW_REVERSE,
			.last_seen = value.state.last_seen,
			.meter = template->reverse_meter,
			.flags = template->flags & FLOW_TRACKED,
		},
	};

	if (template->flags & TEMPLATE_HOLDS_SRC_MAC)
		__builtin_memcpy(value.state.src_mac, template->src_mac, sizeof(template->src_mac));
	__builtin_memcpy(answer.state.src_mac, template->back_mac, sizeof(template->back_mac));
	if (bpf_map_update_elem(&flows4, &back, &answer, BPF_NOEXIST))
		return false;
	if (bpf_map_update_elem(&flows4, key, &value, BPF_NOEXIST)) {
		bpf_map_delete_elem(&flows4, &back);
		return false;
	}
	return true;
}

/* Out of line, so that the object's type information has the record. */
static __noinline void describe(struct made_record *record, __u32 ifindex,
				const struct flow_key4 *key, const struct template *template,
				const struct lot *lot)
{
	*record = (struct made_record){
		.head = {
			.kind = RECORD_MADE,
			.ifindex = ifindex,
			.flow = lot->flow,
		},
		.key = *key,
		.saddr = template->saddr,
		.sport = lot->port,
		.reverse_port = template->reverse_port,
		.forward_adjacency = template->forward_adjacency,
		.reverse_adjacency = template->reverse_adjacency,
		.generation = template->generation,
		.stock = template->stock,
		.flags = template->flags,
		.forward_meter = template->forward_meter,
		.reverse_meter = template->reverse_meter,
	};
	__builtin_memcpy(record->src_mac, template->src_mac, sizeof(record->src_mac));
	__builtin_memcpy(record->back_mac, template->back_mac, sizeof(record->back_mac));
}

/* Makes the flow of a packet that has none, if there is a template for it. Returns whether it is
 * worth to look the flow up again. */
static __noinline bool open4(const struct opening *opening, const struct flow_key4 *key)
{
	struct template_key class = {
		.saddr = key->saddr,
		.daddr = key->daddr,
		.scope_protocol = key->scope_protocol,
		.dport = key->dport,
	};
	struct template *template = bpf_map_lookup_elem(&templates, &class);
	struct made_record *record;
	struct stock *stock;
	struct lot lot;
	__u32 place;

	if (!template || !may_open(opening, template))
		return false;
	place = template->stock % STOCKS;
	stock = bpf_map_lookup_elem(&stocks, &place);
	/* Looked at twice: a record that is given up takes room until user space has passed it. */
	if (!stock || *(volatile __u32 *)&stock->head == *(volatile __u32 *)&stock->tail)
		return false;
	record = bpf_ringbuf_reserve(&punts, sizeof(*record), 0);
	if (!record)
		return false;
	if (!take_lot(stock, &lot)) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return false;
	}
	describe(record, opening->ifindex, key, template, &lot);
	if (!make_entries(key, template, &lot))
		record->head.kind = RECORD_UNUSED;
	bpf_ringbuf_submit(record, 0);
	return true;
}

/* The same, for a packet as it was parsed. */
static __always_inline bool make_flow4(const struct frame *frame, const struct packet *packet,
				       const struct flow_key4 *key)
{
	struct opening opening = {
		.data = frame->data,
		.end = frame->end,
		.ifindex = frame->ifindex,
		.protocol = packet->protocol,
		.ttl = packet->ttl,
		.tcp_flags = packet->tcp_flags,
	};

	return open4(&opening, key);
}

#endif
