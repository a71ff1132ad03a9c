//! Who talks to whom, and when the next packet of a conversation goes out.

use std::net::{IpAddr, SocketAddr};

use nf_core::packet::{MacAddr, build};
use nf_core::tuple::Protocol;

use crate::hosts::{Host, HostId, Place, TENANTS};
use crate::run::{Event, Run};
use crate::talk::{Talk, Wanted, Way};

/// So few that tuples come again.
const FEW_PORTS: usize = 6;

impl Run {
    pub(crate) fn begin(&mut self) {
        let from = {
            let all: Vec<_> = self.hosts.present().map(|host| host.id).collect();
            self.hosts.get(*self.random.pick(&all)).clone()
        };
        let Some(wanted) = self.wish(&from) else { return };
        let again = wanted.clone();
        self.start_talk(wanted);
        if self.random.chance(300) {
            self.begin_more(&again, FEW_PORTS);
        }
    }

    /// Who opens several at once, and again and again, gets flows that the fast path makes.
    fn begin_more(&mut self, like: &Wanted, ports: usize) {
        for _ in 0..self.random.below(8) {
            let local = SocketAddr::new(like.local.ip(), self.local_port(ports));
            let more = Wanted { local, ..like.clone() };
            if !self.is_in_use(&more) {
                self.start_talk(more);
            }
        }
    }

    /// Those who have opened conversations through a function lately go on doing so, by ports that
    /// they have not used: only of such flows the fast path makes more.
    pub(crate) fn begin_more_of_all(&mut self) {
        let through = |talk: &&Talk| matches!(talk.way, Way::Out | Way::Bridge | Way::Chain);
        let lately = self.talks.iter().rev().filter(through).take(20);
        let present = lately.filter(|talk| self.hosts.get(talk.from).present);
        let lately: Vec<_> = present.map(|talk| talk.wanted_by(talk.from)).collect();
        for like in lately {
            self.begin_more(&like, 1000);
        }
    }

    fn local_port(&mut self, ports: usize) -> u16 {
        20_000 + self.random.below(ports) as u16
    }

    fn is_in_use(&self, wanted: &Wanted) -> bool {
        let Wanted { from, protocol, local, remote, .. } = wanted;
        let is_echo = protocol.is_echo();
        self.talks.iter().any(|talk| {
            talk.end.is_none()
                && (talk.from, talk.protocol, talk.local) == (*from, *protocol, *local)
                && (is_echo || talk.remote == *remote)
        })
    }

    pub(crate) fn start_talk(&mut self, wanted: Wanted) {
        let id = self.talks.len() as u32;
        let rounds = 1 + self.random.below(6) as u16;
        self.talks.push(Talk::new(id, self.world.now, wanted, self.random.number(), rounds));
        self.soon(1, 5, Event::Talk { talk: id, version: 0 });
    }

    /// Somebody for `from` to talk to, and how.
    fn wish(&mut self, from: &Host) -> Option<Wanted> {
        let ipv4 = self.random.chance(700);
        let balanced = ipv4 && self.random.chance(300);
        let echo = !balanced && self.random.chance(200);
        let protocol = match (echo, ipv4, self.random.chance(600)) {
            (true, true, _) => Protocol::Icmp,
            (true, false, _) => Protocol::Icmpv6,
            (false, _, true) => Protocol::Tcp,
            (false, _, false) => Protocol::Udp,
        };
        let (way, remote, allowed) = if balanced {
            self.balancer(from, protocol)?
        } else {
            let (way, host, ip) = self.partner(from, ipv4)?;
            let port = if echo { 0 } else { *self.random.pick(&[443, 5353, 8080]) };
            (way, SocketAddr::new(ip, port), vec![host])
        };
        let local = SocketAddr::new(from.address(ipv4)?, self.local_port(FEW_PORTS));
        let wanted = Wanted { way, from: from.id, protocol, local, remote, allowed };
        (!self.is_in_use(&wanted)).then_some(wanted)
    }

