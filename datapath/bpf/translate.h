/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows with the other address family at their far end: steps 2 to 5 of their packets, as
 * nf_core::action::Action::translate has the last (RFC 7915). The IP header is made anew, all the rest
 * stays where it is: the frame begins 20 bytes later, or sooner.
 *
 * Both directions' entries are in `flows6`, which has the room for their addresses. That of IPv4
 * packets has a key that no IPv6 packet leads to (FLOW_KEY_IPV4), and is looked for when there is
 * none in `flows4`: flows of IPv4 alone do not pay for these.
 *
 * Out of line, with what they need in memory, for the sake of the packets that are not translated.
 */
#ifndef HALFSPACE_TRANSLATE_H
#define HALFSPACE_TRANSLATE_H

#include "flow.h"
#include "frame.h"
#include "maps.h"
#include "parse.h"
#include "rewrite.h"

/* What an IPv6 header is longer than one of IPv4 without options. */
#define GROWTH ((__s32)(sizeof(struct ipv6hdr) - sizeof(struct iphdr)))

/* Where transport headers stand, without options and extension headers. */
#define TRANSPORT4_AT (ETH_HLEN + sizeof(struct iphdr))
#define TRANSPORT6_AT (ETH_HLEN + sizeof(struct ipv6hdr))

/* RFC 7915, section 5.1: DF is zero "if the size of the translated IPv4 packet is less than or equal
 * to 1260 bytes". */
#define MAY_BE_FRAGMENTED 1260

#define IP_DONT_FRAGMENT 0x4000
#define IP_TOTAL_MAX 0xffff

/* A packet as it was parsed. */
struct crossing {
	struct frame frame;
	struct packet packet;
};

/* nf_core::action::identification: after so many packets of the flow. */
static __always_inline __u16 identification(const struct flow_state *state, __u64 packets)
{
	return (__u16)((state->flow & ~FLOW_REVERSE) * 0x9e37 + packets);
}

/* Makes the frame begin 20 bytes later, with room for an IPv4 header, or sooner, for one of IPv6.
 * If there is no room for more, XDP leaves it to the tc program. Packet pointers are invalid
 * afterwards. */
static __always_inline enum verdict move_start(void *context, const enum hook hook,
					       const __be16 protocol, const __s32 by)
{
	if (hook == HOOK_XDP)
		return bpf_xdp_adjust_head(context, by) ? STEP_LEAVE : VERDICT_FORWARD;
	return bpf_skb_change_proto(context, protocol, 0) ? PUNT_TRANSLATION : VERDICT_FORWARD;
}

static __always_inline struct frame moved_frame(void *context, const enum hook hook)
{
	struct __sk_buff *skb = context;
	struct xdp_md *xdp = context;

	if (hook == HOOK_XDP)
		return (struct frame){
			.data = (void *)(long)xdp->data,
			.end = (void *)(long)xdp->data_end,
		};
	return (struct frame){
		.data = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
	};
}

static __always_inline void write_ethernet(const struct frame *frame,
					   const struct adjacency *adjacency, __be16 protocol)
{
	struct ethhdr *ethernet = frame->data;

	rewrite_ethernet(frame, adjacency);
	ethernet->h_proto = protocol;
}

/* RFC 7915, sections 4.2 and 5.2. Returns what that changes the checksum by. */
static __always_inline __u32 translate_echo(struct echo_header *echo)
{
	__u16 *kind = (void *)&echo->type; /* and the code */
	__u32 delta = (__u16)~*kind;

	switch (echo->type) {
	case ECHO4_REQUEST:
		echo->type = ECHO6_REQUEST;
		break;
	case ECHO4_REPLY:
		echo->type = ECHO6_REPLY;
		break;
	case ECHO6_REQUEST:
		echo->type = ECHO4_REQUEST;
		break;
	default:
		echo->type = ECHO4_REPLY;
		break;
	}
	return delta + *kind;
}

/* Ports, or type and identifier, and the checksum; `transport_at` is where the header stands by now,
 * `pseudo` what the pseudo-header changes by, `uncovered` as for fix_checks. The headers in front
 * have been written: packet pointers are invalid afterwards. */
