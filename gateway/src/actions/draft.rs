//! A document that actions are being applied to, and what it says at each step.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use nf_core::id::Generation;
use nf_core::vpc::document::{Document, UnixTime};
use nf_core::vpc::id::EniId;
use nf_core::vpc::{Eni, Owner, Snapshot};

use super::nat_gateway::write_down;
use super::{IdSource, Refusal};

/// Names of the Linux interfaces that are there: a network interface is only in use while its port
/// is.
pub type Present = HashSet<Box<str>>;

/// What is to be told about: a document, what it says, and what of it is there.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The document.
    pub document: &'a Document,
    /// What it says. Declared interfaces, subnets and the like have the same places in both.
    pub snapshot: &'a Snapshot,
    /// Which ports there are.
    pub present: &'a Present,
}

/// A document that is being changed, action by action. It is valid after each of them.
#[derive(Debug)]
pub struct Draft {
    document: Document,
    snapshot: Arc<Snapshot>,
    generation: Generation,
    present: Present,
    ids: IdSource,
    now: UnixTime,
    changed: bool,
}

/// One change under way: the document may be anything until it is through.
pub(super) struct Edit<'a> {
    /// The document.
    pub(super) document: &'a mut Document,
    /// What it said before.
    pub(super) before: &'a Snapshot,
    /// For what is made.
    pub(super) ids: &'a mut IdSource,
    /// When it is.
    pub(super) now: UnixTime,
}

/// What came of all actions.
#[derive(Debug)]
pub struct Changed {
    /// The document.
    pub document: Document,
    /// What it says.
    pub snapshot: Arc<Snapshot>,
}

impl Draft {
    /// Begins with `document`, which says `snapshot`. What it will say has number `generation`;
    /// `now` is when all of it is done.
    #[must_use]
    pub fn new(
        document: Document,
        snapshot: Arc<Snapshot>,
        generation: Generation,
        present: Present,
        ids: IdSource,
        now: UnixTime,
    ) -> Self {
        Self { document, snapshot, generation, present, ids, now, changed: false }
    }

    /// What it says by now.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        let Self { document, snapshot, present, .. } = self;
        View { document, snapshot, present }
    }

    /// What came of it, if anything has changed.
    #[must_use]
    pub fn finish(self) -> Option<Changed> {
        let Self { document, snapshot, changed, .. } = self;
        changed.then_some(Changed { document, snapshot })
    }

    /// Changes the document. After an error the draft is of no more use.
    pub(super) fn edit<T>(
        &mut self,
        change: impl FnOnce(&mut Edit<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Self { document, snapshot, ids, now, .. } = self;
        let done = change(&mut Edit { document, before: snapshot, ids, now: *now })?;
        let mut after = self.build()?;
        if keep_addresses(&mut self.document, &self.snapshot, &after) {
            after = self.build()?;
        }
        self.snapshot = Arc::new(after);
        self.changed = true;
        Ok(done)
    }

    fn build(&self) -> Result<Snapshot, Refusal> {
        Snapshot::build(self.generation, &self.document)
            .map_err(|invalid| Refusal::of_document(&invalid))
    }
}

/// Writes down the addresses of managed interfaces that the document leaves to the gateway, where they
/// would be others now because something else has come or gone: at EC2 an interface keeps its
/// addresses. Whether there were any.
fn keep_addresses(document: &mut Document, before: &Snapshot, after: &Snapshot) -> bool {
    let managed = before.enis().map(|(_, eni)| eni).filter(|eni| eni.is_requester_managed());
    let had: HashMap<&EniId, &Eni> = managed.map(|eni| (&eni.id, eni)).collect();
    let mut any = false;
    for (_, eni) in after.enis() {
        let Some(had) = had.get(&eni.id).filter(|had| !had.addresses().eq(eni.addresses())) else {
            continue;
        };
        let Some(&kept) = had.private_ips.first() else { continue };
        let said = match eni.owner {
            Owner::Instance => continue,
            Owner::NatGateway(ix) => {
                let gateway = &mut document.nat_gateway[ix.0 as usize];
                let as_it_was = gateway.clone();
                write_down(gateway, before);
                any |= *gateway != as_it_was;
                continue;
            }
            Owner::Bridge(ix) => &mut document.lambda_bridge[ix.0 as usize].private_ip_address,
            Owner::LoadBalancer(ix) => {
                let subnet = &after.subnet(eni.subnet).id;
                let mut nodes = document.load_balancer[ix.0 as usize].subnet_mapping.iter_mut();
                let Some(node) = nodes.find(|node| node.subnet_id == *subnet) else { continue };
                &mut node.private_ipv4_address
            }
        };
        // What somebody has written is not what changed it.
        any |= said.is_none();
        said.get_or_insert(kept);
    }
    any
}
