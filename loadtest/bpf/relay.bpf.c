/* The limit that every gateway is held against: a redirect without a look at the frame. */

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* Set by the loader. */
const volatile __u32 output_index = 0;

SEC("xdp")
int relay(struct xdp_md *ctx)
{
	(void)ctx;
	return bpf_redirect(output_index, 0);
}

char _license[] SEC("license") = "Apache-2.0";
