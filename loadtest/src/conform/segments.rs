//! TCP as checks use it: single segments out and in, and connections made of them.

use std::net::SocketAddr;

use nf_core::packet::{Frame, TcpFlags, Transport};

use super::end::Packet;
use super::probe::{NEVER, Probe, SOON, Seen};
use crate::error::Error;

/// SYN and ACK.
pub const SYN_ACK: TcpFlags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);
/// FIN and ACK.
pub const FIN_ACK: TcpFlags = TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0);
/// RST and ACK.
pub const RST_ACK: TcpFlags = TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0);
/// Data.
pub const PUSH: TcpFlags = TcpFlags(TcpFlags::PSH.0 | TcpFlags::ACK.0);

/// A segment's flags, numbers and data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Flags.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Data.
    pub payload: Vec<u8>,
}

impl Segment {
    /// One without data.
    pub const fn bare(flags: TcpFlags, seq: u32, ack: u32) -> Self {
        Self { flags, seq, ack, payload: Vec::new() }
    }

    fn frame(&self, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        let frame = Frame::tcp(from, to).flags(self.flags).seq(self.seq).ack(self.ack);
        frame.payload(self.payload.clone()).build()
    }
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

impl Connection {
    /// The client's and the server's first sequence numbers.
    const ISS: [u32; 2] = [1_000_000, 2_000_000];

    /// The next sequence number of the client's, of the server's.
    pub const NEXT: [u32; 2] = [Self::ISS[0] + 1, Self::ISS[1] + 1];
}

impl Probe {
    /// A segment from inside: where it seems to come from outside, if it comes.
    ///
    /// # Errors
    ///
    /// [`Error::System`], as everything here.
    pub fn segment_out(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
        segment: &Segment,
    ) -> Result<Option<SocketAddr>, Error> {
        self.inside.send(&segment.frame(client, self.plan.named(server)))?;
        self.outside.expect(SOON, |packet| {
            let ((from, to), came) = tcp(packet)?;
            (to == server && came == *segment).then_some(from)
        })
    }

    /// A segment from outside: how it is seen inside, if it comes.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn segment_back(
        &mut self,
        server: SocketAddr,
        external: SocketAddr,
        segment: &Segment,
    ) -> Result<Option<Seen>, Error> {
        self.outside.send(&segment.frame(server, external))?;
        self.segment_inside(segment)
    }

    /// A segment from inside to an external address of the NAT: how it is seen when it is back
    /// inside, if it is (hairpinning).
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn segment_hairpin(
        &mut self,
        client: SocketAddr,
        external: SocketAddr,
        segment: &Segment,
    ) -> Result<Option<Seen>, Error> {
        let to = self.plan.named(external);
        self.inside.send(&segment.frame(client, to))?;
        self.segment_inside(segment)
    }

    fn segment_inside(&mut self, segment: &Segment) -> Result<Option<Seen>, Error> {
        let plan = &self.plan;
        self.inside.expect(NEVER, |packet| {
            let ((from, to), came) = tcp(packet)?;
            (came == *segment).then_some((plan.meant(from), to))
        })
    }

    /// Opens a connection as most are: SYN, SYN and ACK, ACK.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn connect(
        &mut self,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<Option<Connection>, Error> {
        let [mine, theirs] = Connection::ISS;
        let syn = Segment::bare(TcpFlags::SYN, mine, 0);
        let Some(external) = self.segment_out(client, server, &syn)? else { return Ok(None) };
        let syn_ack = Segment::bare(SYN_ACK, theirs, mine + 1);
        if self.segment_back(server, external, &syn_ack)? != Some((server, client)) {
            return Ok(None);
        }
        let ack = Segment::bare(TcpFlags::ACK, mine + 1, theirs + 1);
        let acknowledged = self.segment_out(client, server, &ack)?;
        Ok((acknowledged == Some(external)).then_some(Connection { client, server, external }))
    }

    /// A connection of the first client's, by a port that no check has used, to the first service.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn connected(&mut self) -> Result<Option<Connection>, Error> {
        let (client, server) = self.pair();
        self.connect(client, server)
    }

    /// Whether a connection carries a segment each way.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn is_open(&mut self, connection: Connection) -> Result<bool, Error> {
        let [mine, theirs] = Connection::NEXT;
        self.carries(
            connection,
            &Segment::bare(PUSH, mine, theirs),
            &Segment::bare(PUSH, theirs, mine),
        )
    }

    /// Whether a connection carries those two segments, one out and then one back.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn carries(
        &mut self,
        connection: Connection,
        out: &Segment,
        back: &Segment,
    ) -> Result<bool, Error> {
        let Connection { client, server, external } = connection;
        let went = self.segment_out(client, server, out)? == Some(external);
        let came = self.segment_back(server, external, back)? == Some((server, client));
        Ok(went && came)
    }
}

/// The segment in a packet, and its source and destination.
pub fn tcp(packet: &Packet) -> Option<(Seen, Segment)> {
    let ip = &packet.ip;
    let Transport::Tcp { src_port, dst_port, flags, seq, ack, header_len } = ip.transport else {
        return None;
    };
    let ends = (SocketAddr::new(ip.src, src_port), SocketAddr::new(ip.dst, dst_port));
    let payload = packet.transport_bytes().get(header_len..)?.to_owned();
    Some((ends, Segment { flags, seq, ack, payload }))
}
