//! What an ICMP error is called in the other address family: RFC 7915, section 4.2, for those that
//! become ICMPv6, and section 5.2 for those that become ICMP.

use crate::engine::translation::GROWTH;
use crate::packet::IcmpErrorKind::{
    self, PacketTooBig, ParameterProblem, TimeExceeded, Unreachable,
};

/// What the links take that an error came by and leaves by, in bytes: the packet that it is about
/// went the other way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mtus {
    pub came: u16,
    pub leaves: u16,
}

/// RFC 8200, section 5: what every IPv6 link takes. Packets that are no larger may be fragmented once
/// they are translated, so no sender is asked for smaller ones.
const LEAST_IPV6_MTU: u32 = 1280;

/// RFC 1191, section 7: what links take, for routers that do not say it.
const PLATEAUS: [u16; 10] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

/// Codes of ICMP's "destination unreachable" (RFC 792, RFC 1122, section 3.2.2.1, and RFC 1812,
/// section 5.2.7.1).
mod icmp {
    pub(super) const HOST: u8 = 1;
    pub(super) const PROTOCOL: u8 = 2;
    pub(super) const PORT: u8 = 3;
    pub(super) const HOST_PROHIBITED: u8 = 10;
}

/// Codes of ICMPv6's (RFC 4443, section 3.1), and of "parameter problem" (section 3.4).
mod icmpv6 {
    pub(super) const NO_ROUTE: u8 = 0;
    pub(super) const PROHIBITED: u8 = 1;
    pub(super) const PORT: u8 = 4;
    pub(super) const ERRONEOUS_FIELD: u8 = 0;
    pub(super) const UNKNOWN_NEXT_HEADER: u8 = 1;
}

/// Where an IPv6 header says what follows it.
const NEXT_HEADER: u32 = 6;

/// An ICMP error as ICMPv6, about a packet that had so many bytes in IPv4; `None` if it has no like.
pub(super) fn to_icmpv6(
    kind: IcmpErrorKind,
    total_len: usize,
    mtus: Mtus,
) -> Option<IcmpErrorKind> {
    Some(match kind {
        Unreachable { code: icmp::PROTOCOL } => {
            ParameterProblem { code: icmpv6::UNKNOWN_NEXT_HEADER, pointer: NEXT_HEADER }
        }
        Unreachable { code: icmp::PORT } => Unreachable { code: icmpv6::PORT },
        Unreachable { code: 0 | 1 | 5..=8 | 11 | 12 } => Unreachable { code: icmpv6::NO_ROUTE },
        Unreachable { code: 9 | 10 | 13 | 15 } => Unreachable { code: icmpv6::PROHIBITED },
        PacketTooBig { mtu } => {
            let told = if mtu == 0 { plateau(total_len).into() } else { mtu };
            let least = told.min(mtus.came.into()).saturating_add(GROWTH.into());
            PacketTooBig { mtu: least.min(mtus.leaves.into()).max(LEAST_IPV6_MTU) }
        }
        TimeExceeded { code } => TimeExceeded { code },
        ParameterProblem { code: 0 | 2, pointer } => {
            ParameterProblem { code: icmpv6::ERRONEOUS_FIELD, pointer: pointer_in_ipv6(pointer)? }
        }
        Unreachable { .. } | ParameterProblem { .. } => return None,
    })
}

/// An ICMPv6 error as ICMP; `None` if it has no like.
pub(super) fn to_icmp(kind: IcmpErrorKind, mtus: Mtus) -> Option<IcmpErrorKind> {
    Some(match kind {
        Unreachable { code: 0 | 2 | 3 } => Unreachable { code: icmp::HOST },
        Unreachable { code: icmpv6::PROHIBITED } => Unreachable { code: icmp::HOST_PROHIBITED },
        Unreachable { code: icmpv6::PORT } => Unreachable { code: icmp::PORT },
        PacketTooBig { mtu } => {
            let least = mtu.min(mtus.came.into()).saturating_sub(GROWTH.into());
            PacketTooBig { mtu: least.min(mtus.leaves.into()) }
        }
        TimeExceeded { code } => TimeExceeded { code },
        ParameterProblem { code: icmpv6::ERRONEOUS_FIELD, pointer } => {
            ParameterProblem { code: 0, pointer: pointer_in_ipv4(pointer)? }
        }
        ParameterProblem { code: icmpv6::UNKNOWN_NEXT_HEADER, .. } => {
            Unreachable { code: icmp::PROTOCOL }
        }
        Unreachable { .. } | ParameterProblem { .. } => return None,
    })
}

/// RFC 1191, section 5: the greatest plateau that is less than the packet's length.
fn plateau(total_len: usize) -> u16 {
    let less = PLATEAUS.into_iter().find(|plateau| usize::from(*plateau) < total_len);
    less.unwrap_or(PLATEAUS[PLATEAUS.len() - 1])
}

/// RFC 7915, figure 3.
const fn pointer_in_ipv6(pointer: u32) -> Option<u32> {
    Some(match pointer {
        0 | 1 => pointer, // version, traffic class
        2 | 3 => 4,       // length
        8 => 7,           // hop limit
        9 => NEXT_HEADER,
        12..=15 => 8,  // source
        16..=19 => 24, // destination
        _ => return None,
    })
}

