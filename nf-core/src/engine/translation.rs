//! Packets of flows whose two ends have different address families, as far as user space sends them
//! on: the first ones, and what the fast path leaves to it.
//!
//! Their sizes differ on both sides, so what is reported to a sender is what its own packets may
//! have (RFC 7915, sections 4.2 and 5.2).

use super::Engine;
use super::carried::Carried;
use crate::action::{self, Action, ChecksumField, Offsets};
use crate::fast_path::FastPath;
use crate::id::PortId;
use crate::neighbour::Waiting;
use crate::packet::headers::IpHeaders;
use crate::packet::{IcmpErrorKind, MacAddr, checksum, ethernet, ipv4, ipv6};
use crate::time::Time;
use crate::tuple::FlowKey;
use crate::verdict::{Drop, Verdict};

/// What an IPv6 header is longer than one of IPv4, in bytes.
pub(super) const GROWTH: u16 = (ipv6::HEADER_LEN - ipv4::MIN_HEADER_LEN) as u16;

/// Code of ICMP's "destination unreachable": source route failed (RFC 792).
const SOURCE_ROUTE_FAILED: u8 = 5;

/// IPv4 options (RFC 791, section 3.1).
mod option {
    pub(super) const END: u8 = 0;
    pub(super) const NO_OPERATION: u8 = 1;
    pub(super) const LOOSE_SOURCE_ROUTE: u8 = 131;
    pub(super) const STRICT_SOURCE_ROUTE: u8 = 137;
}

/// One direction of such a flow, and a packet's place in it.
pub(super) struct AcrossFamilies<'a> {
    /// How its packets come in.
    pub key: &'a FlowKey,
    pub action: Action,
    pub identification: u16,
    /// Where they leave.
    pub port: PortId,
    /// What that takes, in bytes.
    pub mtu: u16,
}

impl AcrossFamilies<'_> {
    /// Length of a packet of that length once it is translated. Options go away.
    fn length_after(&self, ip: &IpHeaders, length: usize) -> usize {
        self.action.length_after(&self.key.tuple, length.saturating_sub(options(ip).len()))
    }

    /// The longest packet that its sender may send, in bytes.
    fn mtu_as_it_came(&self) -> u16 {
        if self.key.tuple.is_ipv4() {
            self.mtu.saturating_sub(GROWTH)
        } else {
            self.mtu.saturating_add(GROWTH)
        }
    }
}

impl Engine {
    /// Sends a packet on with the other family's header, or lets it wait for its next hop.
    pub(super) fn carry_across(
        &mut self,
        now: Time,
        across: &AcrossFamilies<'_>,
        mut carried: Carried<'_>,
        fast_path: &mut dyn FastPath,
    ) -> Verdict {
        let AcrossFamilies { key, action, identification, port, mtu } = *across;
        let on_the_wire = carried.on_the_wire();
        let is_too_big = across.length_after(carried.ip, on_the_wire) > usize::from(mtu)
            || across.length_after(carried.ip, carried.ip.total_len) > usize::from(u16::MAX);
        if is_too_big {
            let mtu = across.mtu_as_it_came();
            self.report_too_big(now, key.port, &carried.frame, mtu, fast_path);
            return Verdict::Dropped(Drop::TooBig);
        }
        if has_source_route(&carried.frame[options(carried.ip)]) {
            let kind = IcmpErrorKind::Unreachable { code: SOURCE_ROUTE_FAILED };
            self.report(now, key.port, &carried.frame, kind, fast_path);
            return Verdict::Dropped(Drop::NotServed);
        }
        let Some(adjacency) = self.adjacency(port, MacAddr::default()) else {
            return Verdict::Dropped(Drop::PortGone);
        };
        checksum::supply(carried.ip, &mut carried.frame);
        let offsets = Offsets { transport: carried.ip.l4_offset };
        let field = ChecksumField::Complete;
        let crossing = action::Crossing { offsets, field, on_the_wire, identification };
        action.translate(&adjacency, &mut carried.frame, &crossing);
        let frame = Waiting { frame: carried.frame, segment_size: carried.segment_size };
        self.send_or_wait(now, port, action.adjacency, frame, fast_path)
    }
}

/// Where the options of an IPv4 header stand. Packets with IPv6 extension headers end before.
fn options(ip: &IpHeaders) -> std::ops::Range<usize> {
    let fixed = if ip.is_ipv4() { ipv4::MIN_HEADER_LEN } else { ipv6::HEADER_LEN };
    (ethernet::HEADER_LEN + fixed).min(ip.l4_offset)..ip.l4_offset
}

/// RFC 7915, section 4.1: options are ignored, but "if an unexpired source route option is present,
/// then the packet MUST instead be discarded, and an `ICMPv4` "Destination Unreachable, Source Route
/// Failed" (Type 3, Code 5) error message SHOULD be returned to the sender".
fn has_source_route(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        match (*kind, rest) {
            (option::END, _) => return false,
            (option::NO_OPERATION, _) => options = rest,
            (kind, [length, pointer, ..]) if is_source_route(kind) && pointer <= length => {
                return true;
            }
            (_, [length, ..]) => {
                options = options.get(usize::from(*length).max(2)..).unwrap_or_default();
            }
            (_, []) => return false,
        }
    }
    false
}

const fn is_source_route(kind: u8) -> bool {
    matches!(kind, option::LOOSE_SOURCE_ROUTE | option::STRICT_SOURCE_ROUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_route_is_found_behind_other_options_unless_it_has_expired() {
        assert!(has_source_route(&[131, 7, 4, 10, 0, 0, 1, 0]));
        assert!(has_source_route(&[1, 1, 7, 3, 4, 137, 7, 4, 10, 0, 0, 1]));
        assert!(!has_source_route(&[131, 7, 8, 10, 0, 0, 1, 0]), "its pointer is past its end");
        assert!(!has_source_route(&[7, 7, 4, 131, 7, 4, 1, 0]), "inside of a record route");
        assert!(!has_source_route(&[0, 131, 7, 4]), "behind the end of the list");
        assert!(!has_source_route(&[148, 0, 131]) && !has_source_route(&[131]), "cut off");
        assert!(!has_source_route(&[]));
    }
}