    fn balancer(
        &mut self,
        from: &Host,
        protocol: Protocol,
    ) -> Option<(Way, SocketAddr, Vec<HostId>)> {
        let tenant = match from.tenant {
            Some(own) if self.random.chance(800) => own,
            _ => self.random.below(TENANTS),
        };
        let inside = from.tenant == Some(tenant) && self.random.chance(700);
        let ip = if inside { "10.0.0.50".to_owned() } else { format!("198.51.10{tenant}.9") };
        let port = if protocol == Protocol::Tcp { 80 } else { 53 };
        let targets = self.hosts.present().filter(|host| {
            let v4 = host.address(true).map(|ip| ip.to_string());
            let target = matches!(v4.as_deref(), Some("10.0.1.10" | "10.0.1.11" | "10.0.2.10"));
            host.tenant == Some(tenant) && target
        });
        let allowed = targets.map(|host| host.id).collect();
        Some((Way::Balanced, SocketAddr::new(ip.parse().ok()?, port), allowed))
    }

    fn partner(&mut self, from: &Host, ipv4: bool) -> Option<(Way, HostId, IpAddr)> {
        let outside = from.tenant.is_none();
        if outside || (ipv4 && self.random.chance(100)) {
            // By an Elastic IP address, of the own tenant's or the other's.
            let tenant = self.random.below(TENANTS);
            let instance = self.hosts.at(&format!("t{tenant}i1"), "10.0.1.10".parse().ok()?)?;
            let ip = format!("198.51.10{tenant}.20").parse().ok()?;
            let way = if outside { Way::In } else { Way::Out };
            return (ipv4 && instance.id != from.id).then_some((way, instance.id, ip));
        }
        let inside = self.random.chance(500);
        let candidates: Vec<_> = self
            .hosts
            .present()
            .filter(|host| match (inside, host.place) {
                (true, Place::Instance | Place::Segment) => {
                    let neighbours = host.place == Place::Segment && from.port == host.port;
                    host.tenant == from.tenant && host.id != from.id && !neighbours
                }
                (false, Place::Internet | Place::Link) => true,
                _ => false,
            })
            .filter_map(|host| Some((host.id, host.address(ipv4)?)))
            .collect();
        if candidates.is_empty() {
            return None;
        }
        let (host, ip) = *self.random.pick(&candidates);
        let way = match (from.place == Place::Environment, inside) {
            (true, true) => Way::Bridge,
            (true, false) => Way::Chain,
            (false, true) => Way::Inside,
            (false, false) => Way::Out,
        };
        Some((way, host, ip))
    }

    /// The packet of the moment goes out, and the next timer is set.
    pub(crate) fn talk_timer(&mut self, id: u32, version: u32) {
        let talk = &mut self.talks[id as usize];
        if talk.end.is_some() || talk.version != version {
            return;
        }
        let host = self.hosts.get(talk.from).clone();
        let gateway = self.gateway_mac(&host.port);
        // Some packets are not to come far, but are to be told of.
        let ttl = if self.random.chance(15) { 1 } else { 64 };
        let talk = &mut self.talks[id as usize];
        let Some(frame) = talk.say(host.mac, gateway, ttl) else { return };
        talk.version += 1;
        talk.heard = self.world.now;
        let version = talk.version;
        self.said.insert((host.id, talk.protocol, talk.local, talk.remote));
        self.send(&host.port, frame);
        if host.place == Place::Segment && self.random.chance(100) {
            self.ask_for_router(&host);
        }
        self.soon(900, 1100, Event::Talk { talk: id, version });
    }

    /// The next packet of a conversation comes soon, or after a pause that some idle times do not
    /// outlast.
    pub(crate) fn go_on(&mut self, id: u32) {
        self.talks[id as usize].version += 1;
        let version = self.talks[id as usize].version;
        let (from, to) = if self.random.chance(40) { (10_000, 90_000) } else { (5, 500) };
        self.soon(from, to, Event::Talk { talk: id, version });
    }

    /// A host on a segment asks for its router, and so tells where it is.
    fn ask_for_router(&mut self, host: &Host) {
        if let Some(IpAddr::V4(own)) = host.address(true) {
            let asks = build::arp_request(host.mac, own, [10, 0, 2, 1].into());
            self.send(&host.port, asks);
        }
    }

    /// Where frames of hosts behind a port are sent to.
    pub(crate) fn gateway_mac(&self, port: &str) -> MacAddr {
        self.world.find_port(port).map_or(MacAddr::default(), |_| self.world.mac(port))
    }
}
