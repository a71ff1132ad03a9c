/* Writing test frames, for whoever sends some: both run with BPF_PROG_TEST_RUN on live frames, and
 * write one frame a call. Starting and ending a run takes the kernel tens of milliseconds, so pace
 * and end are kept in here: a call that is too early or too late drops its page. */
#pragma once

#include "frame.h"

/* Which link frames leave by. Set by the loader. */
const volatile __u32 output_index = 0;

/* Written by user space at any time. */
struct control {
	/* Nothing is sent once that many frames had their turn. */
	__u64 limit;
	/* Least time between two frames in nanoseconds, or zero. */
	__u64 interval;
	/* Flows take turns, from this number on, that many. */
	__u32 first;
	__u32 flows;
	__u32 tcp_flags;
	__u32 pad;
	/* The turn that the order began with. */
	__u64 from;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

/* Written by the programs, and by user space between two runs. One thread at a time runs one, so
 * plain increments do. */
struct progress {
	/* Frames that had their turn, which is the next one's sequence number. */
	__u64 turns;
	/* Of them not sent, because there was nothing to send. */
	__u64 skipped;
	/* When the next frame is due, CLOCK_MONOTONIC in nanoseconds, and when it may go. */
	__u64 due;
	__u64 soonest;
	/* When a paced order began and last sent. */
	__u64 begun;
	__u64 last;
	/* Whose turn it is, from zero on. */
	__u32 flow;
	__u32 size;
	__u32 until_sample;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct progress);
} progress SEC(".maps");

/* Time that is made up for if the sender was not run, by sending at twice the rate: no receiver
 * would expect a burst. */
#define CATCH_UP_NS 100000000ull

/* Where a frame comes from and goes to, big-endian. The prefixes are for IPv6 only. */
struct ends {
	/* MAC addresses as they stand in a frame: destination, source. */
	const volatile __u32 *macs;
	const volatile __be32 *source_prefix;
	__be32 source;
	const volatile __be32 *destination_prefix;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
};

/* Whether a frame may be sent now. */
static __always_inline int is_due(const struct control *order, struct progress *state)
{
	__u64 now, next;

	if (state->turns >= order->limit)
		return 0;
	if (!order->interval)
		return 1;
	now = bpf_ktime_get_ns();
	if (now < state->due || now < state->soonest)
		return 0;
	next = state->due + order->interval;
	state->due = next + CATCH_UP_NS < now ? now + order->interval : next;
	if (state->turns == order->from)
		state->begun = now;
	state->last = now;
	state->soonest = now + order->interval / 2;
	return 1;
}

/* The number of the flow whose turn it is. */
static __always_inline __u32 next_flow(const struct control *order, struct progress *state)
{
	__u32 flow = state->flow;

	state->flow = flow + 1 == order->flows ? 0 : flow + 1;
	return order->first + flow;
}

/* Writes the frame and sends it off. The page comes back from the far end as whatever the gateway
 * made of it: every byte of the headers is written anew, every time. Family and protocol are the
 * plan's, but known to the compiler where every nanosecond counts. */
static __always_inline int send(struct xdp_md *ctx, const struct control *order,
				struct progress *state, const struct ends *ends, __u32 number,
				const int ipv6, const __u32 protocol)
{
	const __u32 transport = TRANSPORT_OFFSET(ipv6);
	const int bare = protocol == IPPROTO_TCP && !(order->tcp_flags & TCP_ACK);
	__u32 size = plan.sizes[0];
	__u32 length;
	void *data, *end;
	struct ethhdr *eth;
	struct marker *marker;
	__u64 addresses, sum;
	__be16 check;

	if (plan.size_count > 1) {
		__u32 at = state->size;

		if (at >= MAX_SIZES)
			return XDP_ABORTED;
		size = plan.sizes[at];
		state->size = at + 1 >= plan.size_count ? 0 : at + 1;
	}
	if (bare)
		size = ipv6 ? transport + sizeof(struct tcphdr) : MIN_FRAME;
	if (plan.size_count > 1 || protocol == IPPROTO_TCP) {
		int change = (int)size - (int)(ctx->data_end - ctx->data);

		if (change && bpf_xdp_adjust_tail(ctx, change))
			return XDP_ABORTED;
	}
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + MIN_FRAME > end)
		return XDP_ABORTED;
	/* Bytes after the IP header; the padding of a bare frame is none of them. */
	length = bare ? sizeof(struct tcphdr) : size - transport;

	eth = data;
