//! A frame behind a port of the gateway: whose is it, was it meant for them, and what do they
//! answer?

use nf_core::packet::headers::{IpHeaders, Transport};
use nf_core::packet::{Frame, Headers, Quoted, TcpFlags};
use nf_core::testing::{answer_question, checksums_are_right};
use nf_core::tuple::{Protocol, Tuple};

use crate::End;
use crate::hosts::{Host, HostId, ROUTER, WAN};
use crate::judge::{self, Broken, must};
use crate::run::{Run, answer_to};
use crate::tag::{self, Kind, Tag};
use crate::talk::{Answered, Wire};

/// Where probes of load balancers come from.
const NODE: [u8; 4] = [10, 0, 0, 50];

impl Run {
    /// A frame has left the gateway by a port.
    pub(crate) fn arrive(&mut self, port: &str, frame: &[u8]) -> Result<(), Broken> {
        let mac_of = |ip| self.hosts.mac_at(port, ip);
        if let Some(answer) = answer_question(frame, mac_of) {
            self.send(port, answer);
            return Ok(());
        }
        // Damaged on its way in, and not blessed on its way out.
        if !checksums_are_right(frame) {
            return Ok(());
        }
        let headers = Headers::parse(frame).map_err(|error| format!("by {port}: {error}"))?;
        // Answers to hosts that asked for their router.
        let Some(ip) = headers.ip() else { return Ok(()) };
        if matches!(ip.transport, Transport::Ndp { .. }) {
            return Ok(());
        }
        let Some(host) = self.hosts.at(port, ip.dst).cloned() else {
            // An environment that has gone, with frames on their way to it; or an Elastic IP
            // address that nothing has at the moment, which the router may look for elsewhere.
            let gone = !self.hosts.present().any(|host| host.port == port);
            let elsewhere = port == WAN && headers.dst_mac == ROUTER;
            must!(gone || elsewhere, "by {port} came a packet for {}, whom nobody is", ip.dst);
            return Ok(());
        };
        must!(headers.dst_mac == host.mac, "{port}: {} is not at {}", ip.dst, headers.dst_mac);
        match ip.transport {
            Transport::IcmpError { .. } => self.told(&host, ip, frame),
            _ => match ip.tuple() {
                Some(tuple) => self.receive(&host, ip, tuple, frame),
                None => Err(format!("by {port} came {:?}", ip.transport)),
            },
        }
    }

    /// An ICMP error: it must be about a packet that this host has sent.
    fn told(&mut self, host: &Host, ip: &IpHeaders, frame: &[u8]) -> Result<(), Broken> {
        let quoted = Quoted::parse(ip, frame).map_err(|error| error.to_string())?;
        let Some(tuple) = quoted.tuple else {
            return Err(format!("{:?} is told of no packet of any flow", host.id));
        };
        self.has_said(host, tuple)
    }

    fn has_said(&self, host: &Host, tuple: Tuple) -> Result<(), Broken> {
        let Tuple { protocol, src, dst } = tuple;
        let said = self.said.contains(&(host.id, protocol, src, dst));
        must!(said, "{:?} behind {} is told of {tuple}, which it never sent", host.id, host.port);
        Ok(())
    }

    fn receive(
        &mut self,
        host: &Host,
        ip: &IpHeaders,
        tuple: Tuple,
        frame: &[u8],
    ) -> Result<(), Broken> {
        let flags = match ip.transport {
            Transport::Tcp { flags, .. } => flags,
            _ => TcpFlags::default(),
        };
        let header_len = match ip.transport {
            Transport::Tcp { header_len, .. } => header_len,
            _ => 8,
        };
        let payload = ip.transport_bytes(frame).get(header_len..).unwrap_or_default();
        let Some(tag) = Tag::decode(payload) else {
            return self.receive_untagged(host, ip, tuple, flags);
        };
        must!(payload.len() == tag::LEN, "{} bytes follow a tag", payload.len() - tag::LEN);
        self.report.delivered += 1;
        match tag.kind {
            Kind::Request => self.asked(host, tuple, flags, tag),
            Kind::Response => self.answered(host, tuple, flags, tag),
        }
    }

    /// The gateway asks what number the host expects next, to end the connection with that.
    fn wanted_to_know(&mut self, host: &Host, tuple: Tuple) -> Result<(), Broken> {
        self.has_said(host, tuple.reversed())?;
        if self.random.chance(700) {
            let answer = Frame::tcp(tuple.dst, tuple.src).seq(1).ack(2);
            let answer = answer.macs(host.mac, self.gateway_mac(&host.port)).build();
            self.send(&host.port, answer);
        }
        Ok(())
    }

