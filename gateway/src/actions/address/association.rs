//! Putting Elastic IP addresses on private addresses of interfaces, and taking them off.

use std::net::IpAddr;

use nf_core::vpc::document::{Document, Instance, NetworkInterface};
use serde::{Deserialize, Serialize};

use super::{allocation, owner_of};
use crate::actions::network_interface::{association_id, own_interface, private_of};
use crate::actions::resource::find;
use crate::actions::{Action, Change, Draft, Edit, Refusal, Return};

/// Puts an Elastic IP address on a private address of an interface.
///
/// An address that is somewhere else moves, and one that is there already makes room and stays
/// allocated, unless `allow_reassociation` is `false`. What is as it should be stays so.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssociateAddress {
    /// The address, by its id.
    pub allocation_id: Option<String>,
    /// The address, instead of the id.
    pub public_ip: Option<IpAddr>,
    /// The interface.
    pub network_interface_id: Option<String>,
    /// The instance, instead of the interface, if it has one interface only.
    pub instance_id: Option<String>,
    /// The private address, perhaps in a prefix. Left out: the primary one.
    pub private_ip_address: Option<IpAddr>,
    /// Whether an association may be ended for this one. Left out: yes.
    pub allow_reassociation: Option<bool>,
}

/// The association that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Associated {
    /// `eipassoc-…`
    pub association_id: String,
}

/// Takes an Elastic IP address off. It stays allocated.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisassociateAddress {
    /// The association.
    pub association_id: Option<String>,
    /// The address, instead of the association.
    pub public_ip: Option<IpAddr>,
}

impl Action for AssociateAddress {
    const NAME: &'static str = "AssociateAddress";
    type Answer = Associated;
}

impl Change for AssociateAddress {
    fn apply(&self, draft: &mut Draft) -> Result<Associated, Refusal> {
        draft.edit(|edit| {
            let place = allocation(edit.document, self.allocation_id.as_deref(), self.public_ip)?;
            let interface = self.interface(edit)?;
            let address = &edit.document.address[place];
            let public_ip = address.public_ip;
            let id = address.allocation_id.clone();
            let taken = |message: String| Err(Refusal::new("Resource.AlreadyAssociated", message));
            if let Some(owner) = owner_of(edit.document, &id) {
                return taken(format!("{id} ({public_ip}) is in use by {owner}, and stays there"));
            }

            let eni = &edit.document.network_interface[interface];
            let eni_id = eni.network_interface_id.clone();
            let primary = if public_ip.is_ipv4() {
                eni.private_ip_address.map(IpAddr::V4)
            } else {
                eni.ipv6_addresses.first().copied().map(IpAddr::V6)
            };
            let Some(private) = self.private_ip_address.or(primary) else {
                let message = format!("{eni_id} has no private address for {public_ip}");
                return Err(Refusal::value(message));
            };
            let others = edit.document.address.iter().enumerate();
            let displaced = others
                .filter(|(at, it)| {
                    *at != place && it.network_interface_id.as_ref() == Some(&eni_id)
                })
                .find(|(_, it)| private_of(it, eni) == Some(private))
                .map(|(at, _)| at);
            if self.allow_reassociation == Some(false) {
                if let Some(holder) = address.network_interface_id.as_ref()
                    && (*holder != eni_id || private_of(address, eni) != Some(private))
                {
                    return taken(format!(
                        "{id} ({public_ip}) is associated with {holder} already"
                    ));
                }
                if let Some(other) = displaced.map(|at| &edit.document.address[at]) {
                    return taken(format!(
                        "{private} of {eni_id} is associated with {} ({}) already",
                        other.allocation_id, other.public_ip
                    ));
                }
            }
            if let Some(other) = displaced.map(|at| &mut edit.document.address[at]) {
                other.network_interface_id = None;
                other.private_ip_address = None;
            }
            let association_id = association_id(&id, &eni_id, private);
            let address = &mut edit.document.address[place];
            address.network_interface_id = Some(eni_id);
            // The primary IPv4 address is always the same one, and goes without saying.
            let unsaid = public_ip.is_ipv4() && Some(private) == primary;
            address.private_ip_address = Some(private).filter(|_| !unsaid);
            Ok(Associated { association_id })
        })
    }
}

