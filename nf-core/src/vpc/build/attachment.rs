//! Attachments of network interfaces to instances: which place each takes, and what an instance as
//! a whole must have.

use super::derived::hash_of;
use super::ids::Ids;
use super::instance::{Instances, Site};
use super::network::Network;
use super::{InvalidKind, Path, Problems};
use crate::vpc::document::{self, NetworkInterfaceType};
use crate::vpc::hash::Map;
use crate::vpc::id::{AttachmentId, EniId, ResourceId};
use crate::vpc::invalid::InvalidAttachment;
use crate::vpc::model::{Attachment, InstanceIx, Subnet, VpcIx};

/// What is attached so far.
#[derive(Default)]
pub(super) struct Attachments {
    by_id: Map<AttachmentId, Path>,
    by_site: Map<(InstanceIx, Site), EniId>,
    /// By instance and network card.
    cards: Map<(InstanceIx, u16), Card>,
    /// By instance, in the order of the document.
    of_instance: Map<InstanceIx, Vec<Member>>,
}

/// What is on a network card.
#[derive(Default)]
struct Card {
    interfaces: u32,
    /// The interface with OS-bypass.
    bypass: Option<EniId>,
}

/// One of the interfaces of an instance.
struct Member {
    /// Of the attachment.
    path: Path,
    site: Site,
    /// Of its subnet, if that is right.
    vpc: Option<VpcIx>,
}

/// Where an attachment leads.
pub(super) struct Attached {
    pub(super) attachment: Attachment,
    /// The Linux interface that leads there, unless the instance is stopped.
    pub(super) port: Option<Box<str>>,
}

impl Attachments {
    /// Resolves the attachment of the interface at `path`, which is in `subnet` if that is right.
    pub(super) fn attach(
        &mut self,
        path: &Path,
        interface: &document::NetworkInterface,
        subnet: Option<&Subnet>,
        instances: &Instances<'_>,
        ids: &Ids<'_>,
        problems: &mut Problems,
    ) -> Option<Attached> {
        let attachment = interface.attachment.as_ref()?;
        let path = path.key("attachment");
        let id = attachment.attachment_id.clone().unwrap_or_else(|| derived_id(interface));
        let first = self.by_id.entry(id.clone()).or_insert_with(|| path.clone());
        if *first != path {
            problems.add(path.key("attachment_id"), InvalidKind::duplicate(&id, first.clone()));
        }

        let at = || path.key("instance_id");
        let instance = InstanceIx::at(ids.instances.find(&attachment.instance_id, at, problems)?);
        let (device_index, network_card_index) =
            (attachment.device_index, attachment.network_card_index);
        let site = Site { network_card_index, device_index };
        let name = || attachment.instance_id.clone();
        let zone = instances.zone(instance);
        if let Some(subnet) = subnet.filter(|subnet| *subnet.availability_zone != *zone) {
            let (found, wanted) = (subnet.availability_zone.clone(), zone.into());
            let kind = InvalidAttachment::OtherZone { instance: name(), found, wanted };
            problems.add(at(), kind.into());
        }
        let Some(max) = instances.card(instance, network_card_index) else {
            let kind = InvalidAttachment::NoCard { instance: name(), network_card_index };
            problems.add(path.key("network_card_index"), kind.into());
            return None;
        };
        let eni = &interface.network_interface_id;
        let taken = self.by_site.entry((instance, site)).or_insert_with(|| eni.clone());
        if taken != eni {
            let (instance, other) = (name(), taken.clone());
            let kind = InvalidAttachment::DeviceIndexTaken {
                instance,
                device_index,
                network_card_index,
                other,
            };
            problems.add(path.key("device_index"), kind.into());
            return None;
        }
        let member = Member { path: path.clone(), site, vpc: subnet.map(|subnet| subnet.vpc) };
        self.of_instance.entry(instance).or_default().push(member);

        let card = self.cards.entry((instance, network_card_index)).or_default();
        if card.interfaces == max.interfaces {
            let (instance, raise, max) = (name(), max.key, max.interfaces);
            let kind = InvalidAttachment::CardFull { instance, network_card_index, max, raise };
            problems.add(path.key("network_card_index"), kind.into());
        }
        card.interfaces += 1;
        if interface.interface_type.has_os_bypass() {
            let bypass = card.bypass.get_or_insert_with(|| eni.clone());
            if bypass != eni {
                let (instance, other) = (name(), bypass.clone());
                let kind = InvalidAttachment::SecondBypass { instance, network_card_index, other };
                problems.add(path.key("network_card_index"), kind.into());
            }
        }
        if site.is_primary() && interface.interface_type == NetworkInterfaceType::EfaOnly {
            problems.add(path.key("device_index"), InvalidAttachment::PrimaryWithoutIp.into());
        }
        let port = instances.port(instance, site);
        if port.is_none() {
            let kind =
                InvalidAttachment::NoPort { instance: name(), device_index, network_card_index };
            problems.add(path.key("device_index"), kind.into());
        }
        Some(Attached {
            attachment: Attachment {
                id,
                instance,
                device_index,
                network_card_index,
                delete_on_termination: attachment.delete_on_termination,
            },
            port: port.filter(|_| instances.is_running(instance)).map(|port| port.name.clone()),
        })
    }

    /// Reports instances that have interfaces but no primary one, and those whose interfaces have
    /// more than one owner.
    pub(super) fn check_instances(
        &self,
        instances: &Instances<'_>,
        network: &Network,
        problems: &mut Problems,
    ) {
        for (instance, id) in instances.ids() {
            let Some(members) = self.of_instance.get(&instance) else { continue };
            let primary = members.iter().find(|member| member.site.is_primary());
            if primary.is_none() {
                let kind = InvalidAttachment::NoPrimary { instance: id.clone() };
                problems.add(members[0].path.key("device_index"), kind.into());
            }
            let owner = |member: &Member| Some(&network.vpc(member.vpc?)?.owner_id);
            let Some(wanted) = primary.or(members.first()).and_then(owner) else { continue };
            for member in members {
                let Some(found) = owner(member).filter(|found| *found != wanted) else { continue };
                let (found, wanted) = (found.clone(), wanted.clone());
                let kind = InvalidAttachment::OtherOwner { instance: id.clone(), found, wanted };
                problems.add(member.path.key("instance_id"), kind.into());
            }
        }
    }
}

/// The id of an attachment that the document gives none.
fn derived_id(interface: &document::NetworkInterface) -> AttachmentId {
    let instance = interface.attachment.as_ref().map_or("", |it| it.instance_id.as_str());
    let parts = ["attachment", interface.network_interface_id.as_str(), instance];
    AttachmentId::from_hash(hash_of(&parts))
}
