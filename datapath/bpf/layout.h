/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel program and user space share: keys, values and records.
 *
 * src/layout.rs mirrors this file; a test there compares the two through the object's BTF, names,
 * offsets and numbers alike. Whoever changes a structure raises LAYOUT_VERSION there, so that a new
 * process never reads the maps of an old one wrongly.
 */
#ifndef HALFSPACE_LAYOUT_H
#define HALFSPACE_LAYOUT_H

#include <linux/types.h>

/* --- The flow table ------------------------------------------------------------------------ */

/* Addresses as they stand in the packet; the echo identifier of a request is its sport, of a
 * reply its dport, and the other one zero. */
struct flow_key4 {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u32 scope_protocol; /* ifindex << 8 | IP protocol */
};

struct flow_key6 {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u32 scope_protocol;
};

/* In `scope_protocol` of a flow_key6: it is for IPv4 packets, which leave as IPv6. Each address
 * stands in the first of its words. No IPv6 packet leads to it, because flows are tracked of protocols
 * below 128 alone. */
#define FLOW_KEY_IPV4 0x80u

/* The ports a packet leaves with, and what its checksums change by: the folded one's complement
 * difference, new less old, of the addresses and of the ports (or the echo identifier). In the
 * byte order of the packet, so that native loads of both add up (RFC 1071, section 2B). */
struct rewrite {
	__be16 sport;
	__be16 dport;
	__u16 address_delta;
	__u16 port_delta;
};

/* What an entry is, apart from its addresses. */
struct flow_state {
	__u32 adjacency;
	__u32 generation;
	__u32 flow;      /* FLOW_REVERSE | flow id */
	__u32 last_seen; /* monotonic clock, in units of 2^20 ns */
	__u64 packets;
	__u64 bytes;
	__u32 tcp_flags; /* SYN, FIN and RST that went through, or-ed */
	__u32 meter;     /* 0: none */
	/* Beside each other and where a word begins, so that a packet's address is compared at one
	 * go. They fill the value of IPv4 up to a cache line. With it the whole of an entry, to which
	 * the kernel adds 48 bytes and the key, is two lines that every packet touches and no more. */
	__u16 flags;
	__u8 src_mac[6]; /* packets come from it; zero: from anyone */
};

#define FLOW_REVERSE 0x80000000u

/* In `flags`, for user space alone: the ends of the flow that are tracked, as Tracking::bits. */
#define FLOW_TRACKED 3u

/* In `flags` of a flow_value6: packets leave with the other address family. IPv4 addresses stand in
 * the first words then. The address delta is that of the pseudo-headers; of ICMPv6's, which ICMP has
 * none of, it is the sum of addresses and protocol, and does not have the length. */
#define FLOW_TRANSLATED 8u

struct flow_value4 {
	__be32 saddr;
	__be32 daddr;
	struct rewrite rewrite;
	struct flow_state state;
};

struct flow_value6 {
	__be32 saddr[4];
	__be32 daddr[4];
	struct rewrite rewrite;
	struct flow_state state;
};

/* --- Templates ----------------------------------------------------------------------------- */

/* A class of flows: those that differ in nothing but their source port. */
struct template_key {
	__be32 saddr;
	__be32 daddr;
	__u32 scope_protocol; /* as in flow_key4 */
	__be16 dport;
	__u16 reserved;
};

/* What becomes of a class's flows. Their destination stays as it is. */
struct template {
	__be32 saddr;            /* what they leave with */
	__u32 reverse_port;      /* the interface their answers come in by */
	__u32 forward_adjacency; /* slots */
	__u32 reverse_adjacency;
	__u32 generation;
	__u32 stock;         /* where their ports come from */
	__u16 address_delta; /* of the forward direction, as in rewrite */
	__u8 src_mac[6];     /* their first packets come with it */
	__u16 flags;
	__u8 back_mac[6]; /* src_mac of the reverse entries */
	__u32 forward_meter;
	__u32 reverse_meter;
};

