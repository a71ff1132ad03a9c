//! Any super-packet: its segments are sound, small enough, and together carry what it carried.

#![no_main]

use halfspace_fuzz::AnyFrame;
use libfuzzer_sys::fuzz_target;
use nf_core::packet::build::segment;
use nf_core::packet::{Headers, IpHeaders, L4Checksum, TcpFlags, Transport, checksum};

fuzz_target!(|input: (u16, AnyFrame)| {
    let (gso_size, AnyFrame(frame)) = input;
    let segments = segment(&frame, usize::from(gso_size));
    assert!(!segments.is_empty());
    if segments.len() == 1 {
        assert!(segments[0].len() <= frame.len());
        return;
    }
    let whole = parse(&frame);
    let header_len = frame.len() - payload(&frame, &whole).len() - (frame.len() - whole.end());
    let mut carried: Vec<u8> = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let ip = parse(segment);
        let found = checksum::verify(&ip, segment);
        assert!(matches!(found, L4Checksum::Correct | L4Checksum::Absent), "{found:?}");
        assert!(checksum::ipv4_header_is_correct(&ip, segment));
        assert_eq!((ip.src, ip.dst, ip.ttl), (whole.src, whole.dst, whole.ttl));
        assert_eq!(ip.tuple(), whole.tuple());
        assert!(segment.len() <= header_len + usize::from(gso_size));
        let is_last = index + 1 == segments.len();
        if let (Transport::Tcp { seq, flags, .. }, Transport::Tcp { seq: first, .. }) =
            (ip.transport, whole.transport)
        {
            assert_eq!(seq, first.wrapping_add(carried.len() as u32));
            assert!(is_last || !flags.intersects(TcpFlags::FIN | TcpFlags::PSH));
        }
        assert!(is_last || payload(segment, &ip).len() == usize::from(gso_size));
        carried.extend(payload(segment, &ip));
    }
    assert_eq!(carried, payload(&frame, &whole));
});

fn parse(frame: &[u8]) -> IpHeaders {
    *Headers::parse(frame).expect("well-formed").ip().expect("IP")
}

fn payload<'a>(frame: &'a [u8], ip: &IpHeaders) -> &'a [u8] {
    let header_len = match ip.transport {
        Transport::Tcp { header_len, .. } => header_len,
        _ => 8,
    };
    &ip.transport_bytes(frame)[header_len..]
}
