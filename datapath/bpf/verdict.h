/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a packet's way through the programs can end. The numbers are slots of the `verdicts` map;
 * each packet adds one to exactly one of them, so they sum up to the packets in. The reasons
 * behind VERDICT_PUNT and VERDICT_DROP are numbered as nf_core::verdict does.
 */
#ifndef HALFSPACE_VERDICT_H
#define HALFSPACE_VERDICT_H

enum verdict {
	VERDICT_FORWARD = 0,
	VERDICT_PASS = 1,
	VERDICT_TAP = 2,
	/* Not a verdict but counted beside them: TCP events that found the ring full. */
	LOST_EVENT = 3,

	VERDICT_PUNT = 16,
	PUNT_MISS = VERDICT_PUNT + 0,
	PUNT_CONTROL = VERDICT_PUNT + 1,
	PUNT_STALE = VERDICT_PUNT + 2,
	PUNT_UNRESOLVED = VERDICT_PUNT + 3,
	PUNT_TIME_TO_LIVE = VERDICT_PUNT + 4,
	PUNT_TOO_BIG = VERDICT_PUNT + 5,
	PUNT_FRAGMENT = VERDICT_PUNT + 6,
	PUNT_EXTENSION_HEADER = VERDICT_PUNT + 7,
	PUNT_REOPEN = VERDICT_PUNT + 8,
	PUNT_SOURCE_MAC = VERDICT_PUNT + 9,
	PUNT_TRANSLATION = VERDICT_PUNT + 10,

	VERDICT_DROP = 32,
	DROP_MALFORMED = VERDICT_DROP + 0,
	DROP_ETHER_TYPE = VERDICT_DROP + 1,
	DROP_MULTICAST = VERDICT_DROP + 2,
	DROP_PROTOCOL = VERDICT_DROP + 3,
	DROP_PUNT_RING_FULL = VERDICT_DROP + 4,
	DROP_PUNT_TOO_LARGE = VERDICT_DROP + 5,

	VERDICT_SLOTS = 48,

	/* Steps on the way, never counted. */
	STEP_FLOW,      /* a packet of a protocol that flows are tracked of */
	STEP_NEIGHBOUR, /* ARP or NDP */
	STEP_LEAVE,     /* XDP leaves it to the tc program of the same port */
};

#endif
