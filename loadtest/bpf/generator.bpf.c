/* The packet generator: sends frames of the plan's flows in turn. */

#include "write.h"

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	const __u32 zero = 0;
	struct control *order = bpf_map_lookup_elem(&control, &zero);
	struct progress *state = bpf_map_lookup_elem(&progress, &zero);
	struct ends ends;
	__u32 number, client;

	if (!order || !state)
		return XDP_ABORTED;
	if (!is_due(order, state))
		return XDP_DROP;
	number = next_flow(order, state);
	client = number % plan.clients;
	ends.macs = plan.macs;
	ends.source_prefix = plan.client_prefix;
	ends.source = bpf_htonl(plan.first_client + client);
	ends.source_port = bpf_htons(client_port(client, number / plan.clients));
	ends.destination_prefix = plan.server_prefix;
	ends.destination = bpf_htonl(plan.first_server + number % plan.servers);
	ends.destination_port = bpf_htons(plan.server_port);
	return send(ctx, order, state, &ends, number);
}

char _license[] SEC("license") = "Apache-2.0";