static __always_inline bool translate_transport(void *context, const enum hook hook,
						const struct frame *frame,
						const struct packet *came, __u32 transport_at,
						const struct rewrite *rewrite, __u32 pseudo,
						__u32 uncovered)
{
	struct packet packet = {
		.transport = frame->data + transport_at,
		.transport_at = transport_at,
		.protocol = came->protocol,
	};
	__u32 covered = rewrite->port_delta;
	__u64 udp = packet.protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 at = transport_at + check_at(&packet);

	if (packet.transport + ICMP_MIN > frame->end)
		return false;
	if (is_echo(&packet))
		covered += translate_echo(packet.transport);
	rewrite_ports(&packet, rewrite);
	if (hook == HOOK_XDP) {
		fix_check_xdp(frame, &packet, pseudo + covered);
	} else {
		/* Here, the one checksum of the two that ICMP has covers a pseudo-header. */
		bpf_l4_csum_replace(context, at, 0, pseudo, BPF_F_PSEUDO_HDR | udp);
		bpf_l4_csum_replace(context, at, 0, covered, udp);
		bpf_csum_update(context, uncovered);
	}
	return true;
}

/* RFC 1071, of a stretch of words. */
static __always_inline __u32 sum_of(const __u32 *words, const int count)
{
	__u64 sum = 0;

	for (int i = 0; i < count; i++)
		sum += words[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)sum + (__u32)(sum >> 32);
}

static __always_inline void write_ipv4(struct iphdr *ip, const struct packet *packet,
				       const struct flow_value6 *value, __u8 traffic_class,
				       __u16 id, bool may_be_fragmented)
{
	__u8 protocol = packet->protocol == IPPROTO_ICMPV6 ? IPPROTO_ICMP : packet->protocol;
	__u16 *words = (void *)ip;
	__u32 sum = 0;

	words[0] = bpf_htons(0x4500 | traffic_class);
	words[1] = bpf_htons(packet->ip_len - GROWTH);
	words[2] = bpf_htons(id);
	words[3] = may_be_fragmented ? 0 : bpf_htons(IP_DONT_FRAGMENT);
	words[4] = bpf_htons((packet->ttl - 1) << 8 | protocol);
	words[5] = 0;
	ip->saddr = value->saddr[0];
	ip->daddr = value->daddr[0];
	for (int i = 0; i < IP_HEADER_WORDS; i++)
		sum += words[i];
	words[5] = ~fold(sum);
}

/* Steps 3 to 5 of an IPv6 packet that becomes one of IPv4. */
static __always_inline enum verdict to_ipv4(void *context, const enum hook hook,
					    const struct crossing *it, struct flow_value6 *value,
					    __u32 *out)
{
	const struct packet *packet = &it->packet;
	const struct rewrite *rewrite = &value->rewrite;
	const __u8 *old = it->frame.data + ETH_HLEN;
	struct frame frame;
	struct adjacency *adjacency;
	enum verdict step;
	__u32 pseudo = rewrite->address_delta;
	__u32 uncovered = 0;
	__u32 length = packet_on_the_wire(&it->frame, packet) - GROWTH;
	__u8 traffic_class;
	__u16 id;

	step = check(hook, &it->frame, packet, &value->state, -GROWTH, &adjacency); /* 3. */
	if (step != VERDICT_FORWARD)
		return step;
	if (packet->ip_len - GROWTH > IP_TOTAL_MAX || has_no_check(packet))
		return PUNT_TRANSLATION;
	if ((void *)old + sizeof(struct ipv6hdr) > it->frame.end)
		return DROP_MALFORMED;
	traffic_class = old[0] << 4 | old[1] >> 4;
	/* The kernel takes the first 20 bytes out of the sum over the whole packet, and sums the new
	 * header up to nothing. */
	if (hook == HOOK_TC)
		uncovered = ~sum_of((void *)old + GROWTH, sizeof(struct iphdr) / 4);
	step = move_start(context, hook, bpf_htons(ETH_P_IP), GROWTH);
	if (step != VERDICT_FORWARD)
		return step;
	id = identification(&value->state, note(&it->frame, packet, &value->state)); /* 4. */
	frame = moved_frame(context, hook); /* 5. */
	if (frame.data + TRANSPORT4_AT > frame.end)
		return DROP_MALFORMED;
	write_ethernet(&frame, adjacency, bpf_htons(ETH_P_IP));
	write_ipv4(frame.data + ETH_HLEN, packet, value, traffic_class, id,
		   length <= MAY_BE_FRAGMENTED);
	/* ICMPv6's checksum covers the length as well; the rest of its pseudo-header is in the entry. */
	if (packet->protocol == IPPROTO_ICMPV6)
		pseudo += (__u16)~bpf_htons(packet->ip_len - sizeof(struct ipv6hdr));
	if (!translate_transport(context, hook, &frame, packet, TRANSPORT4_AT, rewrite, pseudo,
				 uncovered))
		return DROP_MALFORMED;
	*out = adjacency->ifindex;
	return VERDICT_FORWARD;
}

