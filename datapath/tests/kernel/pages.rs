//! Packets whose headers lie outside the linear part of their buffer, as drivers that receive into
//! pages deliver them.

use std::fs::OpenOptions;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use datapath::HookWish;
use nf_core::fast_path::soft::{Decision, FrameMeta, SoftFastPath};
use nf_core::fast_path::{FastPath, PortPolicy};
use nf_core::id::{FlowId, PortId};
use nf_core::tuple::Protocol;
use socket2::{Domain, Socket, Type};

use crate::lab::{Lab, TO_SERVER, families, install, mixed};

const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const IFF_TAP: i16 = 0x0002;
const IFF_NAPI: i16 = 0x0010;
const IFF_NAPI_FRAGS: i16 = 0x0020;
const IFF_NO_PI: i16 = 0x1000;

/// A tap that puts every slice of a vectored write but the first into a page of its own.
fn tap(name: &str) -> io::Result<std::fs::File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: an `ifreq` of zeros is one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = IFF_TAP | IFF_NAPI | IFF_NAPI_FRAGS | IFF_NO_PI;
    // SAFETY: TUNSETIFF reads and writes the `ifreq` it is given.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// Reads frames off a link until one satisfies `wanted`.
fn capture(socket: &Socket, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 4096];
    for _ in 0..100 {
        let length = io::Read::read(&mut &*socket, &mut buffer).ok()?;
        if wanted(&buffer[..length]) {
            return Some(buffer[..length].to_vec());
        }
    }
    None
}

#[test]
fn headers_in_pages_are_rewritten_like_any_others() {
    let Some(mut lab) = Lab::new("pages", [HookWish::Tc; 2]) else { return };
    let Lab { gateway, server, datapath, ports, .. } = &mut lab;
    let listening = server
        .enter(|| {
            let everything = i32::from((libc::ETH_P_ALL as u16).to_be());
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(everything.into())).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket
        })
        .unwrap();
    let mut tap = gateway.enter(|| tap("t0")).unwrap().unwrap();
    // GRO would pull the headers out of the pages while it looks for what to merge.
    gateway.offload("t0", [("gro", false)]).unwrap();
    gateway.ip(["link set t0 up"]).unwrap();
    let port = PortId::new(gateway.link_index("t0").unwrap()).unwrap();
    gateway.enter(|| datapath.attach(port, "t0", HookWish::Auto)).unwrap().unwrap();

    let mut soft = SoftFastPath::new(1);
    let next_hop = datapath.recover(&mut |_, _| {}).unwrap();
    let (_, next_hop) = next_hop.into_iter().find(|(slot, _)| *slot == TO_SERVER).unwrap();
    soft.set_adjacency(TO_SERVER, Some(next_hop));
    let [v4, v6] = families();
    for (family, id) in [v4, v6, mixed()].into_iter().zip(0..) {
        let there = family.there(port, Protocol::Udp, 9, 600 + id);
        for fast_path in [&mut soft as &mut dyn FastPath, datapath.fast_path()] {
            fast_path.add_port(port, PortPolicy::default());
            install(fast_path, [port, ports[1]], FlowId(900 + u32::from(id)), there);
            fast_path.flush();
        }
        let sent = datagram(&there.0.tuple, b"headers in pages");
        // The first slice is all that is linear: the Ethernet header, or less than an IP header.
        for linear in [14, 20, 40, 50] {
            let mut expected = sent.clone();
            let decision = soft.process(port, &mut expected, FrameMeta::default());
            assert_eq!(decision, Decision::Forward(ports[1]));
            let slices = [&sent[..linear], &sent[linear..=linear], &sent[linear + 1..]];
            let written = tap.write_vectored(&slices.map(IoSlice::new)).unwrap();
            assert_eq!(written, sent.len());
            let to_server = |frame: &[u8]| frame[..12] == expected[..12];
            let got = capture(&listening, to_server);
            assert_eq!(got.as_deref(), Some(expected.as_slice()), "{linear} bytes linear");
        }
    }
    assert_eq!(datapath.statistics().unwrap().forwarded, 12);
}

/// A UDP datagram of a tuple, checksums right.
fn datagram(tuple: &nf_core::tuple::Tuple, payload: &[u8]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1]);
    let builder = match (tuple.src.ip(), tuple.dst.ip()) {
        (std::net::IpAddr::V4(src), std::net::IpAddr::V4(dst)) => {
            builder.ipv4(src.octets(), dst.octets(), 64)
        }
        (std::net::IpAddr::V6(src), std::net::IpAddr::V6(dst)) => {
            builder.ipv6(src.octets(), dst.octets(), 64)
        }
        _ => unreachable!("a tuple is of one family"),
    };
    let builder = builder.udp(tuple.src.port(), tuple.dst.port());
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}
