//! The Lambda bridge: thousands of short-lived execution environments share one managed ENI in a
//! customer's subnet.
//!
//! Environments are clones. All of them may have the same addresses and the same MAC address; the
//! port a packet comes in by tells them apart, and behind the ENI its leased port does. Traffic
//! goes one way, from the environments into the VPC, as with AWS's VPC-to-VPC NAT.
//!
//! Flows leave from the ENI's primary address as long as it has ports toward their destination, so
//! that whoever lets in one address has let in them all; then from the addresses of its prefixes,
//! each of which has as many ports again.

#![forbid(unsafe_code)]

use nf_core::lease::Pooling;
use nf_core::pipeline::{Claim, FlowEnd, Function, Originated, Passed, PortPool, Refusal, Walk};
use nf_core::time::Time;
use nf_core::translator::{External, RealmConfig, RealmUsage, SourceTranslator};
use nf_core::verdict::Drop;
use nf_core::vpc::id::BridgeId;
use nf_core::vpc::{EniIx, InterfaceType, Owner, Snapshot};

/// All bridges.
pub struct LambdaBridge {
    translator: SourceTranslator<BridgeId>,
}

impl LambdaBridge {
    /// None yet; `seed` decides which ports are leased.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { translator: SourceTranslator::new(seed) }
    }

    /// What each bridge has done and holds.
    pub fn usage(&self) -> impl Iterator<Item = (&BridgeId, RealmUsage)> {
        self.translator.usage()
    }

    /// Flows that hold a port, those of bridges that are no longer desired included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.translator.held()
    }
}

impl Function for LambdaBridge {
    fn interface_type(&self) -> InterfaceType {
        InterfaceType::Lambda
    }

    fn apply_snapshot(&mut self, _now: Time, snapshot: &Snapshot) {
        let bridges = snapshot.bridges().map(|(_, bridge)| RealmConfig {
            key: bridge.id.clone(),
            externals: snapshot
                .eni(bridge.eni)
                .source_addresses()
                .map(|ip| External { ip, public_ip: None, is_draining: false })
                .collect(),
            pooling: Pooling::InOrder,
            nat64_prefix: None,
            meter: None,
            translation: &bridge.translation,
        });
        self.translator.configure(bridges);
    }

    fn enter(
        &mut self,
        walk: &mut Walk<'_>,
        eni: EniIx,
        held: Option<Claim>,
    ) -> Result<Passed, Refusal> {
        let view = walk.snapshot.eni(eni);
        let Owner::Bridge(ix) = view.owner else {
            return Err(Refusal::Drop(Drop::NoDestination));
        };
        // Nobody reaches an environment, not even through its own ENI.
        if view.has_address(walk.tuple.dst.ip()) {
            return Err(Refusal::Drop(Drop::Unsolicited));
        }
        if walk.is_late_tcp() {
            return Err(Refusal::Reset(Drop::NoFlow));
        }
        let bridge = walk.snapshot.bridge(ix);
        let claim = self.translator.translate(walk, &bridge.id, held).map_err(Refusal::Drop)?;
        Ok(Passed { claim, next: view.subnet })
    }

    fn release(&mut self, now: Time, claim: Claim, end: FlowEnd) {
        self.translator.release(now, claim, end);
    }

    fn port_pool(&self, claim: Claim) -> Option<PortPool> {
        self.translator.port_pool(claim)
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
