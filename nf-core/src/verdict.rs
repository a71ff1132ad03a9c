//! What became of a packet, and why. Every packet that came in ends in exactly one verdict, so the
//! sum of the verdict counters equals the packets in.

use std::fmt;

macro_rules! reasons {
    ($(#[$enum_doc:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $value:literal $label:literal,)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant = $value,)* }

        impl $name {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name metrics and logs use.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// The reason with this number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($value => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.label())
            }
        }
    };
}

reasons! {
    /// Why the fast path handed a packet to user space. The numbers are the kernel program's.
    Punt {
        /// No flow entry: the first packet of a flow.
        Miss = 0 "miss",
        /// ARP, NDP, or ICMP other than echo.
        Control = 1 "control",
        /// The entry is older than the oldest generation that may still forward.
        Stale = 2 "stale",
        /// The entry's next hop is not resolved.
        Unresolved = 3 "unresolved",
        /// TTL or hop limit is 1 or 0.
        TimeToLive = 4 "time_to_live",
        /// Larger than the outgoing port takes.
        TooBig = 5 "too_big",
        /// A fragment, the first one included.
        Fragment = 6 "fragment",
        /// IPv6 extension headers, which only user space walks.
        Extension = 7 "extension_header",
        /// A TCP SYN on an entry that has seen a FIN or RST: a new connection on the addresses of
        /// an old one.
        Reopen = 8 "reopen",
        /// Not from the MAC address of the interface that the port is for, though the rest is of a
        /// flow of it.
        SourceMac = 9 "source_mac",
        /// To be translated to the other address family, which takes more than a new header: IPv4
        /// options, no UDP checksum, a wrong header checksum, or too long for IPv4.
        Translation = 10 "translation",
    }
}

reasons! {
    /// Why the fast path itself ended a packet's way. The numbers are the kernel program's, which
    /// counts them by port-independent per-CPU counters.
    FastDrop {
        /// Shorter than the headers it announces, or a header that contradicts itself.
        Malformed = 0 "malformed",
        /// Neither IPv4, IPv6 nor ARP.
        EtherType = 1 "ether_type",
        /// Multicast or broadcast that no function serves.
        Multicast = 2 "multicast",
        /// A transport protocol that flows are not tracked of.
        Protocol = 3 "protocol",
        /// The punt ring was full.
        PuntRingFull = 4 "punt_ring_full",
        /// Too large to be handed to user space.
        PuntTooLarge = 5 "punt_too_large",
    }
}

reasons! {
    /// Why user space ended a packet's way without forwarding it.
    Drop {
        /// Shorter than the headers it announces, or a header that contradicts itself.
        Malformed = 0 "malformed",
        /// A checksum that is neither right nor the pseudo-header sum an offloading sender leaves.
        BadChecksum = 1 "bad_checksum",
        /// Nothing in the snapshot says what this port is for.
        UnknownPort = 2 "unknown_port",
        /// Source address or MAC is not the one the port's ENI, subnet or environment has.
        SourceCheck = 3 "source_check",
        /// ARP or NDP that claims an address which is not the sender's, or is from another MAC
        /// address than the sender's.
        NeighbourSpoof = 4 "neighbour_spoof",
        /// No route to the destination.
        NoRoute = 5 "no_route",
        /// The route leads to a resource that is gone.
        Blackhole = 6 "blackhole",
        /// The destination has no ENI, or the ENI has no port.
        NoDestination = 7 "no_destination",
        /// From outside, and no flow that it would answer.
        Unsolicited = 8 "unsolicited",
        /// A private source on its way out of an internet gateway.
        NoPublicAddress = 9 "no_public_address",
        /// A load balancer has no listener on this port.
        NoListener = 10 "no_listener",
        /// A target group without any target.
        NoTarget = 11 "no_target",
        /// Every external port toward this destination is leased.
        PortAllocation = 12 "port_allocation",
        /// The flow table is full.
        FlowTableFull = 13 "flow_table_full",
        /// The adjacency table is full.
        AdjacencyTableFull = 14 "adjacency_table_full",
        /// The next hop did not answer.
        NeighbourUnreachable = 15 "neighbour_unreachable",
        /// Too many packets already wait for the next hop.
        NeighbourQueueFull = 16 "neighbour_queue_full",
        /// A fragment that no sender makes: without data, not of a multiple of eight bytes though
        /// more follow, past the end of any datagram, or amid a TCP header.
        FragmentInvalid = 17 "fragment_invalid",
        /// An IPv6 extension header that is not walked over.
        ExtensionHeader = 18 "extension_header",
        /// TTL or hop limit ran out; the sender was told.
        TimeToLive = 19 "time_to_live",
        /// Larger than the outgoing port takes; the sender was told.
        TooBig = 20 "too_big",
        /// TCP that belongs to no flow and opens none; the sender got a RST.
        NoFlow = 21 "no_flow",
        /// Multicast, broadcast or a control message that no one here listens to.
        NotServed = 22 "not_served",
        /// The walk came by more functions than a flow may have.
        TooManyFunctions = 23 "too_many_functions",
        /// A protocol this function does not carry.
        Protocol = 24 "protocol",
        /// The port went away, or got another use, before the packet could leave.
        PortGone = 25 "port_gone",
        /// The tuple the packet would leave with belongs to another flow.
        TupleInUse = 26 "tuple_in_use",
        /// No security group of an interface on the way allows it.
        SecurityGroup = 27 "security_group",
        /// Routed to an interface that neither has the destination address nor forwards for others.
        DestinationCheck = 28 "destination_check",
        /// A fragment with bytes that another one of its datagram carries as well, and every
        /// later one of that datagram.
        FragmentOverlap = 29 "fragment_overlap",
        /// A fragment that waits already.
        FragmentDuplicate = 30 "fragment_duplicate",
        /// The first fragment of its datagram did not come in time.
        FragmentTimeout = 31 "fragment_timeout",
        /// Too many datagrams are under way in fragments; the oldest gave way.
        FragmentTableFull = 32 "fragment_table_full",
        /// Too many bytes wait for first fragments, or a datagram has too many parts.
        FragmentQueueFull = 33 "fragment_queue_full",
        /// The first fragment of its datagram did not go on, or its flow has ended since.
        FragmentRefused = 34 "fragment_refused",
        /// A NAT gateway on the way does not forward fragments of this protocol.
        FragmentPolicy = 35 "fragment_policy",
        /// The client holds as many ports as it may have.
        ClientQuota = 36 "client_quota",
        /// The client holds its share of the ports toward this destination, and the last ones are
        /// for others.
        FairShare = 37 "fair_share",
    }
}

/// How user space ended a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Sent on, rewritten.
    Forwarded,
    /// Kept until its next hop is known, or the way of the datagram it is a fragment of; another
    /// verdict follows.
    Queued,
    /// Taken by the gateway itself: an ARP or echo request it answered, a probe's reply.
    Consumed,
    /// Not sent on.
    Dropped(Drop),
}
