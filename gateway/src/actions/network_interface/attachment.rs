//! Attaching network interfaces to instances, detaching them, and moving one in a single step.

use nf_core::vpc::document::{Attachment, Instance};
use nf_core::vpc::id::{AttachmentId, ResourceId as _};
use serde::{Deserialize, Serialize};

use super::own_interface;
use crate::actions::resource::{find, parse};
use crate::actions::{Action, Change, Draft, Edit, Refusal, Return};

/// Attaches an interface to an instance, running or stopped.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachNetworkInterface {
    /// The interface.
    pub network_interface_id: String,
    /// The instance.
    pub instance_id: String,
    /// Its place at the instance.
    pub device_index: u16,
    /// The network card. Left out: 0.
    pub network_card_index: Option<u16>,
}

/// Detaches an interface from its instance. Primary ones stay.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetachNetworkInterface {
    /// The attachment.
    pub attachment_id: String,
    /// Whether the instance is not asked. It never is here: nothing waits for it.
    pub force: Option<bool>,
}

/// Ours: detaches an interface, if it is attached, and attaches it to another instance in one
/// change, so that at no time packets to it lead nowhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveNetworkInterface {
    /// The interface.
    pub network_interface_id: String,
    /// The instance it is to be attached to.
    pub instance_id: String,
    /// Its place there.
    pub device_index: u16,
    /// The network card there. Left out: 0.
    pub network_card_index: Option<u16>,
}

/// An attachment that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// `eni-attach-…`
    pub attachment_id: String,
    /// The network card.
    pub network_card_index: u16,
}

impl Action for AttachNetworkInterface {
    const NAME: &'static str = "AttachNetworkInterface";
    type Answer = Attached;
}

impl Change for AttachNetworkInterface {
    fn apply(&self, draft: &mut Draft) -> Result<Attached, Refusal> {
        draft.edit(|edit| {
            let place = own_interface(edit, &self.network_interface_id)?;
            attach(edit, place, &self.into())
        })
    }
}

impl Action for DetachNetworkInterface {
    const NAME: &'static str = "DetachNetworkInterface";
    type Answer = Return;
}

impl Change for DetachNetworkInterface {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let id: AttachmentId = parse(&self.attachment_id)?;
            let attached = edit.before.enis().find(|(_, eni)| {
                eni.attachment.as_ref().is_some_and(|attachment| attachment.id == id)
            });
            let (_, eni) = attached.ok_or_else(|| Refusal::not_found(&id))?;
            let place = own_interface(edit, eni.id.as_str())?;
            detach(edit, place)?;
            Ok(Return::TRUE)
        })
    }
}

impl Action for MoveNetworkInterface {
    const NAME: &'static str = "MoveNetworkInterface";
    type Answer = Attached;
}

impl Change for MoveNetworkInterface {
    fn apply(&self, draft: &mut Draft) -> Result<Attached, Refusal> {
        draft.edit(|edit| {
            let place = own_interface(edit, &self.network_interface_id)?;
            if edit.document.network_interface[place].attachment.is_some() {
                detach(edit, place)?;
            }
            attach(edit, place, &self.into())
        })
    }
}

/// A place at an instance.
pub(in crate::actions) struct At<'a> {
    pub(in crate::actions) instance_id: &'a str,
    pub(in crate::actions) device_index: u16,
    pub(in crate::actions) network_card_index: u16,
    pub(in crate::actions) delete_on_termination: bool,
}

macro_rules! from_request {
    ($($request:ident),*) => {$(
        impl<'a> From<&'a $request> for At<'a> {
            fn from(request: &'a $request) -> Self {
                Self {
                    instance_id: &request.instance_id,
                    device_index: request.device_index,
                    network_card_index: request.network_card_index.unwrap_or(0),
                    // EC2's default of what is attached later.
                    delete_on_termination: false,
                }
            }
        }
    )*};
}

from_request!(AttachNetworkInterface, MoveNetworkInterface);

/// Attaches an interface, which must be attached to nothing.
pub(in crate::actions) fn attach(
    edit: &mut Edit<'_>,
    place: usize,
    at: &At<'_>,
) -> Result<Attached, Refusal> {
    let instance_id = find::<Instance>(edit.document, at.instance_id)?.instance_id.clone();
    let attachment_id: AttachmentId = edit.ids.next();
    let interface = &mut edit.document.network_interface[place];
    let holder = match (&interface.attachment, &interface.port) {
        (Some(attachment), _) => Some(format!("{}: detach it", attachment.instance_id)),
        (None, Some(port)) => Some(format!(
            "whatever is behind its own port {port}: give that port to an instance instead"
        )),
        (None, None) => None,
    };
    if let Some(holder) = holder {
        let id = &interface.network_interface_id;
        let message = format!("network interface {id} is in use by {holder}");
        return Err(Refusal::new("InvalidNetworkInterface.InUse", message));
    }
    let answer = Attached {
        attachment_id: attachment_id.to_string(),
        network_card_index: at.network_card_index,
    };
    interface.attachment = Some(Attachment {
        attachment_id: Some(attachment_id),
        instance_id,
        device_index: at.device_index,
        network_card_index: at.network_card_index,
        delete_on_termination: at.delete_on_termination,
    });
    Ok(answer)
}

fn detach(edit: &mut Edit<'_>, place: usize) -> Result<(), Refusal> {
    let interface = &mut edit.document.network_interface[place];
    if interface.attachment.as_ref().is_some_and(is_primary) {
        let message = format!(
            "{} is at device index 0 of network card 0: the primary network interface cannot be \
             detached",
            interface.network_interface_id
        );
        return Err(Refusal::not_permitted(message));
    }
    interface.attachment = None;
    Ok(())
}

/// Whether an attachment is its instance's primary one.
fn is_primary(attachment: &Attachment) -> bool {
    attachment.device_index == 0 && attachment.network_card_index == 0
}
