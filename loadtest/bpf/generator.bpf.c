/* The packet generator: sends frames of the plan's flows in turn. There is a program for each
 * family and protocol. */

#include "write.h"

static __always_inline int generate(struct xdp_md *ctx, const int ipv6, const __u32 protocol)
{
	const __u32 zero = 0;
	struct control *order = bpf_map_lookup_elem(&control, &zero);
	struct progress *state = bpf_map_lookup_elem(&progress, &zero);
	struct ends ends;
	/* Read once, or the compiler would divide twice. */
	const __u32 clients = plan.clients;
	__u32 number, client;

	if (!order || !state)
		return XDP_ABORTED;
	if (!is_due(order, state))
		return XDP_DROP;
	number = next_flow(order, state);
	client = number % clients;
	ends.macs = plan.macs;
	ends.source_prefix = plan.client_prefix;
	ends.source = bpf_htonl(plan.first_client + client);
	ends.source_port = bpf_htons(client_port(client, number / clients));
	ends.destination_prefix = plan.server_prefix;
	ends.destination = bpf_htonl(plan.first_server + number % plan.servers);
	ends.destination_port = bpf_htons(plan.server_port);
	return send(ctx, order, state, &ends, number, ipv6, protocol);
}

SEC("xdp")
int generate_udp4(struct xdp_md *ctx)
{
	return generate(ctx, 0, IPPROTO_UDP);
}

SEC("xdp")
int generate_udp6(struct xdp_md *ctx)
{
	return generate(ctx, 1, IPPROTO_UDP);
}

SEC("xdp")
int generate_tcp4(struct xdp_md *ctx)
{
	return generate(ctx, 0, IPPROTO_TCP);
}

SEC("xdp")
int generate_tcp6(struct xdp_md *ctx)
{
	return generate(ctx, 1, IPPROTO_TCP);
}

char _license[] SEC("license") = "Apache-2.0";