/* In `flags`, beside FLOW_TRACKED: src_mac is that of the forward entries as well. */
#define TEMPLATE_HOLDS_SRC_MAC 4u

/* What a flow is given. */
struct lot {
	__u32 flow; /* id */
	__be16 port;
	__u16 reserved;
};

#define STOCKS 256 /* a stock's place is its number modulo this */
#define LOTS 512

/* A ring that user space fills, through a mapping of its own, and whoever moves `head` on takes
 * from. Both count without end. */
struct stock {
	__u32 head;
	__u32 tail;
	struct lot lots[LOTS];
};

/* --- Meters -------------------------------------------------------------------------------- */

#define METERS 4096

/* What the packets of many entries add up to. */
struct meter {
	__u64 packets;
	__u64 bytes;
};

/* --- The small tables ---------------------------------------------------------------------- */

struct adjacency {
	__u32 ifindex; /* 0: the slot is empty */
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__u16 mtu; /* largest IP packet, bytes */
	__u8 xdp;  /* the port takes redirected XDP frames */
	__u8 reserved;
};

struct port {
	__u32 flags;
};

#define PORT_SHARED 1u /* see PortPolicy::share_with_host */

struct address6 {
	__be32 words[4];
};

/* One for all packets; pinned, so a new process finds the fence where the old one left it. */
struct control {
	__u32 layout_version;
	__u32 fence; /* entries of older generations are stale */
};

/* How jiffies become moments: moment = base + jiffies * jiffy, in nanoseconds of the monotonic
 * clock. Reading jiffies is one load, reading even the coarse clock is a call. */
struct clock {
	__u64 base;
	__u32 jiffy;
	__u32 reserved;
};

/* --- The punt ring ------------------------------------------------------------------------- */

#define RECORD_FRAME 1 /* a frame for user space, behind the head */
#define RECORD_TCP 2   /* TCP flags that went through: the head alone */
#define RECORD_MADE 3  /* a flow that was made by a template: struct made_record */
#define RECORD_UNUSED 4 /* a lot that was taken for one that could not be made: likewise */

struct record_head {
	__u8 kind;
	__u8 reason;    /* RECORD_FRAME: number of the punt reason */
	__u8 tcp_flags; /* RECORD_TCP: the header's flags byte */
	__u8 reserved;
	__u32 ifindex;      /* the port it came in on */
	__u32 flow;         /* RECORD_TCP: as in flow_state; RECORD_MADE: id */
	__u32 length;       /* RECORD_FRAME: bytes of the frame */
	__u32 segment_size; /* RECORD_FRAME: payload bytes of each segment, or 0 */
};

struct made_record {
	struct record_head head;
	struct flow_key4 key; /* of the forward direction */
	__be32 saddr;         /* what it leaves with */
	__be16 sport;
	__u8 src_mac[6];
	__u32 reverse_port; /* from here on as in the template */
	__u32 forward_adjacency;
	__u32 reverse_adjacency;
	__u32 generation;
	__u32 stock;
	__u16 flags;
	__u8 back_mac[6];
	__u32 forward_meter;
	__u32 reverse_meter;
};

/* --- Setting the clock ---------------------------------------------------------------------- */

/* The "packet" that the clock program is run on. */
struct clock_order {
	__u8 ethernet[16];
	__u32 jiffy; /* nanoseconds */
	__u32 reserved;
};

/* --- Restamping ---------------------------------------------------------------------------- */

/* One entry that is to be restamped. */
struct restamp_key {
	__u32 is_ipv6;
	union {
		struct flow_key4 ipv4;
		struct flow_key6 ipv6;
	} key;
};

/* The "packet" that the restamp program is run on: 14 bytes are the least the kernel takes. */
struct restamp_order {
	__u8 ethernet[16];
	__u32 generation;
	__u32 count;
};

#endif