/// RFC 7915, figure 6.
const fn pointer_in_ipv4(pointer: u32) -> Option<u32> {
    Some(match pointer {
        0 | 1 => pointer, // version, type of service
        4 | 5 => 2,       // length
        NEXT_HEADER => 9,
        7 => 8,        // time to live
        8..=23 => 12,  // source
        24..=39 => 16, // destination
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHERNET: Mtus = Mtus { came: 1500, leaves: 1500 };

    fn too_big_v6(told: u32, total_len: usize, mtus: Mtus) -> Option<IcmpErrorKind> {
        to_icmpv6(PacketTooBig { mtu: told }, total_len, mtus)
    }

    #[test]
    fn every_code_of_unreachable_becomes_what_the_rfc_says() {
        let (no_route, prohibited) = (Unreachable { code: 0 }, Unreachable { code: 1 });
        for (code, expected) in [
            (0, Some(no_route)),
            (1, Some(no_route)),
            (2, Some(ParameterProblem { code: 1, pointer: 6 })),
            (3, Some(Unreachable { code: 4 })),
            (5, Some(no_route)),
            (6, Some(no_route)),
            (7, Some(no_route)),
            (8, Some(no_route)),
            (9, Some(prohibited)),
            (10, Some(prohibited)),
            (11, Some(no_route)),
            (12, Some(no_route)),
            (13, Some(prohibited)),
            (14, None),
            (15, Some(prohibited)),
            (16, None),
        ] {
            assert_eq!(to_icmpv6(Unreachable { code }, 60, ETHERNET), expected, "code {code}");
        }
        for (code, expected) in
            [(0, Some(1)), (1, Some(10)), (2, Some(1)), (3, Some(1)), (4, Some(3)), (5, None)]
        {
            let expected = expected.map(|code| Unreachable { code });
            assert_eq!(to_icmp(Unreachable { code }, ETHERNET), expected, "code {code}");
        }
    }

    #[test]
    fn an_mtu_is_told_in_the_senders_terms_and_never_more_than_its_links_take() {
        assert_eq!(too_big_v6(1400, 1500, ETHERNET), Some(PacketTooBig { mtu: 1420 }));
        assert_eq!(too_big_v6(1400, 1500, Mtus { came: 1300, leaves: 1500 }), {
            Some(PacketTooBig { mtu: 1320 })
        });
        assert_eq!(too_big_v6(1400, 1500, Mtus { came: 1500, leaves: 1350 }), {
            Some(PacketTooBig { mtu: 1350 })
        });
        assert_eq!(too_big_v6(576, 1500, ETHERNET), Some(PacketTooBig { mtu: 1280 }));
        assert_eq!(too_big_v6(u32::MAX, 1500, ETHERNET), Some(PacketTooBig { mtu: 1500 }));

        let v4 = |mtu, mtus| to_icmp(PacketTooBig { mtu }, mtus);
        assert_eq!(v4(1280, ETHERNET), Some(PacketTooBig { mtu: 1260 }));
        assert_eq!(v4(9000, ETHERNET), Some(PacketTooBig { mtu: 1480 }));
        assert_eq!(v4(0, ETHERNET), Some(PacketTooBig { mtu: 0 }));
        let jumbo = Mtus { came: 9000, leaves: 1500 };
        assert_eq!(v4(9000, jumbo), Some(PacketTooBig { mtu: 1500 }));
    }

    #[test]
    fn a_router_that_does_not_say_what_it_takes_gets_the_next_plateau() {
        assert_eq!(too_big_v6(0, 1500, ETHERNET), Some(PacketTooBig { mtu: 1500 }));
        let jumbo = Mtus { came: 9000, leaves: 9000 };
        assert_eq!(too_big_v6(0, 9000, jumbo), Some(PacketTooBig { mtu: 8186 }));
        assert_eq!(too_big_v6(0, 1493, jumbo), Some(PacketTooBig { mtu: 1512 }));
        assert_eq!((plateau(1492), plateau(60), plateau(0)), (1006, 68, 68));
    }

    #[test]
    fn pointers_point_at_the_same_field_or_at_none() {
        let v6 = |code, pointer| to_icmpv6(ParameterProblem { code, pointer }, 60, ETHERNET);
        let v4 = |code, pointer| to_icmp(ParameterProblem { code, pointer }, ETHERNET);
        for (pointer, expected) in
            [(0, 0), (1, 1), (2, 4), (3, 4), (8, 7), (9, 6), (12, 8), (15, 8), (16, 24), (19, 24)]
        {
            let expected = Some(ParameterProblem { code: 0, pointer: expected });
            assert_eq!((v6(0, pointer), v6(2, pointer)), (expected, expected), "{pointer}");
        }
        for pointer in [4, 5, 6, 7, 10, 11, 20] {
            assert_eq!(v6(0, pointer), None, "{pointer}");
        }
        assert_eq!(v6(1, 0), None, "a missing option");
        for (pointer, expected) in [
            (0, Some(0)),
            (1, Some(1)),
            (2, None),
            (3, None),
            (4, Some(2)),
            (5, Some(2)),
            (6, Some(9)),
            (7, Some(8)),
            (8, Some(12)),
            (23, Some(12)),
            (24, Some(16)),
            (39, Some(16)),
            (40, None),
        ] {
            let expected = expected.map(|pointer| ParameterProblem { code: 0, pointer });
            assert_eq!(v4(0, pointer), expected, "{pointer}");
        }
        assert_eq!(v4(1, 40), Some(Unreachable { code: 2 }));
        assert_eq!(v4(2, 40), None, "an unknown option");
    }

    #[test]
    fn time_that_ran_out_is_the_same_to_both() {
        for code in [0, 1] {
            let kind = TimeExceeded { code };
            assert_eq!(to_icmpv6(kind, 60, ETHERNET), Some(kind));
            assert_eq!(to_icmp(kind, ETHERNET), Some(kind));
        }
    }
}
