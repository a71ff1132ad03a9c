/* SPDX-License-Identifier: Apache-2.0 */
/* Counting verdicts: per CPU, so no two packets meet on a cache line. */
#ifndef HALFSPACE_COUNTERS_H
#define HALFSPACE_COUNTERS_H

#include "maps.h"

static __always_inline void count(enum verdict verdict)
{
	__u32 slot = verdict;
	__u64 *counter = bpf_map_lookup_elem(&verdicts, &slot);

	if (counter)
		*counter += 1;
}

#endif
