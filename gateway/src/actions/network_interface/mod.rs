//! Actions on network interfaces.
//!
//! | file | idea |
//! | --- | --- |
//! | `create` | making and deleting them |
//! | `attachment` | to and from instances |
//! | `attribute` | what of one can be changed |
//! | `private_addresses`, `ipv6_addresses` | addresses and prefixes, while it lives |
//! | `describe` | telling about them |

mod attachment;
mod attribute;
mod create;
mod describe;
mod ipv6_addresses;
mod private_addresses;

use std::net::IpAddr;

use nf_core::vpc::document::{Address, Document, NetworkInterface as Declared};
use nf_core::vpc::id::EniId;

use super::resource::{parse, place};
use super::{Edit, Refusal};

pub use attachment::{
    AttachNetworkInterface, Attached, DetachNetworkInterface, MoveNetworkInterface,
};
pub use attribute::{ModifyAttachment, ModifyNetworkInterfaceAttribute};
pub use create::{
    CreateNetworkInterface, Created, DeleteNetworkInterface, InstanceIpv6Address,
    Ipv4PrefixSpecification, Ipv6PrefixSpecification, PrivateIpAddressSpecification,
};
pub use describe::{
    Association, Attachment, DescribeNetworkInterfaces, GroupIdentifier, Ipv6Address,
    NetworkInterface, NetworkInterfaces, PrivateIpAddress,
};
pub use ipv6_addresses::{
    AssignIpv6Addresses, AssignedIpv6Addresses, UnassignIpv6Addresses, UnassignedIpv6Addresses,
};
pub use private_addresses::{
    AssignPrivateIpAddresses, AssignedPrivateIpAddresses, UnassignPrivateIpAddresses,
};

pub(super) use attachment::{At, attach};
pub(super) use create::{PublicIp, delete, make};
pub(super) use describe::{association_id, describe, placed};

/// Where in the document a network interface stands that its owner may change.
pub(super) fn own_interface(edit: &Edit<'_>, id: &str) -> Result<usize, Refusal> {
    let found = place::<Declared>(edit.document, id);
    if found.is_err() {
        let id: EniId = parse(id)?;
        if let Some((_, eni)) = edit.before.enis().find(|(_, eni)| eni.id == id) {
            let message = format!(
                "{id} is requester-managed ({}): only what it belongs to changes it",
                eni.description
            );
            return Err(Refusal::not_permitted(message));
        }
    }
    found
}

/// The private address of its interface that an Elastic IP address stands for.
pub(super) fn private_of(address: &Address, interface: &Declared) -> Option<IpAddr> {
    address.private_ip_address.or_else(|| match address.public_ip {
        IpAddr::V4(_) => interface.private_ip_address.map(IpAddr::V4),
        IpAddr::V6(_) => interface.ipv6_addresses.first().copied().map(IpAddr::V6),
    })
}

/// Ends the associations of Elastic IP addresses with those private addresses of an interface that
/// `gone` is true for. They stay allocated.
pub(super) fn disassociate(document: &mut Document, place: usize, gone: impl Fn(IpAddr) -> bool) {
    let interface = &document.network_interface[place];
    for address in &mut document.address {
        if address.network_interface_id.as_ref() == Some(&interface.network_interface_id)
            && private_of(address, interface).is_none_or(&gone)
        {
            address.network_interface_id = None;
            address.private_ip_address = None;
        }
    }
}
