/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Step 5: the headers of a packet that goes on, as nf_core::action::Action::apply does it.
 *
 * Checksums are updated from the differences that stand in the entry (RFC 1624), never computed
 * from the payload: a wrong checksum stays wrong. The two hooks differ only in the transport
 * checksum. Under XDP it is complete. Under tc it may be partial, to be completed by the
 * outgoing interface, and the kernel's helper knows; there the sum over the whole packet that some
 * interfaces deliver (CHECKSUM_COMPLETE) has to follow as well.
 */
#ifndef HALFSPACE_REWRITE_H
#define HALFSPACE_REWRITE_H

#include "frame.h"
#include "parse.h"

#define IP_HEADER_WORDS 10 /* 16-bit words of an IPv4 header without options */

/* Folds a one's complement sum into 16 bits. */
static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). The high half that ~ sets is the same zero to one's
 * complement, but keeps the sum from ever being a plain zero: the result is never 0xffff. */
static __always_inline __u16 update(__u16 check, __u32 delta)
{
	__u64 sum = (__u64)~(__u32)check + delta;

	return ~fold((__u32)sum + (__u32)(sum >> 32));
}

/* RFC 1071: the sum over a header with its checksum is all ones if it is right. */
static __always_inline bool header_is_right(const struct iphdr *ip)
{
	const __u16 *words = (const void *)ip;
	__u32 sum = 0;

	for (int i = 0; i < IP_HEADER_WORDS; i++)
		sum += words[i];
	return fold(sum) == 0xffff;
}

/* What lowering the first byte of a 16-bit word by one changes a sum by. */
static __always_inline __u16 lowered(__u16 word)
{
	return fold(word - bpf_htons(0x0100) + (__u16)~word);
}

static __always_inline void rewrite_ethernet(const struct frame *frame,
					     const struct adjacency *adjacency)
{
	/* Destination and source stand side by side in both, and words are fewer than bytes. */
	const __u32 *from = (const void *)adjacency->dst_mac;
	__u32 *to = frame->data;

	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
}

static __always_inline bool is_echo(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6;
}

static __always_inline void rewrite_ports(const struct packet *packet,
					  const struct rewrite *rewrite)
{
	if (is_echo(packet)) {
		struct echo_header *echo = packet->transport;

		/* One of the two is the identifier, the other zero. */
		echo->id = rewrite->sport | rewrite->dport;
	} else {
		struct udphdr *ports = packet->transport; /* TCP's stand in the same place */

		ports->source = rewrite->sport;
		ports->dest = rewrite->dport;
	}
}

static __always_inline __u32 check_at(const struct packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return offsetof(struct tcp_header, check);
	case IPPROTO_UDP:
		return offsetof(struct udphdr, check);
	default:
		return offsetof(struct echo_header, check);
	}
}

/* RFC 768: "An all zero transmitted checksum value means that the transmitter generated no
 * checksum". */
static __always_inline bool has_no_check(const struct packet *packet)
{
	struct udphdr *udp = packet->transport;

	return packet->protocol == IPPROTO_UDP && udp->check == 0;
}

static __always_inline void fix_check_xdp(const struct frame *frame, const struct packet *packet,
					  __u32 delta)
{
	__u16 *check = packet->transport + check_at(packet);
	__u16 sum;

	/* True since the parse, but the verifier does not remember which protocol it was for. */
	if ((void *)(check + 1) > frame->end)
		return;
	sum = update(*check, delta);
	/* RFC 768: "If the computed checksum is zero, it is transmitted as all ones". */
	if (packet->protocol == IPPROTO_UDP && sum == 0)
		sum = 0xffff;
	*check = sum;
}

/* Packet pointers are invalid afterwards. */
static __always_inline void fix_check_tc(struct __sk_buff *skb, const struct packet *packet,
					 const struct rewrite *rewrite, __u32 pseudo)
{
	__u64 udp = packet->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 at = packet->transport_at + check_at(packet);

	/* ICMP's checksum, unlike ICMPv6's, covers no pseudo-header. */
	if (packet->protocol != IPPROTO_ICMP)
		bpf_l4_csum_replace(skb, at, 0, pseudo, BPF_F_PSEUDO_HDR | udp);
	bpf_l4_csum_replace(skb, at, 0, rewrite->port_delta, udp);
}

/* `uncovered` is what the sum over the whole packet changes by beyond what the helper for transport
 * checksums accounts for. The helper takes every IP header for one whose own checksum makes up for
 * new addresses. IPv6's has none, so it is all of the header's change. (The helper's BPF_F_IPV6
 * says as much, but kernels before 6.16 refuse it.) */
static __always_inline void fix_checks(void *context, const enum hook hook,
				       const struct frame *frame, const struct packet *packet,
				       const struct rewrite *rewrite, __u32 pseudo,
				       __u32 uncovered)
{
	if (has_no_check(packet)) {
		uncovered += rewrite->port_delta;
	} else if (hook == HOOK_XDP) {
		fix_check_xdp(frame, packet, pseudo + rewrite->port_delta);
	} else {
		fix_check_tc(context, packet, rewrite, pseudo);
	}
	if (hook == HOOK_TC && uncovered)
		bpf_csum_update(context, uncovered);
}

static __always_inline void rewrite4(void *context, const enum hook hook,
				     const struct frame *frame, const struct packet *packet,
				     const struct flow_value4 *value,
				     const struct adjacency *adjacency)
{
	struct iphdr *ip = frame->data + ETH_HLEN;
	__u16 *ttl = (void *)&ip->ttl; /* and the protocol */
	const struct rewrite *rewrite = &value->rewrite;
	__u32 pseudo = packet->protocol == IPPROTO_ICMP ? 0 : rewrite->address_delta;

	rewrite_ethernet(frame, adjacency);
	ip->check = update(ip->check, (__u32)rewrite->address_delta + lowered(*ttl));
	ip->ttl -= 1;
	ip->saddr = value->saddr;
	ip->daddr = value->daddr;
	rewrite_ports(packet, rewrite);
	fix_checks(context, hook, frame, packet, rewrite, pseudo, 0);
}

static __always_inline void rewrite6(void *context, const enum hook hook,
				     const struct frame *frame, const struct packet *packet,
				     const struct flow_value6 *value,
				     const struct adjacency *adjacency)
{
	struct ipv6hdr *ip = frame->data + ETH_HLEN;
	__u16 *next_header = (void *)&ip->nexthdr; /* and the hop limit */
	const struct rewrite *rewrite = &value->rewrite;
	__u32 hop = *next_header;

	rewrite_ethernet(frame, adjacency);
	ip->hop_limit -= 1;
	hop = (__u16)~hop + *next_header;
	__builtin_memcpy(&ip->saddr, value->saddr, sizeof(value->saddr));
	__builtin_memcpy(&ip->daddr, value->daddr, sizeof(value->daddr));
	rewrite_ports(packet, rewrite);
	fix_checks(context, hook, frame, packet, rewrite, rewrite->address_delta,
		   rewrite->address_delta + hop);
}

#endif