    /// What no host sends: a probe of a load balancer, a question or a reset of the gateway's.
    fn receive_untagged(
        &mut self,
        host: &Host,
        ip: &IpHeaders,
        tuple: Tuple,
        flags: TcpFlags,
    ) -> Result<(), Broken> {
        let probe = ip.src == std::net::IpAddr::from(NODE) && flags == TcpFlags::SYN;
        if let Transport::Tcp { seq, .. } = ip.transport
            && probe
        {
            self.said.insert((host.id, tuple.protocol, tuple.dst, tuple.src));
            let flags = match self.random.below(10) {
                0 => TcpFlags::RST | TcpFlags::ACK,
                1 => return Ok(()),
                _ => TcpFlags::SYN | TcpFlags::ACK,
            };
            let answer = Frame::tcp(tuple.dst, tuple.src).flags(flags).ack(seq.wrapping_add(1));
            let answer = answer.macs(host.mac, self.gateway_mac(&host.port)).build();
            self.send(&host.port, answer);
            return Ok(());
        }
        if tuple.protocol == Protocol::Tcp && flags == TcpFlags::ACK {
            return self.wanted_to_know(host, tuple);
        }
        must!(
            tuple.protocol == Protocol::Tcp && flags.contains(TcpFlags::RST),
            "{:?} behind {} gets {tuple} without a tag",
            host.id,
            host.port
        );
        self.has_said(host, tuple.reversed())?;
        let talk = self.talks.iter_mut().find(|talk| {
            talk.end.is_none()
                && (talk.from, talk.protocol) == (host.id, tuple.protocol)
                && (talk.local, talk.remote) == (tuple.dst, tuple.src)
        });
        if let Some(talk) = talk {
            talk.end = Some(End::Reset);
        }
        Ok(())
    }

    /// A packet of somebody who opened a conversation.
    fn asked(
        &mut self,
        host: &Host,
        tuple: Tuple,
        flags: TcpFlags,
        tag: Tag,
    ) -> Result<(), Broken> {
        let Some(talk) = self.talks.get(tag.talk as usize) else {
            return Err(format!("{tag:?} is of no conversation"));
        };
        must!(
            talk.allowed.contains(&host.id) && talk.from == tag.sender,
            "{:?} behind {} gets {tag:?} by {tuple}, meant for {:?}",
            host.id,
            host.port,
            talk.allowed
        );
        must!(tuple.protocol == talk.protocol, "{tuple} was sent as {}", talk.protocol);
        if let Some(tenant) = host.tenant.filter(|_| host.port.ends_with("i2")) {
            let since = judge::flow_since(&self.talks, talk);
            let waited = self.world.engine.counters().dequeued != self.dequeued_before;
            let underway = if waited { judge::WAITED } else { judge::UNDERWAY };
            judge::admitted(&self.rules[tenant], talk, since, self.world.now, underway)?;
        }
        let talk = &mut self.talks[tag.talk as usize];
        if flags == TcpFlags::SYN {
            talk.opened_at.insert(host.id);
        } else if tuple.protocol == Protocol::Tcp {
            must!(
                talk.opened_at.contains(&host.id),
                "{:?} gets {tag:?} of a connection it never saw opened",
                host.id
            );
        }
        let flags = if tuple.protocol == Protocol::Tcp {
            // Sometimes a server has had enough.
            let answer = answer_to(flags);
            let refuses = answer.is_some() && self.random.chance(10);
            let Some(flags) = answer else { return Ok(()) };
            talk.answered = Some(self.world.now);
            if refuses { TcpFlags::RST | TcpFlags::ACK } else { flags }
        } else {
            TcpFlags::default()
        };
        let gateway = self.gateway_mac(&host.port);
        let wire = Wire {
            protocol: tuple.protocol,
            src: tuple.dst,
            dst: tuple.src,
            macs: (host.mac, gateway),
            ttl: 64,
        };
        let answer = Tag { kind: Kind::Response, sender: host.id, ..tag };
        let frame = wire.frame(flags, u32::from(tag.round), answer);
        self.said.insert((host.id, tuple.protocol, tuple.dst, tuple.src));
        self.send(&host.port, frame);
        Ok(())
    }

    /// A packet for somebody who opened a conversation.
    fn answered(
        &mut self,
        host: &Host,
        tuple: Tuple,
        flags: TcpFlags,
        tag: Tag,
    ) -> Result<(), Broken> {
        let Some(talk) = self.talks.get_mut(tag.talk as usize) else {
            return Err(format!("{tag:?} is of no conversation"));
        };
        let owner: HostId = talk.from;
        must!(
            owner == host.id && talk.allowed.contains(&tag.sender),
            "{:?} behind {} gets {tag:?} by {tuple}, which is {owner:?}'s, from {} to {}",
            host.id,
            host.port,
            talk.local,
            talk.remote
        );
        if flags.contains(TcpFlags::RST) {
            talk.end.get_or_insert(End::Reset);
            return Ok(());
        }
        match talk.answered(tag.round) {
            Answered::Late => {}
            Answered::More => self.go_on(tag.talk),
            Answered::LastWord => {
                let gateway = self.gateway_mac(&host.port);
                let frame = self.talks[tag.talk as usize].last_word(host.mac, gateway);
                self.send(&host.port, frame);
            }
        }
        Ok(())
    }
}
