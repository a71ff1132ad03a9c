//! The NAT gateway: instances without a public address reach the internet, and nobody reaches
//! them.
//!
//! Mapping is address- and port-dependent, as AWS's is: a port is leased per destination, so one
//! address carries 64,512 flows to each. The gateway's own addresses answer nothing. What leases
//! mean is in [`nf_core::translator`].

#![forbid(unsafe_code)]

use nf_core::pipeline::{Claim, FlowEnd, Function, Originated, Passed, PortPool, Refusal, Walk};
use nf_core::time::Time;
use nf_core::translator::{External, PAIRED, RealmConfig, RealmUsage, SourceTranslator};
use nf_core::tuple::Protocol;
use nf_core::verdict::Drop;
use nf_core::vpc::id::NatGatewayId;
use nf_core::vpc::{EniIx, InterfaceType, Owner, Snapshot};

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
            externals: gateway
                .addresses
                .iter()
                .map(|address| External { ip: address.private_ip, public_ip: address.public_ip })
                .collect(),
            pooling: PAIRED,
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
        let dst = walk.tuple.dst.ip();
        if gateway.addresses.iter().any(|a| a.private_ip == dst || a.public_ip == Some(dst)) {
            return Err(Refusal::Drop(Drop::Unsolicited));
        }
        if walk.is_late_tcp() {
            return Err(Refusal::Reset(Drop::NoFlow));
        }
        let claim = self.translator.translate(walk, &gateway.id, held).map_err(Refusal::Drop)?;
        Ok(Passed { claim, next: gateway.subnet })
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

    fn advance(&mut self, now: Time, _send: &mut Vec<Originated>) {
        self.translator.expire(now);
    }

    fn next_deadline(&self) -> Option<Time> {
        // Quarantines also end as ports are leased; nothing waits for `advance`.
        None
    }
}
