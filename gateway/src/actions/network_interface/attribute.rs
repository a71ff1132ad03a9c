//! What of a network interface can be changed, one attribute a call.

use nf_core::vpc::document::ConnectionTracking;
use serde::{Deserialize, Serialize};

use super::own_interface;
use crate::actions::security_group::named_groups;
use crate::actions::{Action, AttributeValue, Change, Draft, Edit, Refusal, Return};

/// Changes one attribute.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifyNetworkInterfaceAttribute {
    /// The interface.
    pub network_interface_id: String,
    /// Its description.
    pub description: Option<AttributeValue<String>>,
    /// Ids of its security groups: all of them, at least one.
    pub groups: Option<Vec<String>>,
    /// Whether packets neither from nor to its own addresses are dropped.
    pub source_dest_check: Option<AttributeValue<bool>>,
    /// What becomes of it when its instance is terminated.
    pub attachment: Option<ModifyAttachment>,
    /// Idle times of its flows; what is left out goes back to its default.
    pub connection_tracking_specification: Option<ConnectionTracking>,
}

/// A change of an attachment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifyAttachment {
    /// The attachment.
    pub attachment_id: String,
    /// Whether the interface goes when the instance does.
    pub delete_on_termination: bool,
}

impl Action for ModifyNetworkInterfaceAttribute {
    const NAME: &'static str = "ModifyNetworkInterfaceAttribute";
    type Answer = Return;
}

impl Change for ModifyNetworkInterfaceAttribute {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        let attributes = [
            self.description.is_some(),
            self.groups.is_some(),
            self.source_dest_check.is_some(),
            self.attachment.is_some(),
            self.connection_tracking_specification.is_some(),
        ];
        if attributes.iter().filter(|given| **given).count() != 1 {
            let message = "one attribute is changed at a time: description, groups, \
                           source_dest_check, attachment or connection_tracking_specification";
            return Err(Refusal::combination(message));
        }
        draft.edit(|edit| {
            let place = own_interface(edit, &self.network_interface_id)?;
            if let Some(named) = &self.groups {
                if named.is_empty() {
                    let message = "a network interface has at least one security group";
                    return Err(Refusal::value(message));
                }
                let groups = named_groups(edit, named)?;
                edit.document.network_interface[place].groups = groups;
            }
            if let Some(attachment) = &self.attachment {
                modify_attachment(edit, place, attachment)?;
            }
            let interface = &mut edit.document.network_interface[place];
            if let Some(description) = &self.description {
                interface.description.clone_from(&description.value);
            }
            if let Some(check) = &self.source_dest_check {
                interface.source_dest_check = check.value;
            }
            if let Some(tracking) = self.connection_tracking_specification {
                interface.connection_tracking = tracking;
            }
            Ok(Return::TRUE)
        })
    }
}

fn modify_attachment(
    edit: &mut Edit<'_>,
    place: usize,
    wanted: &ModifyAttachment,
) -> Result<(), Refusal> {
    let interface = &mut edit.document.network_interface[place];
    let id = super::placed(place);
    let told = edit.before.eni(id).attachment.as_ref().map(|it| it.id.to_string());
    match &mut interface.attachment {
        Some(attachment) if told.as_deref() == Some(&wanted.attachment_id) => {
            attachment.delete_on_termination = wanted.delete_on_termination;
            Ok(())
        }
        _ => Err(Refusal::new(
            "InvalidAttachmentID.NotFound",
            format!(
                "attachment `{}` does not exist on {}",
                wanted.attachment_id, interface.network_interface_id
            ),
        )),
    }
}
