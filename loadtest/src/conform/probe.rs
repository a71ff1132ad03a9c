//! Both ends, and the simplest of what checks are made of: a datagram out, one in. Segments are in
//! `segments`, ICMP in `messages`.
//!
//! Services outside have one name here, their own. Where hosts inside name them by a prefix, as
//! behind a NAT64, the probe does that on the way in and out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use halfspace_testbed::Interrupt;
use nf_core::packet::{Frame, Transport};

use super::end::{End, Packet};
use super::nat64::Prefix64;
use crate::error::Error;

/// How long a packet that is let through may take.
pub const SOON: Duration = Duration::from_secs(1);

/// How long one is waited for that may not come at all.
pub const NEVER: Duration = Duration::from_millis(250);

/// Ports of servers.
pub const PORTS: [u16; 2] = [7007, 7008];

/// How often a pause looks whether it is to end.
const BEAT: Duration = Duration::from_millis(500);

/// Who there is at both ends.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Hosts behind the NAT, two or more, of one family.
    pub clients: Vec<IpAddr>,
    /// Hosts in front of it, two or more.
    pub servers: Vec<Ipv4Addr>,
    /// The NAT's addresses outside.
    pub external: Vec<Ipv4Addr>,
    /// The MTU of the link outside, if it is smaller than that inside.
    pub outside_mtu: Option<u16>,
    /// How clients with IPv6 name servers.
    pub prefix: Option<Prefix64>,
    /// How many ports a host is given at most, where that is limited.
    pub ports_per_host: Option<u16>,
    /// Whether to wait minutes for timers.
    pub slow: bool,
}

impl Plan {
    /// A service as hosts inside name it.
    pub fn named(&self, service: SocketAddr) -> SocketAddr {
        self.prefix.map_or(service, |prefix| prefix.named(service))
    }

    /// The service that hosts inside name so.
    pub fn meant(&self, service: SocketAddr) -> SocketAddr {
        self.prefix.map_or(service, |prefix| prefix.meant(service))
    }

    /// Whether an address is the NAT's own, outside.
    pub fn is_external(&self, address: IpAddr) -> bool {
        self.external.iter().any(|it| address == *it)
    }
}

/// Both ends of the prober.
pub struct Probe {
    /// The hosts behind the NAT.
    pub inside: End,
    /// The hosts in front of it.
    pub outside: End,
    /// Who they are.
    pub plan: Plan,
    interrupt: Interrupt,
    next_port: u16,
    next_tag: u64,
}

/// A datagram as it was seen: source and destination.
pub type Seen = (SocketAddr, SocketAddr);

impl Probe {
    /// Between two ends.
    pub fn new(
        inside: End,
        outside: End,
        plan: Plan,
        first_port: u16,
        interrupt: &Interrupt,
    ) -> Self {
        let interrupt = interrupt.clone();
        Self { inside, outside, plan, interrupt, next_port: first_port, next_tag: 0 }
    }

    /// A host inside.
    pub fn client(&self, number: usize, port: u16) -> SocketAddr {
        (self.plan.clients[number], port).into()
    }

    /// A service outside: servers and ports by their numbers, of which there are two each.
    pub fn server(&self, number: usize, port: usize) -> SocketAddr {
        (self.plan.servers[number], PORTS[port]).into()
    }

    /// A port that no check has used, of a random place in 20,000 to 59,999.
    pub fn port(&mut self) -> u16 {
        self.next_port = if self.next_port >= 59_999 { 20_000 } else { self.next_port + 1 };
        self.next_port
    }

    /// The first client by a port that no check has used, and the first service.
    pub fn pair(&mut self) -> (SocketAddr, SocketAddr) {
        let port = self.port();
        (self.client(0, port), self.server(0, 0))
    }

    /// A port of the NAT that no check has asked for; nobody has it, as far as one can know.
    pub fn unasked(&mut self) -> SocketAddr {
        let port = self.port();
        (self.plan.external[0], port).into()
    }

    /// What no packet has carried yet.
    pub fn tag(&mut self) -> Vec<u8> {
        self.next_tag += 1;
        [&b"conform "[..], &self.next_tag.to_be_bytes()].concat()
    }

    /// Forgets what has come in so far, at both ends.
    ///
    /// # Errors
    ///
    /// [`Error::System`], as everything here.
    pub fn forget(&mut self) -> Result<(), Error> {
        self.inside.forget()?;
        self.outside.forget()
    }

    /// Lets time pass, unless it is interrupted, and keeps what comes meanwhile. Both ends answer
    /// those who look for their hosts.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn pause(&mut self, time: Duration) -> Result<(), Error> {
        let mut left = time;
        while !left.is_zero() && !self.interrupt.is_raised() {
            let now = left.min(BEAT);
            self.inside.pass(now / 2)?;
            self.outside.pass(now / 2)?;
            left = left.saturating_sub(now);
        }
        Ok(())
    }

    /// A datagram from inside: where it seems to come from outside, if it comes.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn out(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<Option<SocketAddr>, Error> {
        let tag = self.tag();
        self.out_with(client, server, &tag)
    }

    /// The same with a payload of the caller's, which has to come unchanged.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn out_with(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
        payload: &[u8],
    ) -> Result<Option<SocketAddr>, Error> {
        self.inside.send(&Frame::udp(client, self.plan.named(server)).payload(payload).build())?;
        self.outside.expect(SOON, |packet| {
            udp(packet).filter(|it| it.payload == payload && it.to == server).map(|it| it.from)
        })
    }

    /// A datagram from outside: how it is seen inside, if it comes.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn back(
        &mut self,
        server: SocketAddr,
        external: SocketAddr,
    ) -> Result<Option<Seen>, Error> {
        let tag = self.tag();
        self.outside.send(&Frame::udp(server, external).payload(tag.clone()).build())?;
        self.arrival(&tag)
    }

    /// A datagram from inside to an external address of the NAT: how it is seen when it is back
    /// inside, if it is (hairpinning).
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn hairpin(
        &mut self,
        client: SocketAddr,
        external: SocketAddr,
    ) -> Result<Option<Seen>, Error> {
        let tag = self.tag();
        let to = self.plan.named(external);
        self.inside.send(&Frame::udp(client, to).payload(tag.clone()).build())?;
        self.arrival(&tag)
    }

    /// Whether a datagram from outside gets to a client, from the one who sent it.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn gets_back(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
        external: SocketAddr,
    ) -> Result<bool, Error> {
        Ok(self.back(server, external)? == Some((server, client)))
    }

    fn arrival(&mut self, tag: &[u8]) -> Result<Option<Seen>, Error> {
        let plan = &self.plan;
        self.inside.expect(NEVER, |packet| {
            udp(packet).filter(|it| it.payload == tag).map(|it| (plan.meant(it.from), it.to))
        })
    }
}

/// A datagram that came in.
pub struct Datagram<'a> {
    /// Its source.
    pub from: SocketAddr,
    /// Its destination.
    pub to: SocketAddr,
    /// What it carries.
    pub payload: &'a [u8],
}

/// The datagram in a packet, if there is a whole one.
pub fn udp(packet: &Packet) -> Option<Datagram<'_>> {
    let ip = &packet.ip;
    let Transport::Udp { src_port, dst_port, length } = ip.transport else { return None };
    let payload = packet.transport_bytes().get(8..length)?;
    Some(Datagram {
        from: SocketAddr::new(ip.src, src_port),
        to: SocketAddr::new(ip.dst, dst_port),
        payload,
    })
}
