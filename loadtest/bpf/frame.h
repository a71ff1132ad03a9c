/* The test frame: Ethernet, IPv4, UDP and a marker that tells it from all other traffic. The
 * generator writes it, the sink checks it; `src/frame.rs` is its twin in Rust. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* First four bytes of the payload, big-endian. */
#define MARKER_MAGIC 0x48534c54u

/* All fields big-endian. Whatever follows in a longer frame is zero. */
struct marker {
	__be32 magic;
	__be32 flow;
	__be32 sequence_high;
	__be32 sequence_low;
	__be16 zero;
} __attribute__((packed, aligned(2)));

#define IP_OFFSET ETH_HLEN
#define UDP_OFFSET (IP_OFFSET + sizeof(struct iphdr))
#define MARKER_OFFSET (UDP_OFFSET + sizeof(struct udphdr))
#define MIN_FRAME (MARKER_OFFSET + sizeof(struct marker))
#define MAX_FRAME (ETH_HLEN + 1500)

_Static_assert(MIN_FRAME == 60, "the smallest Ethernet frame, without its check sequence");

/* One's complement sum of 16 bits (RFC 1071): carries come back in from the top. */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* Sum over a header of five 32-bit words; its own checksum field counts as it stands. */
static __always_inline __u64 sum_ip_header(const struct iphdr *ip)
{
	const __u32 *word = (const __u32 *)ip;

	return (__u64)word[0] + word[1] + word[2] + word[3] + word[4];
}

/* RFC 768: source, destination, protocol and UDP length. */
static __always_inline __u64 sum_pseudo_header(const struct iphdr *ip, __be16 udp_length)
{
	return (__u64)ip->saddr + ip->daddr + bpf_htons(IPPROTO_UDP) + udp_length;
}
