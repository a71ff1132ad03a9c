//! TCP health checks: a connection that opens is a passed probe.
//!
//! Targets live in tenants' VPCs, where addresses overlap and no socket of the host reaches. So a
//! probe is a packet of the gateway's own: a SYN from the load balancer's ENI through the same
//! route tables as clients' flows; a SYN-ACK passes and is answered with a RST, since nothing
//! more is to be said. A RST fails at once, silence after the time-out.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nf_core::packet::build::{Frame, tcp_reset};
use nf_core::packet::headers::{Headers, Transport};
use nf_core::packet::tcp::TcpFlags;
use nf_core::pipeline::Originated;
use nf_core::time::Time;
use nf_core::vpc::EniIx;
use nf_core::vpc::id::TargetGroupName;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Where probes come from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub eni: EniIx,
    pub addresses: Vec<IpAddr>,
}

/// How a probe ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub group: TargetGroupName,
    pub target: SocketAddr,
    pub passed: bool,
}

/// Probes under way.
pub(crate) struct Prober {
    rng: ChaCha12Rng,
    under_way: BTreeMap<(EniIx, u16), Probe>,
    frames: Vec<Originated>,
}

struct Probe {
    group: TargetGroupName,
    target: SocketAddr,
    /// The target's address with the port that is probed.
    probed: SocketAddr,
    sequence: u32,
    deadline: Time,
}

/// Ports that probes come from: IANA's dynamic ones (RFC 6335 section 6).
const PORTS: std::ops::Range<u16> = 49152..65535;

impl Prober {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = ChaCha12Rng::seed_from_u64(seed);
        Self { rng, under_way: BTreeMap::new(), frames: Vec::new() }
    }

    /// Sends a probe. Without an address of the target's family there is no way to reach it, which
    /// the time-out will tell.
    pub(crate) fn start(
        &mut self,
        now: Time,
        group: &TargetGroupName,
        target: SocketAddr,
        probed: SocketAddr,
        source: &Source,
        timeout: Duration,
    ) {
        let Some(port) = self.free_port(source.eni) else { return };
        let sequence = self.rng.next_u32();
        let deadline = now + timeout;
        let probe = Probe { group: group.clone(), target, probed, sequence, deadline };
        self.under_way.insert((source.eni, port), probe);
        let own = source.addresses.iter().find(|ip| ip.is_ipv4() == probed.is_ipv4());
        let Some(own) = own else { return };
        let frame = Frame::tcp(SocketAddr::new(*own, port), probed)
            .flags(TcpFlags::SYN)
            .seq(sequence)
            .build();
        self.frames.push(Originated { eni: source.eni, frame });
    }

    /// A port no probe is under way from. A dozen draws miss only when nearly all are in use.
    fn free_port(&mut self, eni: EniIx) -> Option<u16> {
        (0..12)
            .map(|_| {
                PORTS.start + (self.rng.next_u32() % u32::from(PORTS.end - PORTS.start)) as u16
            })
            .find(|port| !self.under_way.contains_key(&(eni, *port)))
    }

    /// The probe that a packet to `eni` answers, if it does.
    pub(crate) fn receive(&mut self, eni: EniIx, frame: &[u8]) -> Option<Outcome> {
        let headers = Headers::parse(frame).ok()?;
        let ip = headers.ip()?;
        let Transport::Tcp { src_port, dst_port, flags, ack, .. } = ip.transport else {
            return None;
        };
        let probe = self.under_way.get(&(eni, dst_port))?;
        let answers = SocketAddr::new(ip.src, src_port) == probe.probed
            && flags.contains(TcpFlags::ACK)
            && ack == probe.sequence.wrapping_add(1);
        if !answers {
            return None;
        }
        let passed = flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::RST);
        let probe = self.under_way.remove(&(eni, dst_port))?;
        if passed && let Some(frame) = tcp_reset(frame) {
            self.frames.push(Originated { eni, frame });
        }
        Some(Outcome { group: probe.group, target: probe.target, passed })
    }

    /// The probes that got no answer in time.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<Outcome> {
        let late = self.under_way.extract_if(.., |_, probe| probe.deadline <= now);
        late.map(|(_, probe)| Outcome { group: probe.group, target: probe.target, passed: false })
            .collect()
    }

    /// Forgets all probes: the ENIs they came from are numbered anew.
    pub(crate) fn forget_all(&mut self) {
        self.under_way.clear();
        self.frames.clear();
    }

    pub(crate) fn take_frames(&mut self, send: &mut Vec<Originated>) {
        send.append(&mut self.frames);
    }

    /// When something is due: at once if a frame waits to be sent.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        if !self.frames.is_empty() {
            return Some(Time::default());
        }
        self.under_way.values().map(|probe| probe.deadline).min()
    }
}
