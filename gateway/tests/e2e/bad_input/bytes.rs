//! Frames with their bytes changed.

pub const ETHERNET: usize = 14;
pub const IPV4: usize = 20;
pub const IPV6: usize = 40;

/// A frame with some bytes replaced, counted from the IP header's start.
pub fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[ETHERNET + at..][..bytes.len()].copy_from_slice(bytes);
    frame
}

/// The same for an IPv4 frame, whose header's checksum is put right again.
pub fn with4(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = with(frame, at, bytes);
    set_header_checksum(&mut frame);
    frame
}

pub fn set_header_checksum(frame: &mut [u8]) {
    let header_len = usize::from(frame[ETHERNET] & 0x0f) * 4;
    let end = (ETHERNET + header_len).min(frame.len());
    frame[ETHERNET + 10..][..2].fill(0);
    let check = checksum(&frame[ETHERNET..end]);
    frame[ETHERNET + 10..][..2].copy_from_slice(&check.to_be_bytes());
}

/// RFC 1071.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The frame's first bytes: of its IP packet, this many.
pub fn cut(frame: &[u8], length: usize) -> Vec<u8> {
    frame[..ETHERNET + length].to_vec()
}

/// A frame of another type.
pub fn of_type(frame: &[u8], number: u16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[12..14].copy_from_slice(&number.to_be_bytes());
    frame
}

/// A frame with a VLAN tag of this type.
pub fn tagged(frame: &[u8], number: u16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let [high, low] = number.to_be_bytes();
    frame.splice(12..12, [high, low, 0, 5]);
    frame
}

/// A frame to another MAC address.
pub fn to_mac(mut frame: Vec<u8>, mac: [u8; 6]) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac);
    frame
}

/// An IPv6 frame with an extension header before its transport header.
pub fn extended(frame: &[u8], kind: u8, content: [u8; 7]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let next = std::mem::replace(&mut frame[ETHERNET + 6], kind);
    let payload_len = u16::from_be_bytes([frame[ETHERNET + 4], frame[ETHERNET + 5]]) + 8;
    frame[ETHERNET + 4..][..2].copy_from_slice(&payload_len.to_be_bytes());
    let header = [&[next], &content[..]].concat();
    frame.splice(ETHERNET + IPV6..ETHERNET + IPV6, header);
    frame
}
