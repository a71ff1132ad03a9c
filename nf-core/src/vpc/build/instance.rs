//! Instances: where an interface can be attached to them, and by which port it is reached there.

use super::{Path, Problems};
use crate::vpc::document::{Document, InstancePort, InstanceState};
use crate::vpc::hash::Map;
use crate::vpc::id::InstanceId;
use crate::vpc::invalid::InvalidAttachment;
use crate::vpc::model::{Instance, InstanceIx};

/// The instances of a document.
pub(super) struct Instances<'d> {
    pub(super) resolved: Vec<Option<Instance>>,
    document: &'d Document,
    ports: Map<(InstanceIx, Site), &'d InstancePort>,
    /// By instance and network card.
    cards: Map<(InstanceIx, u16), CardLimit>,
}

/// A place at an instance that takes one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Site {
    pub(super) network_card_index: u16,
    pub(super) device_index: u16,
}

impl Site {
    /// Whether the instance's primary interface belongs there.
    pub(super) const fn is_primary(self) -> bool {
        self.network_card_index == 0 && self.device_index == 0
    }
}

/// How many interfaces a network card takes.
#[derive(Clone, Copy)]
pub(super) struct CardLimit {
    pub(super) interfaces: u32,
    /// The key that says so.
    pub(super) key: &'static str,
}

impl<'d> Instances<'d> {
    pub(super) fn resolve(document: &'d Document, problems: &mut Problems) -> Self {
        let mut instances = Self {
            resolved: Vec::with_capacity(document.instance.len()),
            document,
            ports: Map::default(),
            cards: Map::default(),
        };
        for (place, instance) in document.instance.iter().enumerate() {
            let path = Path::of("instance", place);
            let zone = &instance.availability_zone;
            problems.check_word(|| path.key("availability_zone"), "zone", zone);
            let ix = InstanceIx::at(place);
            instances.describe_cards(ix, &path, problems);
            instances.place_ports(ix, &path, problems);
            instances.resolved.push(Some(Instance {
                id: instance.instance_id.clone(),
                state: instance.state,
                availability_zone: zone.as_str().into(),
            }));
        }
        instances
    }

    /// Every instance's id.
    pub(super) fn ids(&self) -> impl Iterator<Item = (InstanceIx, &'d InstanceId)> {
        let instances = self.document.instance.iter().enumerate();
        instances.map(|(place, it)| (InstanceIx::at(place), &it.instance_id))
    }

    /// The zone of an instance.
    pub(super) fn zone(&self, ix: InstanceIx) -> &'d str {
        &self.document.instance[ix.place()].availability_zone
    }

    pub(super) fn is_running(&self, ix: InstanceIx) -> bool {
        self.document.instance[ix.place()].state == InstanceState::Running
    }

    /// What a network card takes, if the instance has it.
    pub(super) fn card(&self, ix: InstanceIx, network_card_index: u16) -> Option<CardLimit> {
        self.cards.get(&(ix, network_card_index)).copied()
    }

    /// The port that leads to a place.
    pub(super) fn port(&self, ix: InstanceIx, site: Site) -> Option<&'d InstancePort> {
        self.ports.get(&(ix, site)).copied()
    }

    /// The cards that the document describes. Card 0 is there in any case.
    fn describe_cards(&mut self, ix: InstanceIx, path: &Path, problems: &mut Problems) {
        let all = path.key("network_card");
        let mut described: Map<u16, usize> = Map::default();
        let cards = &self.document.instance[ix.place()].network_card;
        for (position, card) in cards.iter().enumerate() {
            let path = all.index(position);
            let (network_card_index, interfaces) =
                (card.network_card_index, card.maximum_network_interfaces);
            let at = || path.key("maximum_network_interfaces");
            problems.check_range(at, interfaces, 1, u16::MAX.into());
            let first = *described.entry(network_card_index).or_insert(position);
            if first != position {
                let other = all.index(first);
                let kind = InvalidAttachment::SecondCard { network_card_index, other };
                problems.add(path.key("network_card_index"), kind.into());
            }
            let limit = CardLimit { interfaces, key: "its maximum_network_interfaces" };
            self.cards.entry((ix, network_card_index)).or_insert(limit);
        }
        self.cards.entry((ix, 0)).or_insert_with(|| default_limit(self.document));
    }

    /// The ports by their places, and the cards that they are on.
    fn place_ports(&mut self, ix: InstanceIx, path: &Path, problems: &mut Problems) {
        let all = path.key("port");
        let mut placed: Map<Site, usize> = Map::default();
        let document = self.document;
        for (position, port) in document.instance[ix.place()].port.iter().enumerate() {
            let &InstancePort { network_card_index, device_index, .. } = port;
            let site = Site { network_card_index, device_index };
            let first = *placed.entry(site).or_insert(position);
            if first != position {
                let other = all.index(first);
                let kind =
                    InvalidAttachment::PortPlaceTaken { device_index, network_card_index, other };
                problems.add(all.index(position).key("device_index"), kind.into());
            }
            self.ports.entry((ix, site)).or_insert(port);
            let card = self.cards.entry((ix, network_card_index));
            card.or_insert_with(|| default_limit(document));
        }
    }
}

/// What a network card takes that says nothing of it.
const fn default_limit(document: &Document) -> CardLimit {
    CardLimit {
        interfaces: document.quotas.network_interfaces_per_network_card,
        key: "quotas.network_interfaces_per_network_card",
    }
}
