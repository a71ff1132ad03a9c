/* An end that receives: checks each test frame, counts it and drops it. Everything else goes up
 * the stack, which answers the gateway's ARP requests.
 *
 * What it learns of a flow (its addresses behind the gateway) lets it answer, with a second
 * program that is run as the generator is. */

#include "write.h"

/* Set by the loader, big-endian: which source addresses the gateway may let through. */
const volatile __be32 source[4] = {};
const volatile __be32 source_mask[4] = {};
/* Frames come back from the servers; they must be for the very client that the flow is from. */
const volatile __u32 backwards = 0;
/* Flows whose sequence is kept, a power of two: flow number `n` is in entry `n % tracked`. Zero to
 * keep none; one to keep a single sequence over all frames. */
const volatile __u32 tracked = 0;
/* By how much two successive frames of what is kept in an entry differ in sequence. */
const volatile __u32 stride = 1;
/* Addresses are learnt, for answers. */
const volatile __u32 learn = 0;

struct counters {
	__u64 valid;
	__u64 bytes;
	__u64 bad_checksum;
	__u64 bad_marker;
	__u64 bad_source;
	__u64 duplicated;
	__u64 reordered;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

/* A NIC spreads frames over its queues by their addresses, so one CPU at a time sees a flow. */
struct flow {
	/* One more than the highest sequence seen; zero before the first. */
	__u64 next;
	/* Which of the 64 frames up to that one were seen, latest in the lowest bit. */
	__u64 seen;
	/* Whose the entry is: the flow's number plus one. */
	__u64 owner;
	/* Where its frames come from, big-endian; of IPv4 only the last word. */
	__be32 address[4];
	__be16 port;
	__u16 pad[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

/* MAC addresses of answers, as they stand in a frame: the gateway's, this end's. */
struct neighbour {
	__u32 macs[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct neighbour);
} neighbour SEC(".maps");

/* One-way times in nanoseconds: 32 equal buckets to each power of two. */
#define SUB_BITS 5
#define BUCKETS ((32 - SUB_BITS + 1) << SUB_BITS)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} latencies SEC(".maps");

static __always_inline __u32 bucket_of(__u32 value)
{
	__u32 rest = value >> SUB_BITS, power = 1;

	if (!rest)
		return value;
	/* The position of the highest bit, by halving. */
	if (rest >= 1u << 16) {
		power += 16;
		rest >>= 16;
	}
	if (rest >= 1u << 8) {
		power += 8;
		rest >>= 8;
	}
	if (rest >= 1u << 4) {
		power += 4;
		rest >>= 4;
	}
	if (rest >= 1u << 2) {
		power += 2;
		rest >>= 2;
	}
	power += rest >= 2;
	return (power << SUB_BITS) + ((value >> (power - 1)) & ((1u << SUB_BITS) - 1));
}

static __always_inline void time_it(__u32 sent)
{
	__u32 bucket = bucket_of((__u32)bpf_ktime_get_ns() - sent);
	__u64 *count = bpf_map_lookup_elem(&latencies, &bucket);

	if (count)
		(*count)++;
}

/* Keeps the sequence of a flow. Whether the frame is the first of its kind. */
static __always_inline int track(struct flow *flow, struct counters *counted, __u64 sequence)
{
	__u64 next = sequence + 1;

	if (next > flow->next) {
		__u64 steps = next - flow->next;

		/* Mostly the next one of the flow: that needs no division. */
		steps = steps == stride ? 1 : steps / stride;
		flow->seen = steps < 64 ? flow->seen << steps | 1 : 1;
		flow->next = next;
		return 1;
	} else {
		__u64 back = (flow->next - next) / stride;

		if (back < 64) {
			if (flow->seen & 1ull << back) {
				counted->duplicated++;
				return 0;
			}
			flow->seen |= 1ull << back;
		}
		/* RFC 4737: its sequence is lower than one that has arrived before. */
		counted->reordered++;
		return 1;
	}
}

/* Sum over a header of five 32-bit words; its own checksum field counts as it stands. */
static __always_inline __u64 sum_ip_header(const struct iphdr *ip)
{
	const __u32 *word = (const __u32 *)ip;

	return (__u64)word[0] + word[1] + word[2] + word[3] + word[4];
}

/* Sum over the transport header and payload. A length that points past the frame yields a sum over
 * what is there, which is no valid one either. */
static __always_inline __u64 sum_transport(const void *transport, __u32 length, const void *end)
{
	const void *at = transport;
	__u64 sum = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_FRAME / 4; i++) {
		if (length < 4 || at + 4 > end)
			break;
		sum += *(const __u32 *)at;
		at += 4;
		length -= 4;
	}
	if (length >= 2 && at + 2 <= end) {
		sum += *(const __u16 *)at;
		at += 2;
		length -= 2;
	}
	if (length >= 1 && at + 1 <= end)
		sum += bpf_htons(*(const __u8 *)at << 8);
	return sum;
}

/* Whether a frame that came back is addressed to the flow's client, from its server. */
static __always_inline int is_for_client(const __be32 *from, const __be32 *to, __be16 port,
					 __u32 number, const int ipv6)
{
	const __u32 clients = plan.clients;
	__u32 client = number % clients;

	if (ipv6) {
#pragma unroll
		for (int i = 0; i < 3; i++)
			if (from[i] != plan.server_prefix[i] || to[i] != plan.client_prefix[i])
				return 0;
	}
	return from[3] == bpf_htonl(plan.first_server + number % plan.servers) &&
	       to[3] == bpf_htonl(plan.first_client + client) &&
	       port == bpf_htons(client_port(client, number / clients));
}

/* Family and protocol are the plan's, but known to the compiler. */
static __always_inline int count(struct xdp_md *ctx, const int ipv6, const __u32 protocol)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	void *transport = data + TRANSPORT_OFFSET(ipv6);
	/* The same place in both. */
	struct udphdr *ports = transport;
	const struct marker *marker;
	const __u32 zero = 0;
	struct counters *counted = bpf_map_lookup_elem(&counters, &zero);
	/* Of IPv4 only the last word. */
	__be32 from[4] = {}, to[4] = {};
	__u32 length, number, index;
	__u64 sum, sequence;
	int bare = 0, known, expected;

