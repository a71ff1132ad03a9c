/* The packet generator: run with BPF_PROG_TEST_RUN on live frames, it writes one test frame a call
 * and sends it out of a link of the namespace that it is run in. Starting and ending a run takes
 * the kernel tens of milliseconds, so pace and end are kept in here: a call that is too early or
 * too late drops its page. */

#include "frame.h"

/* Set by the loader. Addresses and ports in host byte order. */
const volatile __u32 output_index = 0;
const volatile __u32 flows = 1;
const volatile __u32 clients = 1;
const volatile __u32 first_client = 0;
const volatile __u32 servers = 1;
const volatile __u32 first_server = 0;
const volatile __u32 server_port = 0;
const volatile __u32 frame_size = MIN_FRAME;
const volatile __u8 source_mac[ETH_ALEN] = {};
const volatile __u8 destination_mac[ETH_ALEN] = {};

/* Client ports: 1024 to 65535, each once, in an order that looks random (RFC 4814): the step is a
 * prime that does not divide their number. */
#define FIRST_PORT 1024u
#define PORTS 64512u
#define PORT_STEP 39989u

/* Written by user space at any time. */
struct control {
	/* Nothing is sent once that many frames are. */
	__u64 limit;
	/* Least time between two frames in nanoseconds, or zero. */
	__u64 interval;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

/* Written by the program only. One thread at a time runs it, so plain increments do. */
struct progress {
	__u64 sent;
	/* When the next frame may go, CLOCK_MONOTONIC in nanoseconds. */
	__u64 due;
	__u32 flow;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct progress);
} progress SEC(".maps");

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + IP_OFFSET;
	struct udphdr *udp = data + UDP_OFFSET;
	struct marker *marker = data + MARKER_OFFSET;
	const __u32 zero = 0;
	struct control *order = bpf_map_lookup_elem(&control, &zero);
	struct progress *state = bpf_map_lookup_elem(&progress, &zero);
	__u32 flow;
	__u64 sum;
	__be16 check;

	if (!order || !state || data + MIN_FRAME > end)
		return XDP_ABORTED;
	if (state->sent >= order->limit)
		return XDP_DROP;
	if (order->interval) {
		__u64 now = bpf_ktime_get_ns();

		if (now < state->due)
			return XDP_DROP;
		state->due = now + order->interval;
	}
	flow = state->flow;
	state->flow = flow + 1 == flows ? 0 : flow + 1;

	/* The page comes back from the far end as whatever the gateway made of it: every byte of
	 * the headers is written anew, every time. */
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++) {
		eth->h_source[i] = source_mac[i];
		eth->h_dest[i] = destination_mac[i];
	}
	eth->h_proto = bpf_htons(ETH_P_IP);

	ip->version = 4;
	ip->ihl = 5;
	ip->tos = 0;
	ip->tot_len = bpf_htons(frame_size - IP_OFFSET);
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000); /* DF */
	ip->ttl = 64;
	ip->protocol = IPPROTO_UDP;
	ip->check = 0;
	ip->saddr = bpf_htonl(first_client + flow % clients);
	ip->daddr = bpf_htonl(first_server + flow % servers);
	/* From the values: reading back what was just written in other widths would stall. */
	sum = bpf_htons(0x4500) + (__u64)ip->tot_len + ip->frag_off +
	      bpf_htons(64 << 8 | IPPROTO_UDP) + ip->saddr + ip->daddr;
	check = ~fold(sum);
	ip->check = check;

	udp->source = bpf_htons(FIRST_PORT + flow / clients * PORT_STEP % PORTS);
	udp->dest = bpf_htons(server_port);
	udp->len = bpf_htons(frame_size - UDP_OFFSET);
	udp->check = 0;

	marker->magic = bpf_htonl(MARKER_MAGIC);
	marker->flow = bpf_htonl(flow);
	marker->sequence_high = bpf_htonl(state->sent >> 32);
	marker->sequence_low = bpf_htonl(state->sent);
	marker->zero = 0;

	sum = sum_pseudo_header(ip, udp->len);
	sum += (__u64)udp->source + udp->dest + udp->len;
	sum += (__u64)marker->magic + marker->flow;
	sum += (__u64)marker->sequence_high + marker->sequence_low;
	check = ~fold(sum);
	/* RFC 768: zero would mean that there is no checksum. */
	udp->check = check ? check : 0xffff;

	state->sent++;
	return bpf_redirect(output_index, 0);
}

char _license[] SEC("license") = "Apache-2.0";
