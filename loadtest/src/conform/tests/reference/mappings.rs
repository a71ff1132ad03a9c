//! Who is known by which port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use nf_core::packet::TcpFlags;

use super::{CLIENTS, EXTERNAL, Flaw, Nature};

/// Protocol; one's end; the other's, where a mapping is for it alone.
type Key = (u8, SocketAddr, Option<SocketAddr>);

#[derive(Clone, Debug)]
pub struct Mapping {
    protocol: u8,
    pub client: SocketAddr,
    pub external: SocketAddr,
    /// Whom the mapping is for, if it is for one.
    pub server: Option<SocketAddr>,
    /// Whom the client has sent to.
    friends: BTreeSet<SocketAddr>,
    touched: Duration,
    /// TCP's flags of either side, or-ed.
    seen: [u8; 2],
    is_over: bool,
}

pub struct Mappings {
    nature: Nature,
    all: Vec<Mapping>,
    by_client: BTreeMap<Key, usize>,
    by_external: BTreeMap<Key, usize>,
    now: Duration,
    lots: u64,
    counted: u16,
}

impl Mappings {
    pub fn new(nature: Nature) -> Self {
        Self {
            nature,
            all: Vec::new(),
            by_client: BTreeMap::new(),
            by_external: BTreeMap::new(),
            now: Duration::ZERO,
            lots: 1,
            counted: 1024,
        }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.nature.flaw == Some(flaw)
    }

    /// Lets time pass; those that end meanwhile.
    pub fn pass(&mut self, time: Duration) -> Vec<Mapping> {
        let before: Vec<_> = (0..self.all.len()).filter(|it| self.lives(*it)).collect();
        self.now += time;
        before.into_iter().filter(|it| !self.lives(*it)).map(|it| self.all[it].clone()).collect()
    }

    /// In seconds.
    fn lifetime(&self, mapping: &Mapping) -> u64 {
        let seen = mapping.seen[0] | mapping.seen[1];
        let both = mapping.seen[0] & mapping.seen[1];
        match mapping.protocol {
            _ if self.is(Flaw::ForgetsAll) => 10,
            17 if self.is(Flaw::ForgetsUdp) => 110,
            17 => 300,
            1 if self.is(Flaw::ForgetsPings) => 30,
            1 => 60,
            _ if self.is(Flaw::ForgetsClosed) && both & TcpFlags::FIN.0 != 0 => 120,
            _ if self.is(Flaw::ForgetsHalfOpen) && both & TcpFlags::SYN.0 == 0 => 120,
            _ if seen & TcpFlags::RST.0 != 0 || both & TcpFlags::FIN.0 != 0 => 240,
            _ if both & TcpFlags::SYN.0 == 0 => 240,
            _ if self.nature.is_aws => 350,
            _ => 7440,
        }
    }

    fn lives(&self, number: usize) -> bool {
        let mapping = &self.all[number];
        let idle = self.now.saturating_sub(mapping.touched);
        !mapping.is_over && idle < Duration::from_secs(self.lifetime(mapping))
    }

    fn is_symmetric(&self) -> bool {
        self.nature.is_aws || self.is(Flaw::Symmetric)
    }

    pub fn get(&self, number: usize) -> &Mapping {
        &self.all[number]
    }

    /// A client's towards a server.
    pub fn out(&self, protocol: u8, client: SocketAddr, server: SocketAddr) -> Option<usize> {
        let server = self.is_symmetric().then_some(server);
        let number = *self.by_client.get(&(protocol, client, server))?;
        self.lives(number).then_some(number)
    }

    /// By whom somebody outside is let in.
    pub fn back(&self, protocol: u8, external: SocketAddr, server: SocketAddr) -> Option<usize> {
        let other = self.is_symmetric().then_some(server);
        let mut found = self.by_external.get(&(protocol, external, other));
        if self.is(Flaw::MixesProtocols) && protocol == 17 {
            found = found.or_else(|| self.by_external.get(&(6, external, other)));
        }
        let number = *found?;
        let friends = &self.all[number].friends;
        let is_friend = friends.contains(&server);
        let is_friends_host = friends.iter().any(|it| it.ip() == server.ip());
        let let_in = match self.nature.flaw {
            Some(Flaw::FiltersByPort) => is_friend,
            Some(Flaw::FiltersByAddress) => is_friends_host,
            _ => true,
        };
        (self.lives(number) && let_in).then_some(number)
    }