	/* A router takes the padding of a short frame off, and a veth has no least size. */
	if (!counted || (void *)(ports + 1) > end)
		return XDP_PASS;
	if (ipv6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if (eth->h_proto != bpf_htons(ETH_P_IPV6) || ip->version != 6 ||
		    ip->nexthdr != protocol)
			return XDP_PASS;
		length = bpf_ntohs(ip->payload_len);
		sum = 0;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			from[i] = ip->saddr.in6_u.u6_addr32[i];
			to[i] = ip->daddr.in6_u.u6_addr32[i];
			sum += (__u64)from[i] + to[i];
		}
	} else {
		struct iphdr *ip = data + ETH_HLEN;

		if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->version != 4 || ip->ihl != 5 ||
		    ip->protocol != protocol)
			return XDP_PASS;
		length = bpf_ntohs(ip->tot_len) - sizeof(*ip);
		from[3] = ip->saddr;
		to[3] = ip->daddr;
		sum = (__u64)from[3] + to[3];
	}
	if ((backwards ? ports->source : ports->dest) != bpf_htons(plan.server_port))
		return XDP_PASS;

	known = ipv6 || fold(sum_ip_header(data + ETH_HLEN)) == 0xffff;
	if (protocol == IPPROTO_UDP) {
		length = bpf_ntohs(ports->len);
		known = known && ports->check;
	}
	sum += bpf_htons(protocol) + bpf_htons(length) + sum_transport(transport, length, end);
	if (!known || fold(sum) != 0xffff) {
		counted->bad_checksum++;
		return XDP_DROP;
	}

	marker = transport + sizeof(struct udphdr);
	if (protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = transport;

		if ((void *)(tcp + 1) > end) {
			counted->bad_marker++;
			return XDP_DROP;
		}
		bare = !tcp->ack;
		if (bare) {
			known = tcp->window == bpf_htons(TCP_WINDOW);
			number = bpf_ntohl(tcp->seq) - !tcp->syn;
			sequence = bpf_ntohl(tcp->ack_seq);
		}
		marker = transport + sizeof(*tcp);
	}
	if (!bare) {
		if ((void *)(marker + 1) > end) {
			counted->bad_marker++;
			return XDP_DROP;
		}
		number = bpf_ntohl(marker->flow);
		sequence = (__u64)bpf_ntohl(marker->sequence_high) << 32 |
			   bpf_ntohl(marker->sequence_low);
		known = marker->magic == bpf_htonl(MARKER_MAGIC);
		if (plan.sample_interval && marker->magic == bpf_htonl(MARKER_TIMED)) {
			known = 1;
			time_it(number);
			/* Where time is taken, flows are numbered from zero and take turns. */
			number = sequence % stride;
		}
	}
	if (!known) {
		counted->bad_marker++;
		return XDP_DROP;
	}

	if (backwards) {
		expected = is_for_client(from, to, ports->dest, number, ipv6);
	} else {
		expected = (from[3] & source_mask[3]) == source[3];
		if (ipv6) {
#pragma unroll
			for (int i = 0; i < 3; i++)
				expected = expected && (from[i] & source_mask[i]) == source[i];
		}
	}
	if (!expected) {
		counted->bad_source++;
		return XDP_DROP;
	}

	if (tracked) {
		struct neighbour *next;
		struct flow *flow;

		index = number & (tracked - 1);
		flow = bpf_map_lookup_elem(&flows, &index);
		if (!flow)
			return XDP_ABORTED;
		if (!track(flow, counted, sequence))
			return XDP_DROP;
		if (learn) {
			flow->owner = (__u64)number + 1;
			__builtin_memcpy(flow->address, from, sizeof(from));
			flow->port = ports->source;
			next = bpf_map_lookup_elem(&neighbour, &zero);
			if (next) {
				__builtin_memcpy(next->macs, eth->h_source, ETH_ALEN);
				__builtin_memcpy((void *)next->macs + ETH_ALEN, eth->h_dest,
						 ETH_ALEN);
			}
		}
	}
	counted->valid++;
	counted->bytes += end - data;
	return XDP_DROP;
}