#pragma unroll
	for (int i = 0; i < 3; i++)
		((__u32 *)eth)[i] = ends->macs[i];
	addresses = (__u64)ends->source + ends->destination;
	if (ipv6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if (data + ETH_HLEN + sizeof(*ip) > end)
			return XDP_ABORTED;
		eth->h_proto = bpf_htons(ETH_P_IPV6);
		*(__be32 *)ip = bpf_htonl(6u << 28);
		ip->payload_len = bpf_htons(length);
		ip->nexthdr = protocol;
		ip->hop_limit = 64;
#pragma unroll
		for (int i = 0; i < 3; i++) {
			__be32 source = ends->source_prefix[i];
			__be32 destination = ends->destination_prefix[i];

			ip->saddr.in6_u.u6_addr32[i] = source;
			ip->daddr.in6_u.u6_addr32[i] = destination;
			addresses += (__u64)source + destination;
		}
		ip->saddr.in6_u.u6_addr32[3] = ends->source;
		ip->daddr.in6_u.u6_addr32[3] = ends->destination;
	} else {
		struct iphdr *ip = data + ETH_HLEN;
		const __be16 total = bpf_htons(sizeof(*ip) + length);

		eth->h_proto = bpf_htons(ETH_P_IP);
		ip->version = 4;
		ip->ihl = 5;
		ip->tos = 0;
		ip->tot_len = total;
		ip->id = 0;
		ip->frag_off = bpf_htons(0x4000); /* DF */
		ip->ttl = 64;
		ip->protocol = protocol;
		ip->check = 0;
		ip->saddr = ends->source;
		ip->daddr = ends->destination;
		/* From the values: reading back what was just written in other widths would stall. */
		sum = bpf_htons(0x4500) + (__u64)total + bpf_htons(0x4000) +
		      bpf_htons(64 << 8 | protocol) + addresses;
		check = ~fold(sum);
		ip->check = check;
	}

	sum = addresses + bpf_htons(protocol) + bpf_htons(length);
	sum += (__u64)ends->source_port + ends->destination_port;
	if (!bare) {
		__be32 magic = bpf_htonl(MARKER_MAGIC);
		__be32 flow = bpf_htonl(number);
		__be32 high = bpf_htonl(state->turns >> 32), low = bpf_htonl(state->turns);

		if (plan.sample_interval) {
			if (state->until_sample) {
				state->until_sample--;
			} else {
				state->until_sample = plan.sample_interval - 1;
				magic = bpf_htonl(MARKER_TIMED);
				flow = bpf_htonl((__u32)bpf_ktime_get_ns());
			}
		}
		marker = data + transport +
			 (protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr));
		if ((void *)(marker + 1) > end)
			return XDP_ABORTED;
		marker->magic = magic;
		marker->flow = flow;
		marker->sequence_high = high;
		marker->sequence_low = low;
		marker->zero = 0;
		sum += (__u64)magic + flow + high + low;
	}

	if (protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = data + transport;
		__u32 flags = order->tcp_flags;
		/* Both ends start at the flow's number. What is sent is the same byte range again and
		 * again, which every window tracker takes for a retransmission. */
		__be32 from = bpf_htonl(flags & TCP_SYN ? number : number + 1);
		__be32 to = bpf_htonl(bare ? (__u32)state->turns : number + 1);
		__be16 offset_and_flags = bpf_htons(0x5000 | flags);

		if ((void *)(tcp + 1) > end)
			return XDP_ABORTED;
		tcp->source = ends->source_port;
		tcp->dest = ends->destination_port;
		tcp->seq = from;
		tcp->ack_seq = to;
		*(__be16 *)((void *)tcp + 12) = offset_and_flags;
		tcp->window = bpf_htons(TCP_WINDOW);
		tcp->check = 0;
		tcp->urg_ptr = 0;
		sum += (__u64)from + to + offset_and_flags + bpf_htons(TCP_WINDOW);
		check = ~fold(sum);
		tcp->check = check;
		if (bare && !ipv6) {
			/* Padding up to the least size. */
			*(__u32 *)(data + MIN_FRAME - 6) = 0;
			*(__u16 *)(data + MIN_FRAME - 2) = 0;
		}
	} else {
		struct udphdr *udp = data + transport;

		if ((void *)(udp + 1) > end)
			return XDP_ABORTED;
		udp->source = ends->source_port;
		udp->dest = ends->destination_port;
		udp->len = bpf_htons(length);
		udp->check = 0;
		sum += bpf_htons(length);
		check = ~fold(sum);
		/* RFC 768: zero would mean that there is no checksum. */
		udp->check = check ? check : 0xffff;
	}

	state->turns++;
	return bpf_redirect(output_index, 0);
}
