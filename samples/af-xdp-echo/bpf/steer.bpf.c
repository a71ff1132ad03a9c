// SPDX-License-Identifier: Apache-2.0
/*
 * Which frames of an interface go to the application's AF_XDP socket, past the kernel's stack:
 * those for its own addresses, and the questions who has them. What becomes of all others is for
 * the user to say.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define NEIGHBOUR_SOLICITATION 135

/* Set by the loader. Addresses are as they stand in a packet; all zero if there is none. */
const volatile __be32 address4 = 0;
const volatile __be32 address6[4] = {};
/* The receive queue that the socket is bound to. */
const volatile __u32 queue = 0;
/* XDP_PASS or XDP_DROP: what becomes of frames that are not for the application. */
const volatile __u32 others = XDP_PASS;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* The twin of `Counters` in src/steering.rs. */
struct counters {
	__u64 steered;
	__u64 other_queue;
	__u64 passed;
	__u64 dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

/* ARP for IPv4 on Ethernet, RFC 826. */
struct arp {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender;
	__u8 target_mac[ETH_ALEN];
	__be32 target;
} __attribute__((packed));

/* RFC 4861, section 4.3, without its options. */
struct solicitation {
	struct icmp6hdr header;
	struct in6_addr target;
};

static __always_inline bool is_address6(const struct in6_addr *address)
{
	const __be32 *word = address->in6_u.u6_addr32;

	return (address6[0] | address6[1] | address6[2] | address6[3]) && word[0] == address6[0] &&
	       word[1] == address6[1] && word[2] == address6[2] && word[3] == address6[3];
}

static __always_inline bool is_for_application(const struct xdp_md *ctx)
{
	const struct ethhdr *ethernet = (void *)(long)ctx->data;
	const void *end = (void *)(long)ctx->data_end;
	const void *packet = ethernet + 1;

	if (packet > end)
		return false;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		const struct iphdr *ip = packet;

		return (const void *)(ip + 1) <= end && address4 && ip->daddr == address4;
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_ARP)) {
		const struct arp *arp = packet;

		return (const void *)(arp + 1) <= end && address4 && arp->target == address4;
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip = packet;
		const struct solicitation *asked = (const void *)(ip + 1);

		if ((const void *)(ip + 1) > end)
			return false;
		if (is_address6(&ip->daddr))
			return true;
		/* It goes to a multicast group, which other addresses are in as well. */
		return ip->nexthdr == IPPROTO_ICMPV6 && (const void *)(asked + 1) <= end &&
		       asked->header.icmp6_type == NEIGHBOUR_SOLICITATION &&
		       is_address6(&asked->target);
	}
	return false;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	const __u32 zero = 0;
	struct counters *count = bpf_map_lookup_elem(&counters, &zero);

	if (!count)
		return XDP_ABORTED;
	if (!is_for_application(ctx)) {
		if (others == XDP_PASS)
			count->passed++;
		else
			count->dropped++;
		return others;
	}
	/* A socket takes frames of its own queue only. The kernel's stack, which does not have the
	 * address, would lose the frame without a word. */
	if (ctx->rx_queue_index != queue) {
		count->other_queue++;
		return XDP_DROP;
	}
	count->steered++;
	return bpf_redirect_map(&sockets, 0, XDP_DROP);
}

char _license[] SEC("license") = "Apache-2.0";
