//! ICMP as checks use it: pings, and errors about what one end got of the other.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nf_core::packet::{
    Frame, Icmp, IcmpErrorKind, Ipv4, Quoted, Transport, build, checksum, ethernet, icmp, ipv4,
};

use super::end::Packet;
use super::probe::{NEVER, Plan, Probe, SOON};
use crate::error::Error;

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

/// An ICMP error as a host hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The host.
    pub to: IpAddr,
    /// What it says.
    pub kind: IcmpErrorKind,
    /// Source and destination of the packet that it quotes.
    pub about: Option<(SocketAddr, SocketAddr)>,
    /// Who seems to say it.
    pub from: IpAddr,
}

impl Heard {
    /// The error in a packet, services named as outside.
    pub fn parse(packet: &Packet, plan: &Plan) -> Option<Self> {
        let Transport::IcmpError { kind } = packet.ip.transport else { return None };
        let about = Quoted::parse(&packet.ip, &packet.frame).ok()?.tuple;
        let about = about.map(|it| (plan.meant(it.src), plan.meant(it.dst)));
        let from = plan.meant((packet.ip.src, 0).into()).ip();
        Some(Self { to: packet.ip.dst, kind, about, from })
    }
}

/// Changes the packet that an ICMP error quotes, in a frame that [`build::icmp_error`] has made, and
/// makes the error's lengths and checksums right again.
pub fn requote(error: &mut Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) {
    let start = ethernet::HEADER_LEN;
    let message = start + ipv4::MIN_HEADER_LEN;
    let mut quote = error.split_off(message + icmp::HEADER_LEN);
    change(&mut quote);
    error.extend(quote);
    let length = (error.len() - start) as u16;
    error[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
    if let Ok(mut header) = Ipv4::new_checked(&mut error[start..]) {
        header.fill_checksum();
    }
    if let Ok(mut icmp) = Icmp::new_checked(&mut error[message..]) {
        icmp.set_checksum(0);
    }
    let check = !checksum::fold(checksum::sum(&error[message..]));
    if let Ok(mut icmp) = Icmp::new_checked(&mut error[message..]) {
        icmp.set_checksum(check);
    }
}

impl Probe {
    /// A ping from inside, if it comes outside, where it is answered.
    ///
    /// # Errors
    ///
    /// [`Error::System`], as everything here.
    pub fn ping(&mut self, client: IpAddr, server: IpAddr, id: u16) -> Result<Option<Ping>, Error> {
        let Some((source, outside_id, tag)) = self.ping_out(client, server, id)? else {
            return Ok(None);
        };
        let is_answered = self.ping_back((client, id), (source, outside_id), server, &tag)?;
        Ok(Some(Ping { source, id: outside_id, is_answered }))
    }

    /// A ping from inside: whom it comes from outside, with which identifier, and what it carries.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn ping_out(
        &mut self,
        client: IpAddr,
        server: IpAddr,
        id: u16,
    ) -> Result<Option<(IpAddr, u16, Vec<u8>)>, Error> {
        let tag = self.tag();
        let to = self.plan.named((server, 0).into()).ip();
        self.inside.send(&Frame::echo_request(client, to, id, 1).payload(tag.clone()).build())?;
        self.outside.expect(SOON, |packet| {
            let Transport::Echo { request: true, id, .. } = packet.ip.transport else {
                return None;
            };
            let whole = packet.transport_bytes().get(8..) == Some(&tag[..]);
            (whole && packet.ip.dst == server).then(|| (packet.ip.src, id, tag.clone()))
        })
    }

    /// Whether a server's answer to a ping, seen outside as of `external`, gets to the client with
    /// the identifier that that had chosen.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn ping_back(
        &mut self,
        (client, id): (IpAddr, u16),
        external: (IpAddr, u16),
        server: IpAddr,
        tag: &[u8],
    ) -> Result<bool, Error> {
        let answer = Frame::echo_reply(server, external.0, external.1, 1).payload(tag);
        self.outside.send(&answer.build())?;
        let back = self.inside.expect(NEVER, |packet| {
            let expected = Transport::Echo { request: false, id, seq: 1 };
            let it = &packet.ip;
            let whole = packet.transport_bytes().get(8..) == Some(tag);
            (it.transport == expected && it.dst == client && whole).then_some(())
        })?;
        Ok(back.is_some())
    }

    /// Sends an ICMP error of `from`, outside, about a packet as it came there from a client, spoilt
    /// as the caller likes; what is heard of it inside.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
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
        let plan = &self.plan;
        self.inside.expect(NEVER, |packet| Heard::parse(packet, plan))
    }

    /// Sends an ICMP error of `from`, inside, about a packet as a client got it; what is heard of it
    /// outside.
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn error_out(
        &mut self,
        about: &[u8],
        kind: IcmpErrorKind,
        from: IpAddr,
    ) -> Result<Option<Heard>, Error> {
        let Some(error) = build::icmp_error(about, kind, from) else { return Ok(None) };
        self.outside.forget()?;
        self.inside.send(&error)?;
        let plan = &self.plan;
        self.outside.expect(NEVER, |packet| Heard::parse(packet, plan))
    }

    /// What a host inside is told by ICMP of a packet that it sends. Three times, for who sends errors
    /// may do so seldom (RFC 1812, section 4.3.2.8).
    ///
    /// # Errors
    ///
    /// [`Error::System`].
    pub fn told<T>(
        &mut self,
        frame: &[u8],
        wanted: impl Fn(&Packet, Heard) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        const TIMES: u32 = 3;
        const PAUSE: Duration = Duration::from_millis(1100);
        for _ in 0..TIMES {
            self.inside.send(frame)?;
            let plan = &self.plan;
            let told =
                self.inside.expect(NEVER, |packet| wanted(packet, Heard::parse(packet, plan)?))?;
            if told.is_some() {
                return Ok(told);
            }
            self.pause(PAUSE)?;
        }
        Ok(None)
    }
}
