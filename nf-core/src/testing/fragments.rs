//! Packets in fragments, made by the RFCs and by no code of the gateway's.

use super::checksum::reference_checksum;

/// An Ethernet frame as fragments with this identification and `size` bytes of its transport header
/// and data each, the last with the rest. Without padding; of IPv4 with routers allowed to cut it
/// further (RFC 791, section 3.2; RFC 8200, section 4.5).
///
/// # Panics
/// If it is no IPv4 packet without options and no IPv6 packet without extension headers, or if
/// `size` is no multiple of eight.
#[must_use]
pub fn in_fragments(frame: &[u8], size: usize, identification: u32) -> Vec<Vec<u8>> {
    assert!(size > 0 && size.is_multiple_of(8), "offsets count in eights, not by {size}");
    let (header, is_ipv4) = match frame.get(12..15) {
        Some([0x08, 0x00, 0x45]) => (34, true),
        Some([0x86, 0xdd, _]) => (54, false),
        _ => panic!("no IP packet: {frame:02x?}"),
    };
    let data: Vec<_> = frame[header..].chunks(size).collect();
    let part = |(n, chunk): (usize, &&[u8])| {
        let (offset, more) = (n * size, n + 1 < data.len());
        let mut part = frame[..header].to_vec();
        if is_ipv4 {
            let flags_offset = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
            part[16..18].copy_from_slice(&((20 + chunk.len()) as u16).to_be_bytes());
            part[18..20].copy_from_slice(&(identification as u16).to_be_bytes());
            part[20..22].copy_from_slice(&flags_offset.to_be_bytes());
            part[24..26].fill(0);
            let check = reference_checksum(&part[14..34]);
            part[24..26].copy_from_slice(&check.to_be_bytes());
        } else {
            part[18..20].copy_from_slice(&((8 + chunk.len()) as u16).to_be_bytes());
            part.extend([part[20], 0]);
            part[20] = 44;
            part.extend((offset as u16 | u16::from(more)).to_be_bytes());
            part.extend(identification.to_be_bytes());
        }
        part.extend(*chunk);
        part
    };
    data.iter().enumerate().map(part).collect()
}

/// The identification in a frame that is IPv4 or an IPv6 fragment.
///
/// # Panics
/// If the frame is neither.
#[must_use]
pub fn identification_of(frame: &[u8]) -> u32 {
    match (frame.get(12..15), frame.get(20)) {
        (Some([0x08, 0x00, 0x45]), _) => u32::from(u16::from_be_bytes([frame[18], frame[19]])),
        (Some([0x86, 0xdd, _]), Some(44)) => {
            u32::from_be_bytes([frame[58], frame[59], frame[60], frame[61]])
        }
        _ => panic!("no identification: {frame:02x?}"),
    }
}