impl AssociateAddress {
    /// Where in the document the interface stands.
    fn interface(&self, edit: &Edit<'_>) -> Result<usize, Refusal> {
        match (&self.network_interface_id, &self.instance_id) {
            (Some(id), None) => own_interface(edit, id),
            (None, Some(id)) => only_interface(edit.document, id),
            (Some(_), Some(_)) => Err(Refusal::combination(
                "network_interface_id and instance_id exclude each other: keep one",
            )),
            (None, None) => {
                Err(Refusal::missing("say what with: network_interface_id or instance_id"))
            }
        }
    }
}

/// Where in the document the one interface of an instance stands.
pub(in crate::actions) fn only_interface(
    document: &Document,
    instance_id: &str,
) -> Result<usize, Refusal> {
    let id = &find::<Instance>(document, instance_id)?.instance_id;
    let is_at =
        |it: &NetworkInterface| it.attachment.as_ref().is_some_and(|at| at.instance_id == *id);
    let interfaces = document.network_interface.iter().enumerate();
    let mut attached = interfaces.filter(|(_, it)| is_at(it)).map(|(place, _)| place);
    match (attached.next(), attached.next()) {
        (Some(place), None) => Ok(place),
        (first, _) => {
            let found = if first.is_some() { "several network interfaces" } else { "none" };
            let message = format!(
                "{id} has {found}, where one is needed: name the network interface instead"
            );
            Err(Refusal::new("InvalidInstanceID", message))
        }
    }
}

impl Action for DisassociateAddress {
    const NAME: &'static str = "DisassociateAddress";
    type Answer = Return;
}

impl Change for DisassociateAddress {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = self.place(edit)?;
            let address = &edit.document.address[place];
            if let Some(owner) = owner_of(edit.document, &address.allocation_id) {
                let message = format!(
                    "{} ({}) belongs to {owner}: take it out there",
                    address.allocation_id, address.public_ip
                );
                return Err(Refusal::not_permitted(message));
            }
            let address = &mut edit.document.address[place];
            address.network_interface_id = None;
            address.private_ip_address = None;
            Ok(Return::TRUE)
        })
    }
}

impl DisassociateAddress {
    /// Where in the document the address stands.
    fn place(&self, edit: &Edit<'_>) -> Result<usize, Refusal> {
        let not_found = |what: &str| {
            let message = format!("there is no association {what}");
            Err(Refusal::new("InvalidAssociationID.NotFound", message))
        };
        match (&self.association_id, self.public_ip) {
            (Some(wanted), None) => {
                let of_eni = |eni: &nf_core::vpc::Eni| {
                    let mut public = eni.public_ips.iter();
                    public.find_map(|it| {
                        let id = it.allocation_id.clone()?;
                        (association_id(&id, &eni.id, it.private_ip) == *wanted).then_some(id)
                    })
                };
                let Some(id) = edit.before.enis().find_map(|(_, eni)| of_eni(eni)) else {
                    return not_found(&format!("`{wanted}`"));
                };
                allocation(edit.document, Some(&id.to_string()), None)
            }
            (None, Some(ip)) => {
                let place = allocation(edit.document, None, Some(ip))?;
                let address = &edit.document.address[place];
                let is_used = address.network_interface_id.is_some()
                    || owner_of(edit.document, &address.allocation_id).is_some();
                if is_used { Ok(place) } else { not_found(&format!("of {ip}")) }
            }
            (Some(_), Some(_)) => Err(Refusal::combination(
                "association_id and public_ip exclude each other: keep one",
            )),
            (None, None) => Err(Refusal::missing("say which: association_id or public_ip")),
        }
    }
}
