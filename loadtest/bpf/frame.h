/* The test frame: Ethernet, IPv4 or IPv6, UDP or TCP, and a marker that tells it from all other
 * traffic. Generator, far end and the Rust twin in `src/frames/` agree on what is in here. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* First four bytes of the payload, big-endian: of most frames, and of those that carry the time. */
#define MARKER_MAGIC 0x48534c54u
#define MARKER_TIMED 0x48534c55u

/* All fields big-endian. Whatever follows in a longer frame is zero. */
struct marker {
	__be32 magic;
	/* The flow's number; in a timed frame CLOCK_MONOTONIC in nanoseconds, the low 32 bits. */
	__be32 flow;
	__be32 sequence_high;
	__be32 sequence_low;
	__be16 zero;
} __attribute__((packed, aligned(2)));

/* TCP frames without ACK (SYN, RST) have no payload, as real ones: their marker is the window,
 * the low half of the sequence in the acknowledgement field that nobody reads without ACK, and
 * the flow in the sequence number. */
#define TCP_WINDOW 0x4853

#define TCP_SYN 0x02u
#define TCP_RST 0x04u
#define TCP_PSH 0x08u
#define TCP_ACK 0x10u

#define MIN_FRAME 60
#define MAX_FRAME (ETH_HLEN + 1500)

#define MAX_SIZES 12

/* Which flows there are, and what their frames look like; all but MAC addresses and words of IPv6
 * addresses in host byte order. Set by the loader, so the verifier takes out what is not used. */
struct plan {
	__u32 ipv6;
	__u32 protocol;
	__u32 clients;
	/* The upper 96 bits of an IPv6 address, big-endian, then the lower 32 bits of the first. */
	__be32 client_prefix[3];
	__u32 first_client;
	__u32 servers;
	__be32 server_prefix[3];
	__u32 first_server;
	__u32 server_port;
	__u32 port_keys[3];
	/* Frame sizes, sent in turn. */
	__u32 size_count;
	__u32 sizes[MAX_SIZES];
	/* Every how many-th frame carries the time; zero for none. */
	__u32 sample_interval;
	/* As they stand in a frame: destination, source. */
	__u32 macs[3];
};

const volatile struct plan plan = {};

#define TRANSPORT_OFFSET(ipv6) \
	(ETH_HLEN + ((ipv6) ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)))

/* Client ports: 1024 to 65535 (RFC 4814). */
#define FIRST_PORT 1024u
#define PORTS 64512u

static __always_inline __u32 scramble(__u32 value, __u32 key)
{
	return ((value ^ key) * 0x9e3779b1u) >> 16;
}

/* A client's port number `n`: each port once, in an order that looks random and depends on seed
 * and client. Three rounds of a Feistel network over 252 times 256, which are the 64,512 ports.
 * 16 random bits become one of 252 values without a division. */
static __always_inline __u32 client_port(__u32 client, __u32 n)
{
	__u32 left = n >> 8, right = n & 255;

	right = (right + scramble(left + client, plan.port_keys[0])) & 255;
	left += scramble(right, plan.port_keys[1]) * 252 >> 16;
	left = left >= 252 ? left - 252 : left;
	right = (right + scramble(left, plan.port_keys[2])) & 255;
	return FIRST_PORT + (left << 8 | right);
}

/* One's complement sum of 16 bits (RFC 1071): carries come back in from the top. */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}
