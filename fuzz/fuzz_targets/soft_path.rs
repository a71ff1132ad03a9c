//! Any packets, in any order, through the reference fast path and, where it does not forward them,
//! through the engine with every function. Nothing may panic, what is forwarded or sent must be
//! sound, the counters must add up after every step, and in the end everything must be given back.

#![no_main]

#[path = "soft_path/world.rs"]
mod world;

use std::net::{IpAddr, SocketAddr};

use arbitrary::Arbitrary;
use halfspace_fuzz::AnyFrame;
use libfuzzer_sys::fuzz_target;
use nf_core::action::ChecksumField;
use nf_core::fast_path::soft::FrameMeta;
use nf_core::packet::{Frame, MacAddr, TcpFlags};
use nf_core::tuple::{Protocol, Tuple};
use nf_core::verdict::Punt;

use world::{PORTS, World};

#[derive(Arbitrary, Debug)]
enum Step {
    /// Any frame.
    Any { port: u8, meta: Meta, frame: AnyFrame },
    /// Any frame, straight to the engine.
    Punted { port: u8, reason: u8, meta: Meta, frame: AnyFrame },
    /// A well-formed packet between addresses that mean something here.
    Packet { port: u8, from: Peer, to: Peer, kind: Kind, details: Details },
    /// The answer to the packet that left last.
    Answer { details: Details },
    /// Time passes.
    Pause { milliseconds: u16, times: u8 },
    /// The same desired state again, as the next generation.
    Reload,
}

#[derive(Arbitrary, Debug)]
struct Meta {
    segment_size: u16,
    partial: bool,
}

#[derive(Arbitrary, Debug)]
struct Peer {
    address: u8,
    port: u8,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Tcp,
    Udp,
    Echo,
}

/// What packets of one conversation differ in.
#[derive(Arbitrary, Debug)]
struct Details {
    tcp_flags: u8,
    ttl: u8,
    payload: u16,
    meta: Meta,
    /// Or-ed in at an offset; zero changes nothing.
    damage: (u8, u8),
}

/// Addresses of hosts, of functions and of the gateway itself.
const ADDRESSES: [&str; 18] = [
    "198.51.100.7",
    "203.0.113.1",
    "203.0.113.2",
    "203.0.113.10",
    "203.0.113.20",
    "10.0.0.20",
    "10.0.1.1",
    "10.0.1.10",
    "10.0.1.20",
    "10.0.2.20",
    "10.0.2.21",
    "169.254.76.2",
    "2001:db8:7::7",
    "2001:db8::1",
    "2001:db8::10",
    "fd00:a:0:1::10",
    "fd00:a:0:1::20",
    "fd00:a:0:2::20",
];

/// Those of listeners, of targets, of leases, and others.
const TRANSPORT_PORTS: [u16; 8] = [80, 53, 8080, 5000, 5001, 40_000, 0, 65_535];

fuzz_target!(|steps: Vec<Step>| {
    let mut world = World::new();
    for step in steps {
        take(&mut world, step);
        world.check_counters();
    }
    world.end();
});

fn take(world: &mut World, step: Step) {
    match step {
        Step::Any { port, meta, frame } => {
            world.receive(pick(&PORTS, port), &frame.0, meta.into());
        }
        Step::Punted { port, reason, meta, frame } => {
            world.punt(pick(&PORTS, port), pick(Punt::ALL, reason), meta.into(), &frame.0);
        }
        Step::Packet { port, from, to, kind, details } => {
            let (src, dst) = (from.socket_address(), to.socket_address());
            let protocol = match kind {
                Kind::Tcp => Protocol::Tcp,
                Kind::Udp => Protocol::Udp,
                Kind::Echo if src.is_ipv4() => Protocol::Icmp,
                Kind::Echo => Protocol::Icmpv6,
            };
            let port = pick(&PORTS, port);
            let frame = details.build(Tuple { protocol, src, dst });
            world.receive(port, &frame, details.meta.into());
        }
        Step::Answer { details } => {
            let Some((port, tuple)) = world.last_out() else { return };
            world.receive(port, &details.build(tuple.reversed()), details.meta.into());
        }
        Step::Pause { milliseconds, times } => {
            world.pause(u64::from(milliseconds) * u64::from(times));
        }
        Step::Reload => world.reload(),
    }
}

impl Details {
    fn build(&self, tuple: Tuple) -> Vec<u8> {
        let Tuple { protocol, src, dst } = tuple;
        let payload = vec![0xa5; usize::from(self.payload)];
        let macs = (MacAddr([2, 0, 0, 0, 0, 0x0a]), MacAddr([2, 0, 0, 0, 1, 0]));
        let mut frame = match protocol {
            Protocol::Tcp => {
                let frame = Frame::tcp(src, dst).flags(TcpFlags(self.tcp_flags)).ttl(self.ttl);
                let frame = frame.macs(macs.0, macs.1).payload(payload);
                if self.meta.partial { frame.partial_checksum() } else { frame }.build()
            }
            Protocol::Udp => {
                let frame = Frame::udp(src, dst).ttl(self.ttl);
                let frame = frame.macs(macs.0, macs.1).payload(payload);
                if self.meta.partial { frame.partial_checksum() } else { frame }.build()
            }
            Protocol::Icmp | Protocol::Icmpv6 => {
                let (src_ip, dst_ip) = (src.ip(), dst.ip());
                let frame = if dst.port() == 0 {
                    Frame::echo_request(src_ip, dst_ip, src.port(), 1)
                } else {
                    Frame::echo_reply(src_ip, dst_ip, dst.port(), 1)
                };
                frame.ttl(self.ttl).macs(macs.0, macs.1).payload(payload).build()
            }
        };
        if let Some(byte) = frame.get_mut(usize::from(self.damage.0)) {
            *byte |= self.damage.1;
        }
        frame
    }
}

impl Peer {
    fn socket_address(&self) -> SocketAddr {
        let ip: IpAddr = pick(&ADDRESSES, self.address).parse().expect("an address");
        SocketAddr::new(ip, pick(&TRANSPORT_PORTS, self.port))
    }
}

impl From<Meta> for FrameMeta {
    fn from(meta: Meta) -> Self {
        let checksum = if meta.partial { ChecksumField::Partial } else { ChecksumField::Complete };
        Self { segment_size: meta.segment_size, checksum }
    }
}

fn pick<T: Copy>(from: &[T], index: u8) -> T {
    from[usize::from(index) % from.len()]
}
