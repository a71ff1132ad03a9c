/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Step 1: as much of a frame as the look-up and the rewrite need, in the order of
 * nf-core/src/fast_path/soft/parse.rs.
 *
 * Each function returns STEP_FLOW, STEP_NEIGHBOUR, or the punt or drop that the frame ends in on a
 * port of the gateway's own. The key's addresses are filled in whenever a punt is returned.
 */
#ifndef HALFSPACE_PARSE_H
#define HALFSPACE_PARSE_H

#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#include "frame.h"
#include "layout.h"
#include "verdict.h"

#define IP_FRAGMENT 0x3fff /* more-fragments bit, or an offset */
#define ICMP_MIN 8
#define NDP_FIRST 133
#define NDP_LAST 137

struct packet {
	void *transport; /* its header */
	__u32 transport_at; /* bytes from the start of the frame */
	__u32 ip_len; /* bytes of the IP packet by its own header */
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 ttl;
	__u8 tcp_flags;
	__u8 tcp_header_len;
};

/* RFC 9293, section 3.1. The kernel's own header has bit fields, whose order depends on the
 * machine, for the flags. */
struct tcp_header {
	__be16 source;
	__be16 dest;
	__be32 sequence;
	__be32 acknowledgement;
	__u8 offset; /* upper half: header length in 32-bit words */
	__u8 flags;
	__be16 window;
	__be16 check;
	__be16 urgent;
};

/* RFC 792 and RFC 4443, section 4.1. The kernel's own headers pull in those of the C library. */
struct echo_header {
	__u8 type;
	__u8 code;
	__be16 check;
	__be16 id;
	__be16 sequence;
};

#define ECHO4_REQUEST 8
#define ECHO4_REPLY 0
#define ECHO6_REQUEST 128
#define ECHO6_REPLY 129

static __always_inline bool to_group(const struct ethhdr *ethernet)
{
	return ethernet->h_dest[0] & 1;
}

static __always_inline enum verdict parse_echo(const struct echo_header *echo, __u8 request,
					       __u8 reply, struct packet *packet)
{
	if (echo->code != 0)
		return PUNT_CONTROL;
	if (echo->type == request)
		packet->sport = echo->id;
	else if (echo->type == reply)
		packet->dport = echo->id;
	else
		return PUNT_CONTROL;
	return STEP_FLOW;
}

/* `payload` is what the IP header says is left for the transport header. */
static __always_inline enum verdict parse_transport(const struct frame *frame, __u32 payload,
						    struct packet *packet)
{
	void *header = packet->transport;

	if (payload < ICMP_MIN || header + ICMP_MIN > frame->end)
		return DROP_MALFORMED;
	switch (packet->protocol) {
	case IPPROTO_TCP: {
		struct tcp_header *tcp = header;

		if (payload < sizeof(*tcp) || header + sizeof(*tcp) > frame->end)
			return DROP_MALFORMED;
		packet->sport = tcp->source;
		packet->dport = tcp->dest;
		packet->tcp_flags = tcp->flags;
		packet->tcp_header_len = (tcp->offset >> 4) * 4;
		return STEP_FLOW;
	}
	case IPPROTO_UDP: {
		struct udphdr *udp = header;

		packet->sport = udp->source;
		packet->dport = udp->dest;
		return STEP_FLOW;
	}
	case IPPROTO_ICMP:
		return parse_echo(header, ECHO4_REQUEST, ECHO4_REPLY, packet);
	default:
		return parse_echo(header, ECHO6_REQUEST, ECHO6_REPLY, packet);
	}
}

static __always_inline enum verdict parse4(const struct frame *frame, struct flow_key4 *key,
					   struct packet *packet)
{
	struct ethhdr *ethernet = frame->data;
	struct iphdr *ip = (void *)(ethernet + 1);
	__u32 header_len;

	if ((void *)(ip + 1) > frame->end)
		return DROP_MALFORMED;
	header_len = ip->ihl * 4;
	packet->ip_len = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header_len < sizeof(*ip) || packet->ip_len < header_len ||
	    packet->ip_len > frame->length - ETH_HLEN)
		return DROP_MALFORMED;
	if (to_group(ethernet))
		return DROP_MULTICAST;
	key->saddr = ip->saddr;
	key->daddr = ip->daddr;
	if (ip->frag_off & bpf_htons(IP_FRAGMENT))
		return PUNT_FRAGMENT;
	packet->protocol = ip->protocol;
	if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP &&
	    packet->protocol != IPPROTO_ICMP)
		return DROP_PROTOCOL;
	packet->ttl = ip->ttl;
	packet->transport = (void *)ip + header_len;
	packet->transport_at = ETH_HLEN + header_len;
	return parse_transport(frame, packet->ip_len - header_len, packet);
}

static __always_inline enum verdict parse6(const struct frame *frame, struct flow_key6 *key,
					   struct packet *packet)
{
	struct ethhdr *ethernet = frame->data;
	struct ipv6hdr *ip = (void *)(ethernet + 1);
	__u32 payload;

	if ((void *)(ip + 1) > frame->end)
		return DROP_MALFORMED;
	payload = bpf_ntohs(ip->payload_len);
	packet->ip_len = sizeof(*ip) + payload;
	if (ip->version != 6 || packet->ip_len > frame->length - ETH_HLEN)
		return DROP_MALFORMED;
	__builtin_memcpy(key->saddr, &ip->saddr, sizeof(key->saddr));
	__builtin_memcpy(key->daddr, &ip->daddr, sizeof(key->daddr));
	packet->protocol = ip->nexthdr;
	packet->ttl = ip->hop_limit;
	packet->transport = ip + 1;
	packet->transport_at = ETH_HLEN + sizeof(*ip);
	switch (packet->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		break;
	case IPPROTO_ICMPV6: {
		struct echo_header *icmp = packet->transport;

		if (payload < ICMP_MIN || (void *)icmp + ICMP_MIN > frame->end)
			return DROP_MALFORMED;
		if (icmp->type >= NDP_FIRST && icmp->type <= NDP_LAST)
			return STEP_NEIGHBOUR;
		break;
	}
	default:
		/* Group traffic other than NDP is nobody's, whatever it carries. */
		if (to_group(ethernet))
			return DROP_MULTICAST;
		switch (packet->protocol) {
		case IPPROTO_FRAGMENT:
			return PUNT_FRAGMENT;
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			return PUNT_EXTENSION_HEADER;
		default:
			return DROP_PROTOCOL;
		}
	}
	if (to_group(ethernet))
		return DROP_MULTICAST;
	return parse_transport(frame, payload, packet);
}

#endif