/* The entry of a flow whose IPv4 packets leave as IPv6, if there is one. */
static __always_inline struct flow_value6 *find_ipv4_in_flows6(const struct flow_key4 *key)
{
	struct flow_key6 wide = {
		.saddr = { key->saddr },
		.daddr = { key->daddr },
		.sport = key->sport,
		.dport = key->dport,
		.scope_protocol = key->scope_protocol | FLOW_KEY_IPV4,
	};

	return bpf_map_lookup_elem(&flows6, &wide);
}

/* Steps 2 to 5 of an IPv4 packet that becomes one of IPv6; PUNT_MISS if its flow is not such. */
static __always_inline enum verdict to_ipv6(void *context, const enum hook hook,
					    const struct crossing *it,
					    const struct flow_key4 *key, __u32 *out)
{
	struct flow_value6 *value = find_ipv4_in_flows6(key); /* 2. */
	const struct packet *packet = &it->packet;
	const struct iphdr *old = it->frame.data + ETH_HLEN;
	struct ipv6hdr *ip;
	struct frame frame;
	struct adjacency *adjacency;
	enum verdict step;
	__u32 pseudo;
	__u32 uncovered = 0;
	__u8 traffic_class;
	__u16 payload = packet->ip_len - sizeof(struct iphdr);

	if (!value)
		return PUNT_MISS;
	step = check(hook, &it->frame, packet, &value->state, GROWTH, &adjacency); /* 3. */
	if (step != VERDICT_FORWARD)
		return step;
	if ((void *)(old + 1) > it->frame.end)
		return DROP_MALFORMED;
	/* The new header has no checksum to stay wrong. */
	if (packet->transport_at != TRANSPORT4_AT || !header_is_right(old) || has_no_check(packet))
		return PUNT_TRANSLATION;
	traffic_class = old->tos;
	step = move_start(context, hook, bpf_htons(ETH_P_IPV6), -GROWTH);
	if (step != VERDICT_FORWARD)
		return step;
	note(&it->frame, packet, &value->state); /* 4. */
	frame = moved_frame(context, hook); /* 5. */
	ip = frame.data + ETH_HLEN;
	if ((void *)(ip + 1) > frame.end)
		return DROP_MALFORMED;
	write_ethernet(&frame, adjacency, bpf_htons(ETH_P_IPV6));
	*(__be32 *)ip = bpf_htonl(6 << 28 | traffic_class << 20);
	ip->payload_len = bpf_htons(payload);
	ip->nexthdr = packet->protocol == IPPROTO_ICMP ? IPPROTO_ICMPV6 : packet->protocol;
	ip->hop_limit = packet->ttl - 1;
	__builtin_memcpy(&ip->saddr, value->saddr, sizeof(value->saddr));
	__builtin_memcpy(&ip->daddr, value->daddr, sizeof(value->daddr));
	/* The old header has summed up to nothing. */
	if (hook == HOOK_TC)
		uncovered = sum_of((void *)ip, sizeof(*ip) / 4);
	pseudo = value->rewrite.address_delta;
	if (packet->protocol == IPPROTO_ICMP)
		pseudo += bpf_htons(payload);
	if (!translate_transport(context, hook, &frame, packet, TRANSPORT6_AT, &value->rewrite,
				 pseudo, uncovered))
		return DROP_MALFORMED;
	*out = adjacency->ifindex;
	return VERDICT_FORWARD;
}

static __noinline enum verdict to_ipv4_tc(struct __sk_buff *skb, const struct crossing *it,
					  struct flow_value6 *value, __u32 *out)
{
	return to_ipv4(skb, HOOK_TC, it, value, out);
}

static __noinline enum verdict to_ipv4_xdp(struct xdp_md *xdp, const struct crossing *it,
					   struct flow_value6 *value, __u32 *out)
{
	return to_ipv4(xdp, HOOK_XDP, it, value, out);
}

static __noinline enum verdict to_ipv6_tc(struct __sk_buff *skb, const struct crossing *it,
					  const struct flow_key4 *key, __u32 *out)
{
	return to_ipv6(skb, HOOK_TC, it, key, out);
}

static __noinline enum verdict to_ipv6_xdp(struct xdp_md *xdp, const struct crossing *it,
					   const struct flow_key4 *key, __u32 *out)
{
	return to_ipv6(xdp, HOOK_XDP, it, key, out);
}

#endif
