//! Numbers for what the document gives none: ids of managed interfaces, attachments and default
//! groups, MAC addresses of attached interfaces.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::packet::MacAddr;

/// A hash of texts. It has no key on purpose: another gateway with the same document must come to
/// the same numbers.
pub(super) fn hash_of(parts: &[&str]) -> u64 {
    let mut hasher = SipHasher24::new();
    for part in parts {
        hasher.write(part.as_bytes());
        hasher.write(b"|");
    }
    hasher.finish()
}

/// A locally administered MAC address of one host (IEEE 802-2014, 8.4), as EC2's are.
pub(super) fn mac_of(id: &str) -> MacAddr {
    let [_, second, rest @ ..] = hash_of(&["mac", id]).to_be_bytes();
    let [third, fourth, fifth, sixth, _] = [rest[0], rest[1], rest[2], rest[3], rest[4]];
    MacAddr([0x02, second, third, fourth, fifth, sixth])
}
