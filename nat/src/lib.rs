//! The NAT gateway: instances without a public address reach the internet, and nobody reaches
//! them, unless they are asked to.
//!
//! Mapping is address- and port-dependent, as AWS's is: a port is leased per destination, so one
//! address carries 64,512 flows to each, and nothing but the answers of a flow comes in. Or it is
//! endpoint-independent, as RFC 4787 wants it: what a host is seen as does not depend on whom it
//! talks to, and whoever learns of that may send to it, as far as the gateway's filtering lets them.
//! IPv6 clients reach IPv4 servers through it as well (`nat64.rs`). What leases and mappings mean is
//! in [`nf_core::translator`].

#![forbid(unsafe_code)]

mod nat64;

use nf_core::fast_path::Metered;
use nf_core::pipeline::{
    Claim, FlowEnd, Function, MeterKey, MeteredAs, Originated, Passed, PortPool, Refusal, Walk,
};
use nf_core::time::Time;
use nf_core::translator::{
    External, Holdings, PAIRED, RealmConfig, RealmUsage, RefusedDestination, SourceTranslator,
};
use nf_core::tuple::Protocol;
use nf_core::verdict::Drop;
use nf_core::vpc::id::{NatGatewayId, ResourceId as _};
use nf_core::vpc::{
    ConnectivityType, EniIx, ExhaustionReply, InterfaceType, NatAddress, NatGateway, Owner,
    Snapshot,
};

/// All NAT gateways.
pub struct Nat {
    translator: SourceTranslator<NatGatewayId>,
}

impl Nat {
    /// None yet; `seed` decides which ports are leased.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { translator: SourceTranslator::new(seed) }
    }

    /// What each gateway has done and holds.
    pub fn usage(&self) -> impl Iterator<Item = (&NatGatewayId, RealmUsage)> {
        self.translator.usage()
    }

    /// Who holds the most ports of each gateway, at most `most` clients and destinations.
    pub fn holdings(&self, most: usize) -> impl Iterator<Item = (&NatGatewayId, Holdings)> {
        self.translator.holdings(most)
    }

    /// Toward whom each gateway had no port to give.
    pub fn refused(&self) -> impl Iterator<Item = (&NatGatewayId, Vec<RefusedDestination>)> {
        self.translator.refused()
    }

    /// Flows that hold a port, those of gateways that are no longer desired included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.translator.held()
    }
}

impl Function for Nat {
    fn interface_type(&self) -> InterfaceType {
        InterfaceType::NatGateway
    }

    fn apply_snapshot(&mut self, _now: Time, snapshot: &Snapshot) {
        let gateways = snapshot.nat_gateways().map(|(_, gateway)| RealmConfig {
            key: gateway.id.clone(),
            externals: gateway.addresses.iter().map(external).collect(),
            pooling: PAIRED,
            meter: Some(MeterKey::of(gateway.id.as_str())),
            nat64_prefix: gateway.nat64_prefixes.first().copied(),
            translation: &gateway.translation,
        });
        self.translator.configure(gateways);
    }

    fn enter(
        &mut self,
        walk: &mut Walk<'_>,
        eni: EniIx,
        held: Option<Claim>,
    ) -> Result<Passed, Refusal> {
        let Owner::NatGateway(ix) = walk.snapshot.eni(eni).owner else {
            return Err(Refusal::Drop(Drop::NoDestination));
        };
        let gateway = walk.snapshot.nat_gateway(ix);
        nat64::enter(walk, &gateway.nat64_prefixes);
        let dst = walk.tuple.dst.ip();
        let next = gateway.subnet;
        let protocol = walk.tuple.protocol;
        let refuse = |reason| refusal(gateway, protocol, reason);
        if gateway.addresses.iter().any(|a| a.private_ip == dst || a.public_ip == Some(dst)) {
            // Nothing is answered: the sender may be anyone.
            if walk.is_late_tcp() {
                return Err(Refusal::Drop(Drop::Unsolicited));
            }
            let is_client = is_client(walk, gateway);
            let claim = self.translator.translate_back(walk, &gateway.id, is_client, held);
            return Ok(Passed { claim: claim.map_err(refuse)?, next });
        }
        if walk.is_late_tcp() {
            return Err(Refusal::Reset(Drop::NoFlow));
        }
        let claim = self.translator.translate(walk, &gateway.id, held).map_err(refuse)?;
        Ok(Passed { claim, next })
    }

    fn release(&mut self, now: Time, claim: Claim, end: FlowEnd) {
        self.translator.release(now, claim, end);
    }

    fn port_pool(&self, claim: Claim) -> Option<PortPool> {
        self.translator.port_pool(claim)
    }

    fn forwards_fragments(&self, claim: Claim, protocol: Protocol) -> bool {
        let translation = self.translator.translation(claim);
        translation.is_none_or(|translation| translation.forwards_fragments(protocol))
    }

    fn set_aside(&mut self, now: Time, pool: PortPool, count: usize, ports: &mut Vec<u16>) {
        self.translator.set_aside(now, pool, count, ports);
    }

    fn take_back(&mut self, now: Time, pool: PortPool, port: u16, end: FlowEnd) {
        self.translator.take_back(now, pool, port, end);
    }

    fn metered_as(&self, claim: Claim) -> Option<MeteredAs> {
        self.translator.metered_as(claim)
    }

    fn answered(&mut self, claim: Claim) {
        self.translator.answered(claim);
    }

    fn refused(&mut self, snapshot: &Snapshot, eni: EniIx, from_internet: bool, seen: Metered) {
        if let Owner::NatGateway(ix) = snapshot.eni(eni).owner {
            self.translator.refused_packet(&snapshot.nat_gateway(ix).id, from_internet, seen);
        }
    }

    fn advance(&mut self, now: Time, _send: &mut Vec<Originated>) {
        self.translator.expire(now);
    }

    fn next_deadline(&self) -> Option<Time> {
        // Quarantines also end as ports are leased; nothing waits for `advance`.
        None
    }
}

const fn external(address: &NatAddress) -> External {
    let &NatAddress { private_ip, public_ip, is_draining } = address;
    External { ip: private_ip, public_ip, is_draining }
}

/// Whether a packet for a gateway's own address comes from one of those whom the gateway hides, not
/// from one whom it hides them from. A private gateway has no internet gateway in between that would
/// tell: its clients are in its VPC.
fn is_client(walk: &Walk<'_>, gateway: &NatGateway) -> bool {
    match gateway.connectivity_type {
        ConnectivityType::Public => !walk.from_internet,
        ConnectivityType::Private => {
            walk.snapshot.subnet_at(gateway.vpc, walk.tuple.src.ip()).is_some()
        }
    }
}

/// What becomes of a packet that got no port: its sender is told, so that it need not wait.
const fn refusal(gateway: &NatGateway, protocol: Protocol, reason: Drop) -> Refusal {
    match (reason, gateway.translation.exhaustion_reply, protocol) {
        (
            Drop::PortAllocation | Drop::ClientQuota | Drop::FairShare,
            ExhaustionReply::Reset,
            Protocol::Tcp,
        ) => Refusal::Reset(reason),
        (Drop::PortAllocation | Drop::ClientQuota | Drop::FairShare, _, _) => {
            Refusal::Prohibit(reason)
        }
        _ => Refusal::Drop(reason),
    }
}
