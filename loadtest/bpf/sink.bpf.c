/* The far end: checks each test frame, counts it and drops it. Everything else goes up the stack,
 * which answers the gateway's ARP requests. */

#include "frame.h"

/* Set by the loader, host byte order: which source addresses the gateway may let through. */
const volatile __u32 server_port = 0;
const volatile __u32 source = 0;
const volatile __u32 source_mask = 0;

struct counters {
	__u64 valid;
	__u64 bytes;
	__u64 bad_checksum;
	__u64 bad_marker;
	__u64 bad_source;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

/* Sum over the UDP header and payload. A length that points past the frame yields a sum over what
 * is there, which is no valid one either. */
static __always_inline __u64 sum_udp(const void *udp, __u32 length, const void *end)
{
	const void *at = udp;
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

SEC("xdp")
int count(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + IP_OFFSET;
	struct udphdr *udp = data + UDP_OFFSET;
	struct marker *marker = data + MARKER_OFFSET;
	const __u32 zero = 0;
	struct counters *counted = bpf_map_lookup_elem(&counters, &zero);
	__u64 sum;

	if (!counted || data + MIN_FRAME > end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->version != 4 || ip->ihl != 5 ||
	    ip->protocol != IPPROTO_UDP || udp->dest != bpf_htons(server_port))
		return XDP_PASS;

	sum = sum_pseudo_header(ip, udp->len) + sum_udp(udp, bpf_ntohs(udp->len), end);
	if (fold(sum_ip_header(ip)) != 0xffff || !udp->check || fold(sum) != 0xffff)
		counted->bad_checksum++;
	else if (marker->magic != bpf_htonl(MARKER_MAGIC))
		counted->bad_marker++;
	else if ((bpf_ntohl(ip->saddr) & source_mask) != source)
		counted->bad_source++;
	else {
		counted->valid++;
		counted->bytes += end - data;
	}
	return XDP_DROP;
}

char _license[] SEC("license") = "Apache-2.0";
