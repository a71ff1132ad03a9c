//! One conversation, as the host that opens it sees it: one packet at a time, repeated until it is
//! answered or patience ends.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use nf_core::packet::{Frame, MacAddr, TcpFlags};
use nf_core::time::Time;
use nf_core::tuple::Protocol;

use crate::hosts::HostId;
use crate::tag::{Kind, Tag};

/// Repetitions of a packet before its sender gives up.
const PATIENCE: u8 = 5;

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Everything was said and answered.
    Completed,
    /// Somebody reset it.
    Reset,
    /// There was no answer for too long.
    GivenUp,
    /// The host that had opened it went.
    Gone,
}

/// What kind of way a conversation takes, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Between hosts of one tenant.
    Inside,
    /// Out through a NAT gateway.
    Out,
    /// From an environment into its VPC.
    Bridge,
    /// From an environment through bridge and NAT gateway.
    Chain,
    /// To a load balancer, from inside or outside.
    Balanced,
    /// From outside to an Elastic IP address.
    In,
}

pub(crate) struct Talk {
    pub(crate) id: u32,
    pub(crate) way: Way,
    pub(crate) from: HostId,
    pub(crate) protocol: Protocol,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Who may get its packets.
    pub(crate) allowed: Vec<HostId>,
    /// When it began.
    pub(crate) since: Time,
    /// When its packet of the moment went out.
    pub(crate) heard: Time,
    /// When it was last answered, be it that the answer was lost.
    pub(crate) answered: Option<Time>,
    /// Who got a SYN of it.
    pub(crate) opened_at: BTreeSet<HostId>,
    pub(crate) end: Option<End>,
    /// Which timer counts; older ones are void.
    pub(crate) version: u32,
    isn: u32,
    rounds: u16,
    round: u16,
    tries: u8,
}

/// What is asked for in a conversation.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) way: Way,
    pub(crate) from: HostId,
    pub(crate) protocol: Protocol,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) allowed: Vec<HostId>,
}

impl Talk {
    pub(crate) fn new(id: u32, since: Time, wanted: Wanted, isn: u32, rounds: u16) -> Self {
        let Wanted { way, from, protocol, local, remote, allowed } = wanted;
        Self {
            id,
            way,
            from,
            protocol,
            local,
            remote,
            allowed,
            since,
            heard: since,
            answered: None,
            opened_at: BTreeSet::new(),
            end: None,
            version: 0,
            isn,
            rounds,
            // Only TCP opens before it speaks.
            round: u16::from(protocol != Protocol::Tcp),
            tries: 0,
        }
    }

    /// Whether a packet of either is of the same flow, while that lives.
    pub(crate) fn is_of_same_flow(&self, other: &Self) -> bool {
        let flow = |it: &Self| (it.from, it.protocol, it.local, it.remote);
        flow(self) == flow(other)
    }

    /// The same conversation, as another host would hold it.
    pub(crate) fn wanted_by(&self, from: HostId) -> Wanted {
        let Self { way, protocol, local, remote, ref allowed, .. } = *self;
        Wanted { way, from, protocol, local, remote, allowed: allowed.clone() }
    }

    /// The packet of this moment, with an Ethernet header between these two; `None` once patience
    /// has ended.
    pub(crate) fn say(&mut self, src: MacAddr, dst: MacAddr, ttl: u8) -> Option<Vec<u8>> {
        if self.tries > PATIENCE {
            self.end = Some(End::GivenUp);
            return None;
        }
        self.tries += 1;
        let flags = match self.round {
            0 => TcpFlags::SYN,
            round if round > self.rounds => TcpFlags::FIN | TcpFlags::ACK,
            _ => TcpFlags::PSH | TcpFlags::ACK,
        };
        Some(self.frame(flags, self.round, (src, dst), ttl))
    }

    fn frame(&self, flags: TcpFlags, round: u16, macs: (MacAddr, MacAddr), ttl: u8) -> Vec<u8> {
        let tag = Tag { talk: self.id, kind: Kind::Request, round, sender: self.from };
        let wire = Wire { protocol: self.protocol, src: self.local, dst: self.remote, macs, ttl };
        wire.frame(flags, self.isn.wrapping_add(u32::from(round)), tag)
    }

    /// An answer has come. The last packet of a TCP conversation, if this was its end; whether the
    /// conversation goes on with another packet.
    pub(crate) fn answered(&mut self, round: u16) -> Answered {
        if self.end.is_some() || round != self.round {
            return Answered::Late;
        }
        self.tries = 0;
        self.round += 1;
        let last = self.rounds + u16::from(self.protocol == Protocol::Tcp);
        if self.round <= last {
            return Answered::More;
        }
        self.end = Some(End::Completed);
        if self.protocol == Protocol::Tcp { Answered::LastWord } else { Answered::Late }
    }

    /// TCP's last acknowledgement, which nobody answers.
    pub(crate) fn last_word(&self, src: MacAddr, dst: MacAddr) -> Vec<u8> {
        self.frame(TcpFlags::ACK, self.round, (src, dst), 64)
    }
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Nothing: it was answered before, or all is said.
    Late,
    /// Another packet.
    More,
    /// [`Talk::last_word`].
    LastWord,
}

/// The addresses of a packet to be.
pub(crate) struct Wire {
    pub(crate) protocol: Protocol,
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) macs: (MacAddr, MacAddr),
    pub(crate) ttl: u8,
}

impl Wire {
    pub(crate) fn frame(&self, flags: TcpFlags, seq: u32, tag: Tag) -> Vec<u8> {
        let Self { protocol, src, dst, macs, ttl } = *self;
        let payload = tag.encode();
        match protocol {
            Protocol::Tcp => {
                let segment = Frame::tcp(src, dst).flags(flags).seq(seq).payload(payload);
                segment.macs(macs.0, macs.1).ttl(ttl).build()
            }
            Protocol::Udp => {
                Frame::udp(src, dst).payload(payload).macs(macs.0, macs.1).ttl(ttl).build()
            }
            // A request has its identifier where others have their source port.
            Protocol::Icmp | Protocol::Icmpv6 => {
                let echo = match tag.kind {
                    Kind::Request => Frame::echo_request(src.ip(), dst.ip(), src.port(), tag.round),
                    Kind::Response => Frame::echo_reply(src.ip(), dst.ip(), dst.port(), tag.round),
                };
                echo.payload(payload).macs(macs.0, macs.1).ttl(ttl).build()
            }
        }
    }
}
