/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps 3 and 4, and the counts of step 5: whether an entry may forward a packet, and what is
 * noted of it when it does.
 */
#ifndef HALFSPACE_FLOW_H
#define HALFSPACE_FLOW_H

#include "frame.h"
#include "maps.h"
#include "parse.h"
#include "punt.h"

#define TICK_SHIFT 20
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_STATE_FLAGS (TCP_FIN | TCP_SYN | TCP_RST)

static __always_inline __u32 headers_len(const struct packet *packet)
{
	__u32 transport = packet->protocol == IPPROTO_TCP ? packet->tcp_header_len : ICMP_MIN;

	return packet->transport_at - ETH_HLEN + transport;
}

/* Length of the largest IP packet that the frame becomes on the wire. */
static __always_inline __u32 packet_on_the_wire(const struct frame *frame,
						const struct packet *packet)
{
	return frame->segment_size ? headers_len(packet) + frame->segment_size : packet->ip_len;
}

/* How many packets the frame becomes on the wire. */
static __always_inline __u32 segments(const struct frame *frame, const struct packet *packet)
{
	__u32 headers = headers_len(packet);

	if (!frame->segment_size || packet->ip_len <= headers)
		return 1;
	return (packet->ip_len - headers + frame->segment_size - 1) / frame->segment_size;
}

/* Whether this opens a new connection on the addresses of one that has ended or is about to. */
static __always_inline bool reopens(const struct packet *packet, const struct flow_state *state)
{
	return (packet->tcp_flags & (TCP_STATE_FLAGS | TCP_ACK)) == TCP_SYN &&
	       state->tcp_flags & (TCP_FIN | TCP_RST);
}

/* The last six of eight bytes, as a number that is zero if they are. */
static __always_inline __u64 address_behind_two(const void *bytes)
{
	__u64 word = *(const __u64 *)bytes;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return word >> 16;
#else
	return word << 16;
#endif
}

/* Whether the entry wants packets from a MAC address that this is not from. */
static __always_inline bool is_held_off(const struct frame *frame, const struct flow_state *state)
{
	__u64 wanted = address_behind_two(&state->flags);
	const struct ethhdr *ethernet = frame->data;

	return wanted && wanted != address_behind_two(ethernet->h_source - 2);
}

/* Step 3. Returns VERDICT_FORWARD and where to, or the punt; STEP_LEAVE if the way out is not open
 * to this hook. The packet leaves longer by `growth`. */
static __always_inline enum verdict check(const enum hook hook, const struct frame *frame,
					  const struct packet *packet,
					  const struct flow_state *state, const __s32 growth,
					  struct adjacency **next_hop)
{
	__u32 zero = 0;
	__u32 slot = state->adjacency;
	struct control *shared = bpf_map_lookup_elem(&control, &zero);
	struct adjacency *adjacency;

	/* Generations may wrap: which one is older is told by the difference's sign. */
	if (!shared || (__s32)(state->generation - shared->fence) < 0)
		return PUNT_STALE;
	if (is_held_off(frame, state))
		return PUNT_SOURCE_MAC;
	if (reopens(packet, state))
		return PUNT_REOPEN;
	adjacency = bpf_map_lookup_elem(&adjacencies, &slot);
	if (!adjacency || !adjacency->ifindex)
		return PUNT_UNRESOLVED;
	if (packet->ttl <= 1)
		return PUNT_TIME_TO_LIVE;
	if (packet_on_the_wire(frame, packet) + growth > adjacency->mtu)
		return PUNT_TOO_BIG;
	/* A frame redirected to a port without XDP of its own may vanish without a trace. */
	if (hook == HOOK_XDP && !adjacency->xdp)
		return STEP_LEAVE;
	*next_hop = adjacency;
	return VERDICT_FORWARD;
}

/* The moment in units of 2^20 ns, to within a jiffy or two. */
static __always_inline __u32 tick_now(void)
{
	__u32 zero = 0;
	struct clock *scale = bpf_map_lookup_elem(&clock, &zero);

	return scale ? (scale->base + bpf_jiffies64() * scale->jiffy) >> TICK_SHIFT : 0;
}

/* Counts what a gateway carries, per CPU. */
static __always_inline void add_up(__u32 number, __u32 packets, __u32 bytes)
{
	struct meter *meter = bpf_map_lookup_elem(&meters, &number);

	if (meter) {
		meter->packets += packets;
		meter->bytes += bytes;
	}
}

/* Step 4, and the counts of step 5. Atomic, because packets of one flow may meet: the counts are
 * what flow logs and bills are made of. Returns how many packets there were before. */
static __always_inline __u64 note(const struct frame *frame, const struct packet *packet,
				  struct flow_state *state)
{
	__u32 flags = packet->tcp_flags & TCP_STATE_FLAGS;
	__u32 packets = segments(frame, packet);

	if (flags) {
		struct record_head head = {
			.kind = RECORD_TCP,
			.tcp_flags = packet->tcp_flags,
			.ifindex = frame->ifindex,
			.flow = state->flow,
		};

		__sync_fetch_and_or(&state->tcp_flags, flags);
		report_tcp(&head);
	}
	state->last_seen = tick_now();
	if (state->meter)
		add_up(state->meter, packets, packet->ip_len);
	__sync_fetch_and_add(&state->bytes, packet->ip_len);
	return __sync_fetch_and_add(&state->packets, packets);
}

#endif
