//! Any bytes through everything that reads a frame. Nothing may panic, and what parses must hold
//! together.

#![no_main]

use halfspace_fuzz::AnyFrame;
use libfuzzer_sys::fuzz_target;
use nf_core::packet::{
    Arp, Content, Ethernet, Headers, Icmp, IpHeaders, Ipv4, Ipv6, L4Checksum, MacAddr,
    NeighbourMessage, Quoted, Tcp, Transport, Udp, checksum,
};

fuzz_target!(|frame: AnyFrame| {
    let frame = &frame.0[..];
    read_as_everything(frame);
    let Ok(headers) = Headers::parse(frame) else { return };
    match headers.content {
        Content::Ip(ip) => check(&ip, frame),
        Content::Arp => assert!(Arp::new_checked(&frame[14..]).is_ok()),
        Content::Other(_) => {}
    }
    rewrite(frame, &headers);
});

/// Every view over the same bytes, whatever they are: after `new_checked` no accessor panics.
fn read_as_everything(bytes: &[u8]) {
    if let Ok(view) = Ethernet::new_checked(bytes) {
        std::hint::black_box((view.src(), view.dst(), view.ether_type(), view.payload()));
    }
    if let Ok(view) = Arp::new_checked(bytes) {
        std::hint::black_box((view.operation(), view.sender_mac(), view.sender_ip()));
        std::hint::black_box((view.target_mac(), view.target_ip()));
    }
    for view in [Ipv4::new_checked(bytes), Ipv4::new_quoted(bytes)].into_iter().flatten() {
        std::hint::black_box((view.src(), view.dst(), view.ttl(), view.protocol()));
        std::hint::black_box((view.fragment(), view.checksum_is_correct()));
        assert!(view.header_len() + view.payload().len() <= bytes.len());
    }
    for view in [Ipv6::new_checked(bytes), Ipv6::new_quoted(bytes)].into_iter().flatten() {
        std::hint::black_box((view.src(), view.dst(), view.hop_limit(), view.flow_label()));
        if let Ok(upper) = view.upper_layer() {
            assert!(upper.offset <= 40 + view.payload().len());
        }
    }
    if let Ok(view) = Tcp::new_checked(bytes) {
        std::hint::black_box((view.src_port(), view.dst_port(), view.mss(), view.seq_len()));
        assert_eq!(view.header_len() + view.payload().len(), bytes.len());
    }
    for view in [Udp::new_checked(bytes), Udp::new_first_fragment(bytes)].into_iter().flatten() {
        std::hint::black_box((view.src_port(), view.dst_port(), view.payload()));
    }
    if let Ok(view) = Icmp::new_checked(bytes) {
        std::hint::black_box((view.id(), view.seq(), view.rest(), view.payload()));
    }
}

fn check(ip: &IpHeaders, frame: &[u8]) {
    assert!(ip.l3_offset < ip.l4_offset && ip.l4_offset <= ip.end() && ip.end() <= frame.len());
    assert_eq!(ip.src.is_ipv4(), ip.dst.is_ipv4());
    if let Some(tuple) = ip.tuple() {
        assert_eq!(tuple.reversed().reversed(), tuple);
        assert_eq!(tuple.protocol.number(), ip.protocol);
    }
    std::hint::black_box((ip.source_is_impossible(), NeighbourMessage::parse(ip, frame).is_ok()));
    if let Ok(quoted) = Quoted::parse(ip, frame) {
        assert!(quoted.l3_offset < quoted.l4_offset && quoted.l4_offset + 8 <= quoted.end);
        assert!(quoted.end <= ip.end());
    }
    let found = checksum::verify(ip, frame);
    let mut completed = frame.to_vec();
    let was_partial = checksum::complete(ip, &mut completed);
    match found {
        L4Checksum::PseudoHeaderOnly => {
            assert!(was_partial);
            assert_eq!(checksum::verify(ip, &completed), L4Checksum::Correct);
        }
        // It can be the sum of the pseudo-header as well, by chance.
        L4Checksum::Correct => {
            assert_eq!(checksum::verify(ip, &completed), L4Checksum::Correct);
        }
        L4Checksum::Absent | L4Checksum::Wrong | L4Checksum::Unchecked => {
            assert_eq!(completed, frame);
        }
    }
}

/// Every setter: it changes what it says, and the frame still parses.
fn rewrite(frame: &[u8], headers: &Headers) {
    let mut frame = frame.to_vec();
    let mac = MacAddr([2, 0, 0, 0, 0, 9]);
    if let Ok(mut view) = Ethernet::new_checked(&mut frame) {
        view.set_src(mac);
        view.set_dst(mac);
    }
    let Some(ip) = headers.ip() else { return };
    if let Ok(mut view) = Ipv4::new_checked(&mut frame[ip.l3_offset..])
        && ip.is_ipv4()
    {
        view.set_src([10, 0, 0, 1].into());
        view.set_dst([10, 0, 0, 2].into());
        view.set_ttl(3);
        view.fill_checksum();
        assert!(view.checksum_is_correct());
    } else if let Ok(mut view) = Ipv6::new_checked(&mut frame[ip.l3_offset..]) {
        view.set_src(std::net::Ipv6Addr::LOCALHOST);
        view.set_dst(std::net::Ipv6Addr::LOCALHOST);
        view.set_traffic_class(0xff);
        view.set_hop_limit(3);
    }
    let transport = &mut frame[ip.l4_offset..ip.end()];
    match ip.transport {
        Transport::Tcp { .. } => {
            let mut view = Tcp::new_checked(transport).expect("the summary found TCP");
            let mss = view.mss();
            let delta = view.clamp_mss(536);
            assert_eq!(delta.is_some(), mss.is_some_and(|mss| mss > 536));
            assert_eq!(view.mss(), mss.map(|mss| mss.min(536)));
            view.set_src_port(1);
            view.set_dst_port(2);
            view.set_checksum(3);
        }
        Transport::Udp { .. } => {
            let mut view = Udp::new_first_fragment(transport).expect("the summary found UDP");
            view.set_src_port(1);
            view.set_dst_port(2);
            view.set_checksum(3);
        }
        Transport::Echo { .. } => {
            let mut view = Icmp::new_checked(transport).expect("the summary found ICMP");
            view.set_id(1);
            view.set_checksum(2);
        }
        _ => {}
    }
    let again = Headers::parse(&frame).expect("setters keep a frame well-formed");
    assert_eq!(again.src_mac, mac);
    assert_eq!(again.ip().map(|again| (again.ttl, again.end())), Some((3, ip.end())));
}
