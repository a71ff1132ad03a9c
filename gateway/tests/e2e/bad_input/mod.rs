//! Frames that no stack would send: each ends in one counted verdict with its reason, and a
//! download beside them never notices.

mod bytes;
mod malformed;
mod strays;

use std::time::Duration;

use halfspace_testbed::programs::{Echo, Nginx};
use halfspace_testbed::wait_until;
use nf_core::packet::{Frame, Headers};

use self::bytes::{ETHERNET, IPV4, set_header_checksum};
use crate::harness::{Datapath, Family, LAN, Office, SOON, Wire, converse, curl, eventually, url};

on_each_datapath!(what_is_odd_but_allowed_is_carried, a_packet_too_large_for_its_way_is_told_of,);

/// Where the counter of a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// In the fast path.
    Fast(&'static str),
    /// In the engine.
    Engine(&'static str),
}

use Ends::{Engine, Fast};

impl Ends {
    fn count(self, office: &Office) -> u64 {
        match self {
            Fast(reason) => office.gateway.fast_drops(reason),
            Engine(reason) => office.gateway.engine_drops(reason),
        }
    }

    /// Whether hosts send such frames by themselves, so that only a lower bound can be told.
    fn has_noise(self) -> bool {
        matches!(self, Fast("multicast" | "protocol") | Engine("not_served"))
    }
}

/// Sends each frame twice and waits for the counter to have grown by two.
#[track_caller]
fn expect<const N: usize>(office: &Office, wire: &Wire, ends: Ends, cases: [(&str, Vec<u8>); N]) {
    for (name, frame) in cases {
        let before = ends.count(office);
        wire.send(&frame);
        wire.send(&frame);
        let mut grown = 0;
        let counted = wait_until(SOON, name, || {
            grown = ends.count(office) - before;
            grown >= 2
        });
        assert!(counted.is_ok(), "{name}: {ends:?} grew by {grown}: {:?}", drops(office));
        assert!(grown == 2 || ends.has_noise(), "{name}: {ends:?} grew by {grown}");
    }
}

/// Everything that was dropped so far, for a failure's message.
fn drops(office: &Office) -> Vec<String> {
    let page = office.gateway.page("/metrics").body;
    let of_interest = |line: &&str| {
        line.starts_with("halfspace_") && line.contains("_packets_total{") && !line.ends_with(" 0")
    };
    page.lines().filter(of_interest).map(str::to_owned).collect()
}

/// An office with a slow download that is to outlast the body of a test.
fn with_a_download(name: &str, datapath: Datapath, document: &str, body: impl FnOnce(&Office)) {
    let mut office = Office::lay_out(name, datapath);
    let printer = office.bed.namespace("printer").unwrap();
    office.bed.veth((&office.gateway.namespace, "printer0"), (&printer, "eth0")).unwrap();
    office.gateway.start(document);
    let server = Family::V4.server_at(80);
    let _web = Nginx::start(&office.internet, &[server], "fine").unwrap();
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let mut streams = Family::BOTH.map(|it| converse(&office.client, it.server_at(7)).unwrap());
    let blob = url(server, "/blob?rate=700k");
    let mut download = office.client.spawn(["curl", "-sS", "--max-time", "60", &blob]).unwrap();
    eventually("the download to begin", || !download.stdout().is_empty());

    body(&office);

    for stream in &mut streams {
        stream.echo("undisturbed").unwrap();
    }
    assert_eq!(curl(&office.client, &[&url(server, "/")]).stdout, "fine");
    let output = download.success(Duration::from_mins(1)).unwrap();
    assert_eq!(output.stdout.len(), 4 << 20);
    assert!(office.gateway.is_running());
    office.gateway.assert_packets_add_up();
    drop(echoes);
}

/// Options are no reason to refuse a packet, what stands behind its end is padding, and UDP over
/// IPv4 may go without a checksum (RFC 768).
fn what_is_odd_but_allowed_is_carried(datapath: Datapath) {
    let office = Office::open("bad-options", datapath);
    let wire = Wire::open(&office.client, "eth0", &office.gateway.namespace, LAN);
    let echoes = Family::BOTH.map(|it| Echo::start(&office.internet, it.server_at(7)).unwrap());
    let datagram = |family: &Family, port| {
        Frame::udp(family.client_at(port), family.server_at(7))
            .macs(wire.mac, wire.peer)
            .payload(*b"carried")
            .build()
    };
    let is_carried = |frame: &[u8], port: u16| {
        wire.is_answered(frame, |frame| {
            let tuple = Headers::parse(frame).ok().and_then(|headers| headers.ip()?.tuple());
            tuple.is_some_and(|it| it.dst.port() == port && frame.ends_with(b"carried"))
        })
    };
    // Three times "no operation", then the end of the list (RFC 791, section 3.1).
    let mut with_options = datagram(&Family::V4, 50_001);
    with_options[ETHERNET] = 0x46;
    with_options[ETHERNET + 3] += 4;
    with_options.splice(ETHERNET + IPV4..ETHERNET + IPV4, [1, 1, 1, 0]);
    set_header_checksum(&mut with_options);
    // Twice: by the engine, then by the flow's entry.
    for _ in 0..2 {
        assert!(is_carried(&with_options, 50_001), "{:?}", drops(&office));
    }
    for (port, family) in (50_002..).zip(Family::BOTH) {
        let mut padded = datagram(&family, port);
        padded.extend([0xee; 60]);
        for _ in 0..2 {
            assert!(is_carried(&padded, port), "{:?}", drops(&office));
        }
    }
    let unsummed = Frame::udp(Family::V4.client_at(50_004), Family::V4.server_at(7))
        .macs(wire.mac, wire.peer)
        .payload(*b"carried")
        .no_checksum()
        .build();
    for _ in 0..2 {
        assert!(is_carried(&unsummed, 50_004), "{:?}", drops(&office));
    }
    for echo in &echoes {
        assert!(
            echo.peers().iter().all(|peer| Family::BOTH.iter().any(|it| it.public == peer.ip()))
        );
    }
    assert_eq!(echoes.iter().map(|echo| echo.peers().len()).sum::<usize>(), 8);
}

/// A LAN of jumbo frames before an uplink that takes none.
fn a_packet_too_large_for_its_way_is_told_of(datapath: Datapath) {
    let mut office = Office::lay_out("bad-large", datapath);
    office.gateway.namespace.ip([format!("link set {LAN} mtu 9000")]).unwrap();
    office.client.ip(["link set eth0 mtu 9000"]).unwrap();
    office.gateway.start(&Office::resources("", ""));
    let wire = Wire::open(&office.client, "eth0", &office.gateway.namespace, LAN);
    for (round, family) in (1..).zip(Family::BOTH) {
        let large = Frame::udp(family.client_at(50_000), family.server_at(7))
            .macs(wire.mac, wire.peer)
            .payload([0x55; 4000])
            .build();
        for packet in 1..=2 {
            let told = wire.is_answered(&large, |frame| {
                let Ok(headers) = Headers::parse(frame) else { return false };
                headers.ip().is_some_and(|ip| {
                    let mtu = frame.get(ip.l4_offset + 4..ip.l4_offset + 8);
                    // RFC 1191, section 4, and RFC 4443, section 3.2: where the next hop's MTU is.
                    let says = mtu == Some(&1500_u32.to_be_bytes());
                    let code = frame.get(ip.l4_offset..ip.l4_offset + 2);
                    let expected = if ip.is_ipv4() { [3, 4] } else { [2, 0] };
                    ip.dst == family.client && says && code == Some(&expected)
                })
            });
            assert!(told, "{:?}", drops(&office));
            let dropped = office.gateway.engine_drops("too_big");
            assert_eq!(dropped, (round - 1) * 2 + packet);
        }
    }
}
