/* What a run of a program costs that does nothing: the times of others are told as multiples. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("classifier")
int empty_tc(struct __sk_buff *skb)
{
	return 0;
}

SEC("xdp")
int empty_xdp(struct xdp_md *xdp)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Apache-2.0";
