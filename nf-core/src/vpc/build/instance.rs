//! Instances and the attachments of network interfaces to them.

use super::derived::hash_of;
use super::ids::Ids;
use super::{Path, Problems};
use crate::vpc::document::{self, Document, InstanceState};
use crate::vpc::id::{AttachmentId, DealtId as _, ResourceId};
use crate::vpc::model::{Attachment, Instance, InstanceIx};

/// The instances of a document.
pub(super) struct Instances<'d> {
    pub(super) instances: Vec<Option<Instance>>,
    document: &'d Document,
}

/// Where an attachment leads.
pub(super) struct Attached {
    pub(super) attachment: Attachment,
    /// The interface that leads there, unless the instance is stopped.
    pub(super) port: Option<Box<str>>,
}

impl<'d> Instances<'d> {
    pub(super) fn resolve(document: &'d Document) -> Self {
        let instances = document.instance.iter().map(|instance| {
            Some(Instance {
                id: instance.instance_id.clone(),
                state: instance.state,
                availability_zone: instance.availability_zone.as_str().into(),
            })
        });
        Self { instances: instances.collect(), document }
    }

    /// Resolves the attachment of one interface.
    pub(super) fn attach(
        &self,
        path: &Path,
        interface: &document::NetworkInterface,
        ids: &Ids<'_>,
        problems: &mut Problems,
    ) -> Option<Attached> {
        let attachment = interface.attachment.as_ref()?;
        let at = || path.key("attachment").key("instance_id");
        let place = ids.instances.find(&attachment.instance_id, at, problems)?;
        let instance = &self.document.instance[place];
        let port = instance.port.iter().find(|port| {
            (port.device_index, port.network_card_index)
                == (attachment.device_index, attachment.network_card_index)
        });
        let running = instance.state == InstanceState::Running;
        Some(Attached {
            attachment: Attachment {
                id: attachment.attachment_id.clone().unwrap_or_else(|| derived_id(interface)),
                instance: InstanceIx::at(place),
                device_index: attachment.device_index,
                network_card_index: attachment.network_card_index,
                delete_on_termination: attachment.delete_on_termination,
            },
            port: port.filter(|_| running).map(|port| port.name.clone()),
        })
    }
}

/// The id of an attachment that the document gives none.
fn derived_id(interface: &document::NetworkInterface) -> AttachmentId {
    let instance = interface.attachment.as_ref().map_or("", |it| it.instance_id.as_str());
    let parts = ["attachment", interface.network_interface_id.as_str(), instance];
    AttachmentId::dealt(hash_of(&parts).into())
}
