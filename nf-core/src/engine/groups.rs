//! What security groups have turned away.
//!
//! A group only allows, so no single one refuses a packet: all groups of the interface were asked
//! and none of them allowed it. Each of them counts it once.

use std::collections::BTreeMap;

use super::Engine;
use super::passage::Passage;
use crate::fast_path::Usage;
use crate::vpc::id::SecurityGroupId;
use crate::vpc::{Snapshot, TrafficDirection};

/// Packets that were rejected, by group and direction. Kept by the groups' ids, so that they go on
/// over snapshots; those of a group that is removed go with it.
#[derive(Debug, Default)]
pub(super) struct Groups {
    rejected: BTreeMap<SecurityGroupId, Rejected>,
}

/// Packets that were rejected where a group was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// To an interface in the group.
    pub ingress: u64,
    /// From one.
    pub egress: u64,
}

impl Groups {
    /// A new snapshot: what it has no group of is forgotten.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) {
        let mut rejected = BTreeMap::new();
        for (_, group) in snapshot.security_groups() {
            let before = self.rejected.get(&group.id).copied().unwrap_or_default();
            rejected.insert(group.id.clone(), before);
        }
        self.rejected = rejected;
    }
}

impl Engine {
    /// Packets that each security group has rejected so far, none included, by the groups' ids.
    pub fn rejected_by_groups(&self) -> impl Iterator<Item = (&SecurityGroupId, &Rejected)> {
        self.groups.rejected.iter()
    }

    /// The groups of an interface have let none of this through.
    pub(super) fn rejected(&mut self, passage: &Passage, usage: Usage) {
        for group in &self.snapshot.eni(passage.eni).groups {
            let id = &self.snapshot.security_group(*group).id;
            let Some(rejected) = self.groups.rejected.get_mut(id) else { continue };
            match passage.direction {
                TrafficDirection::Ingress => rejected.ingress += usage.packets,
                TrafficDirection::Egress => rejected.egress += usage.packets,
            }
        }
    }
}
