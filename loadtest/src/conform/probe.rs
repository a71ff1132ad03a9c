//! Both ends, and the simple things that checks are made of: a datagram out, one in, a connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use nf_core::packet::{Frame, IcmpErrorKind, MacAddr, Quoted, TcpFlags, Transport, build};

use super::end::{End, Packet};
use crate::error::Error;

/// How long a packet that is let through may take.
const SOON: Duration = Duration::from_secs(1);

/// How long one is waited for that should not come.
const NEVER: Duration = Duration::from_millis(250);

/// Ports of servers.
pub const PORTS: [u16; 2] = [7007, 7008];

/// Who there is at both ends.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Hosts behind the NAT, two or more.
    pub clients: Vec<Ipv4Addr>,
    /// Hosts in front of it, two or more.
    pub servers: Vec<Ipv4Addr>,
    /// The NAT's addresses outside.
    pub external: Vec<Ipv4Addr>,
    /// The MTU of the link outside, if it is smaller than that inside.
    pub outside_mtu: Option<u16>,
    /// Whether to wait minutes for timers.
    pub slow: bool,
}

/// Both ends of the prober.
pub struct Probe {
    /// The hosts behind the NAT.
    pub inside: End,
    /// The hosts in front of it.
    pub outside: End,
    /// Who they are.
    pub plan: Plan,
    next_port: u16,
    next_tag: u64,
}

/// A TCP connection that is open at both ends.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The end inside.
    pub client: SocketAddr,
    /// The end outside.
    pub server: SocketAddr,
    /// What the server takes the client for.
    pub external: SocketAddr,
}

/// A ping as it came outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Whom it came from.
    pub source: IpAddr,
    /// With which identifier.
    pub id: u16,
    /// Whether its answer got back to the host inside, with the identifier that that had chosen.
    pub is_answered: bool,
}

/// An ICMP error as a host inside hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The host.
    pub to: IpAddr,
    /// What it says.
    pub kind: IcmpErrorKind,
    /// Source and destination of the packet that it quotes.
    pub about: Option<(SocketAddr, SocketAddr)>,
}

/// The client's and the server's first sequence numbers.
const ISS: [u32; 2] = [1_000_000, 2_000_000];

