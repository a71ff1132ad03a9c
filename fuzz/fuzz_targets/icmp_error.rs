//! Answers to any frame: an error, a reset or an echo reply is sound, goes back to where the frame
//! came from, and is never answered itself where that could go on for ever.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use halfspace_fuzz::AnyFrame;
use libfuzzer_sys::fuzz_target;
use nf_core::packet::build::{echo_reply, icmp_error, tcp_reset};
use nf_core::packet::{Fragment, Headers, IcmpErrorKind, IpHeaders, L4Checksum, Quoted, checksum};

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe));

fuzz_target!(|input: (u8, u32, AnyFrame)| {
    let (choice, number, AnyFrame(frame)) = input;
    let frame = &frame[..];
    let code = number as u8;
    let kind = match choice % 4 {
        0 => IcmpErrorKind::Unreachable { code },
        1 => IcmpErrorKind::PacketTooBig { mtu: number },
        2 => IcmpErrorKind::TimeExceeded { code },
        _ => IcmpErrorKind::ParameterProblem { code, pointer: number },
    };
    for gateway in [GATEWAY, GATEWAY6] {
        if let Some(error) = icmp_error(frame, kind, gateway) {
            let (original, ip) = (parse(frame), check(&error, frame));
            assert_eq!(ip.src, gateway);
            assert_eq!(gateway.is_ipv4(), original.is_ipv4());
            assert!(!matches!(original.fragment, Fragment::Later { .. }));
            let limit = if gateway.is_ipv4() { 576 } else { 1280 };
            assert!(ip.total_len <= limit);
            let quote = &error[ip.l4_offset + 8..];
            assert_eq!(quote, &frame[original.l3_offset..][..quote.len()]);
            if let Ok(quoted) = Quoted::parse(&ip, &error) {
                assert_eq!((quoted.src, quoted.dst), (original.src, original.dst));
            }
            assert_eq!(icmp_error(&error, kind, gateway), None, "an error about an error");
        }
    }
    if let Some(reset) = tcp_reset(frame) {
        check(&reset, frame);
        assert_eq!(tcp_reset(&reset), None, "a reset of a reset");
    }
    if let Some(reply) = echo_reply(frame) {
        check(&reply, frame);
        assert_eq!(echo_reply(&reply), None, "a reply to a reply");
    }
});

fn parse(frame: &[u8]) -> IpHeaders {
    *Headers::parse(frame).expect("well-formed").ip().expect("IP")
}

fn check(answer: &[u8], frame: &[u8]) -> IpHeaders {
    let (ip, original) = (parse(answer), parse(frame));
    assert_eq!(checksum::verify(&ip, answer), L4Checksum::Correct);
    assert!(checksum::ipv4_header_is_correct(&ip, answer));
    assert_eq!(ip.dst, original.src);
    assert_eq!((&answer[..6], &answer[6..12]), (&frame[6..12], &frame[..6]));
    assert_eq!(ip.end(), answer.len());
    assert!(!original.source_is_impossible());
    ip
}