    /// Opens one, if there is a port for it.
    pub fn open(&mut self, protocol: u8, client: SocketAddr, server: SocketAddr) -> Option<usize> {
        let server = self.is_symmetric().then_some(server);
        let limit = self.nature.ports_per_host.filter(|_| !self.is(Flaw::KnowsNoLimit));
        if let Some(most) = limit {
            let of_host = |it: &usize| self.all[*it].client.ip() == client.ip() && self.lives(*it);
            if (0..self.all.len()).filter(of_host).count() >= usize::from(most) {
                return None;
            }
        }
        let external = (0..4000).find_map(|attempt| {
            let external = self.candidate(client, attempt);
            let taken = self.by_external.get(&(protocol, external, server));
            taken.is_none_or(|it| !self.lives(*it)).then_some(external)
        })?;
        let number = self.all.len();
        self.all.push(Mapping {
            protocol,
            client,
            external,
            server,
            friends: BTreeSet::new(),
            touched: self.now,
            seen: [0; 2],
            is_over: false,
        });
        self.by_client.insert((protocol, client, server), number);
        self.by_external.insert((protocol, external, server), number);
        Some(number)
    }

    /// `SplitMix64`.
    fn lot(&mut self) -> u64 {
        self.lots = self.lots.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.lots;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn candidate(&mut self, client: SocketAddr, attempt: u32) -> SocketAddr {
        let place = CLIENTS.iter().position(|it| client.ip() == *it).unwrap_or_default();
        let address = if self.is(Flaw::Pools) { self.lot() as usize } else { place / 2 };
        let lot = self.lot();
        let count = u64::from(self.nature.ports.unwrap_or(64_512));
        let any = 1024 + (lot % count) as u16;
        let port = if self.is(Flaw::CountsPorts) {
            self.counted = if self.counted == u16::MAX { 1024 } else { self.counted + 1 };
            self.counted
        } else if self.is(Flaw::KeepsPorts) && attempt == 0 {
            client.port()
        } else if self.nature.is_aws || self.is(Flaw::LosesParity) {
            any
        } else if client.port() < 1024 {
            ((lot % 512) as u16 * 2) | (client.port() & 1)
        } else {
            (any & !1) | (client.port() & 1)
        };
        (EXTERNAL[address % EXTERNAL.len()], port).into()
    }

    /// A packet of either side goes by it.
    pub fn used(
        &mut self,
        number: usize,
        server: SocketAddr,
        flags: Option<TcpFlags>,
        outward: bool,
    ) {
        let refreshes = outward && !self.is(Flaw::RefreshesNothing);
        let (now, mapping) = (self.now, &mut self.all[number]);
        let flags = flags.map_or(0, |it| it.0);
        // A connection that goes on after a RST does not end.
        if flags & TcpFlags::RST.0 == 0 {
            mapping.seen = mapping.seen.map(|it| it & !TcpFlags::RST.0);
        }
        mapping.seen[usize::from(outward)] |= flags;
        if refreshes || flags != 0 {
            mapping.touched = now;
        }
        if outward {
            mapping.friends.insert(server);
        }
    }

    /// Ends it, if such a segment does.
    pub fn ended(&mut self, number: usize, flags: Option<TcpFlags>) {
        let Some(flags) = flags else { return };
        let by_reset = flags.contains(TcpFlags::RST) && self.is(Flaw::EndsByReset);
        let by_fin = flags.contains(TcpFlags::FIN) && self.is(Flaw::EndsByFin);
        if by_reset || by_fin {
            self.end(number);
        }
    }

    pub fn end(&mut self, number: usize) {
        self.all[number].is_over = true;
    }
}