SEC("xdp")
int count_udp4(struct xdp_md *ctx)
{
	return count(ctx, 0, IPPROTO_UDP);
}

SEC("xdp")
int count_udp6(struct xdp_md *ctx)
{
	return count(ctx, 1, IPPROTO_UDP);
}

SEC("xdp")
int count_tcp4(struct xdp_md *ctx)
{
	return count(ctx, 0, IPPROTO_TCP);
}

SEC("xdp")
int count_tcp6(struct xdp_md *ctx)
{
	return count(ctx, 1, IPPROTO_TCP);
}

/* Answers: frames from the servers to where the flows come from, as far as that was learnt. */
SEC("xdp")
int reply(struct xdp_md *ctx)
{
	const __u32 zero = 0;
	struct control *order = bpf_map_lookup_elem(&control, &zero);
	struct progress *state = bpf_map_lookup_elem(&progress, &zero);
	const struct neighbour *next = bpf_map_lookup_elem(&neighbour, &zero);
	const struct flow *flow;
	struct ends ends;
	__u32 number, index;

	if (!order || !state || !next)
		return XDP_ABORTED;
	if (!is_due(order, state))
		return XDP_DROP;
	number = next_flow(order, state);
	index = number & (tracked - 1);
	flow = bpf_map_lookup_elem(&flows, &index);
	if (!flow || flow->owner != (__u64)number + 1) {
		state->turns++;
		state->skipped++;
		return XDP_DROP;
	}
	ends.macs = next->macs;
	ends.source_prefix = plan.server_prefix;
	ends.source = bpf_htonl(plan.first_server + number % plan.servers);
	ends.source_port = bpf_htons(plan.server_port);
	ends.destination_prefix = flow->address;
	ends.destination = flow->address[3];
	ends.destination_port = flow->port;
	return send(ctx, order, state, &ends, number, plan.ipv6, plan.protocol);
}

char _license[] SEC("license") = "Apache-2.0";
