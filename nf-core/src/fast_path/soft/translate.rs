//! Which packets of translated flows the fast path translates itself.

use super::parse::Parsed;
use crate::action::ETHERNET_LEN;
use crate::packet::{checksum, ipv4, ipv6};
use crate::tuple::Protocol;

/// Whether a packet needs but another header. If not, user space knows what it needs.
pub(super) fn takes_but_a_header(parsed: &Parsed, frame: &[u8]) -> bool {
    let header = frame.get(ETHERNET_LEN..parsed.transport).unwrap_or_default();
    let fits = if parsed.tuple.is_ipv4() {
        // The new header has no checksum to stay wrong.
        header.len() == ipv4::MIN_HEADER_LEN && checksum::fold(checksum::sum(header)) == 0xffff
    } else {
        u16::try_from(parsed.ip_len - (ipv6::HEADER_LEN - ipv4::MIN_HEADER_LEN)).is_ok()
    };
    // RFC 7915, section 4.5: one that is missing has to be calculated.
    let has_checksum = parsed.tuple.protocol != Protocol::Udp
        || frame.get(parsed.transport + 6..parsed.transport + 8) != Some(&[0, 0]);
    fits && has_checksum
}