impl Probe {
    /// Between two ends.
    pub fn new(inside: End, outside: End, plan: Plan, first_port: u16) -> Self {
        Self { inside, outside, plan, next_port: first_port, next_tag: 0 }
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

    /// What no packet has carried yet.
    pub fn tag(&mut self) -> Vec<u8> {
        self.next_tag += 1;
        [&b"conform "[..], &self.next_tag.to_be_bytes()].concat()
    }

    /// A datagram from inside: where it seems to come from outside, if it comes.
    ///
    /// # Errors
    ///
    /// [`Error::System`], as everything here.
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
    /// As [`Self::out`].
    pub fn out_with(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
        payload: &[u8],
    ) -> Result<Option<SocketAddr>, Error> {
        let (mac, gateway) = self.inside.macs();
        let frame = Frame::udp(client, server).payload(payload).macs(mac, gateway);
        self.inside.send(&frame.build())?;
        self.outside.expect(SOON, |packet| {
            udp(packet).filter(|it| it.payload == payload && it.to == server).map(|it| it.from)
        })
    }

    /// A datagram from outside: the source and destination it has inside, if it comes.
    ///
    /// # Errors
    ///
    /// As [`Self::out`].
    pub fn back(
        &mut self,
        server: SocketAddr,
        external: SocketAddr,
    ) -> Result<Option<(SocketAddr, SocketAddr)>, Error> {
        let tag = self.tag();
        let (mac, gateway) = self.outside.macs();
        let frame = Frame::udp(server, external).payload(tag.clone()).macs(mac, gateway);
        self.outside.send(&frame.build())?;
        self.inside.expect(NEVER, |packet| {
            udp(packet).filter(|it| it.payload == tag).map(|it| (it.from, it.to))
        })
    }

    /// A datagram from inside to an external address of the NAT: the source and destination that it
    /// has when it is back inside, if it is (hairpinning).
    ///
    /// # Errors
    ///
    /// As [`Self::out`].
    pub fn hairpin(
        &mut self,
        client: SocketAddr,
        external: SocketAddr,
    ) -> Result<Option<(SocketAddr, SocketAddr)>, Error> {
        let tag = self.tag();
        let (mac, gateway) = self.inside.macs();
        let frame = Frame::udp(client, external).payload(tag.clone()).macs(mac, gateway);
        self.inside.send(&frame.build())?;
        self.inside.expect(NEVER, |packet| {
            udp(packet).filter(|it| it.payload == tag).map(|it| (it.from, it.to))
        })
    }

    /// A segment from inside: where it seems to come from outside, if it comes.
    ///
    /// # Errors
    ///
    /// As [`Self::out`].
    pub fn segment_out(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
        flags: TcpFlags,
        numbers: (u32, u32),
    ) -> Result<Option<SocketAddr>, Error> {
        let frame = segment(client, server, flags, numbers, self.inside.macs());
        self.inside.send(&frame)?;
        self.outside.expect(SOON, |packet| {
            tcp(packet).filter(|it| it.is(server, flags, numbers)).map(|it| it.from)
        })
    }

    /// A segment from outside: the source and destination it has inside, if it comes.
    ///
    /// # Errors
    ///
    /// As [`Self::out`].
    pub fn segment_back(
        &mut self,
        server: SocketAddr,
        external: SocketAddr,
        flags: TcpFlags,
        numbers: (u32, u32),
    ) -> Result<Option<(SocketAddr, SocketAddr)>, Error> {
        let frame = segment(server, external, flags, numbers, self.outside.macs());
        self.outside.send(&frame)?;
        self.inside.expect(NEVER, |packet| {
            let it = tcp(packet)?;
            (it.flags == flags && (it.seq, it.ack) == numbers).then_some((it.from, it.to))
        })
    }

    /// Opens a connection as most are: SYN, SYN and ACK, ACK.
    ///
    /// # Errors
    ///
    /// As [`Self::out`].
    pub fn connect(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<Option<Connection>, Error> {
        let [mine, theirs] = ISS;
        let Some(external) = self.segment_out(client, server, TcpFlags::SYN, (mine, 0))? else {
            return Ok(None);
        };
        let syn_ack = TcpFlags::SYN | TcpFlags::ACK;
        if self.segment_back(server, external, syn_ack, (theirs, mine + 1))?
            != Some((server, client))
        {
            return Ok(None);
        }
        let ack = self.segment_out(client, server, TcpFlags::ACK, (mine + 1, theirs + 1))?;
        Ok((ack == Some(external)).then_some(Connection { client, server, external }))
    }

    /// Whether a connection carries a segment each way.
    ///
    /// # Errors
    ///
    /// As [`Self::out`].
    pub fn is_open(&mut self, connection: Connection) -> Result<bool, Error> {
        let Connection { client, server, external } = connection;
        let [mine, theirs] = ISS.map(|it| it + 1);
        let flags = TcpFlags::ACK | TcpFlags::PSH;
        let out = self.segment_out(client, server, flags, (mine, theirs))?;
        let back = self.segment_back(server, external, flags, (theirs, mine))?;
        Ok(out == Some(external) && back == Some((server, client)))
    }

    /// A ping from inside, if it comes outside, where it is answered.
    ///
    /// # Errors
    ///
    /// As [`Self::out`].
    pub fn ping(&mut self, client: IpAddr, server: IpAddr, id: u16) -> Result<Option<Ping>, Error> {
        let tag = self.tag();
        let (mac, gateway) = self.inside.macs();
        let frame = Frame::echo_request(client, server, id, 1).payload(tag.clone());
        self.inside.send(&frame.macs(mac, gateway).build())?;
        let came = self.outside.expect(SOON, |packet| {
            let Transport::Echo { request: true, id, .. } = packet.ip.transport else {
                return None;
            };
            (packet.transport_bytes().get(8..) == Some(&tag[..])).then_some((packet.ip.src, id))
        })?;
        let Some((source, outside_id)) = came else { return Ok(None) };
        let (mac, gateway) = self.outside.macs();
        let frame = Frame::echo_reply(server, source, outside_id, 1).payload(tag.clone());
        self.outside.send(&frame.macs(mac, gateway).build())?;
        let back = self.inside.expect(SOON, |packet| {
            let expected = Transport::Echo { request: false, id, seq: 1 };
            let it = &packet.ip;
            let whole = packet.transport_bytes().get(8..) == Some(&tag[..]);
            (it.transport == expected && it.dst == client && whole).then_some(())
        })?;
        Ok(Some(Ping { source, id: outside_id, is_answered: back.is_some() }))
    }

    /// Sends an ICMP error of `from`, outside, about a packet as it came there from a client, spoilt as
    /// the caller likes; what is heard of it inside.
    ///
    /// # Errors
    ///
    /// As [`Self::out`].
    pub fn error_back(
        &mut self,
        about: &[u8],
        kind: IcmpErrorKind,
        from: IpAddr,
        spoil: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Option<Heard>, Error> {
        let Some(mut error) = build::icmp_error(about, kind, from) else { return Ok(None) };
        spoil(&mut error);
        self.inside.forget()?;
        self.outside.send(&error)?;
        self.inside.expect(NEVER, |packet| {
            let Transport::IcmpError { kind } = packet.ip.transport else { return None };
            let quoted = Quoted::parse(&packet.ip, &packet.frame).ok()?;
            let about = quoted.tuple.map(|it| (it.src, it.dst));
            Some(Heard { to: packet.ip.dst, kind, about })
        })
    }

    /// The MAC addresses of a packet as it came outside: an error about it goes back where it came
    /// from.
    pub fn macs_outside(&self) -> (MacAddr, MacAddr) {
        let (mac, gateway) = self.outside.macs();
        (gateway, mac)
    }

    /// How long a packet is waited for that may not come at all.
    pub const fn patience() -> Duration {
        NEVER
    }
}

fn segment(
    from: SocketAddr,
    to: SocketAddr,
    flags: TcpFlags,
    (seq, ack): (u32, u32),
    (mac, gateway): (MacAddr, MacAddr),
) -> Vec<u8> {
    Frame::tcp(from, to).flags(flags).seq(seq).ack(ack).macs(mac, gateway).build()
}

/// A datagram that came in.
pub struct Datagram<'a> {
    pub from: SocketAddr,
    pub to: SocketAddr,
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

struct Segment {
    from: SocketAddr,
    to: SocketAddr,
    flags: TcpFlags,
    seq: u32,
    ack: u32,
}

impl Segment {
    fn is(&self, to: SocketAddr, flags: TcpFlags, numbers: (u32, u32)) -> bool {
        self.to == to && self.flags == flags && (self.seq, self.ack) == numbers
    }
}

fn tcp(packet: &Packet) -> Option<Segment> {
    let ip = &packet.ip;
    let Transport::Tcp { src_port, dst_port, flags, seq, ack, .. } = ip.transport else {
        return None;
    };
    let (from, to) = (SocketAddr::new(ip.src, src_port), SocketAddr::new(ip.dst, dst_port));
    Some(Segment { from, to, flags, seq, ack })
}
