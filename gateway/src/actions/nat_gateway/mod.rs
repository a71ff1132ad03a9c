//! Actions on NAT gateways.
//!
//! At EC2 a gateway is made and changed in the background, and fails there. Here all is known at
//! once: an action is refused with the code that EC2 would tell as `FailureCode`, and what it has
//! done is in force when it answers.
//!
//! | file | idea |
//! | --- | --- |
//! | `create` | making and deleting them |
//! | `association` | Elastic IP addresses of public ones, while they live |
//! | `assignment` | private addresses of private ones, while they live |
//! | `drain` | how a secondary address goes: until when it drains, and what then |
//! | `kept` | writing down the private addresses that a gateway has |
//! | `describe` | telling about them |

mod assignment;
mod association;
mod create;
mod describe;
mod drain;
mod kept;

use nf_core::vpc::document::{ConnectivityType, NatGateway as Declared, Subnet};
use nf_core::vpc::{Eni, Snapshot, SubnetIx};

use super::resource::place;
use super::room::Room;
use super::{Edit, Refusal};

pub use assignment::{AssignPrivateNatGatewayAddress, UnassignPrivateNatGatewayAddress};
pub use association::{AssociateNatGatewayAddress, DisassociateNatGatewayAddress};
pub use create::{CreateNatGateway, Created, DeleteNatGateway, Deleted};
pub use describe::{
    AddressStatus, DescribeNatGateways, NatGateway, NatGatewayAddress, NatGatewayAddresses,
    NatGatewayState, NatGateways,
};
pub use drain::{end_drains, next_drain_end};

pub(super) use kept::write_down;

/// Where in the document a gateway of a kind stands whose addresses are to be changed. All that it
/// has is written down, so that what comes or goes changes no other address.
fn to_change(edit: &mut Edit<'_>, id: &str, kind: ConnectivityType) -> Result<usize, Refusal> {
    let place = place::<Declared>(edit.document, id)?;
    let gateway = &mut edit.document.nat_gateway[place];
    if gateway.connectivity_type != kind {
        let id = &gateway.nat_gateway_id;
        let message = match gateway.connectivity_type {
            ConnectivityType::Public => format!(
                "{id} is a public NAT gateway: its addresses are associated and disassociated"
            ),
            ConnectivityType::Private => {
                format!("{id} is a private NAT gateway: its addresses are assigned and unassigned")
            }
        };
        return Err(Refusal::not_permitted(message));
    }
    // At EC2 as well, all that can be done to a gateway with a draining address is to delete it.
    if let Some(draining) = gateway.secondary_address.iter().find(|it| it.drain_until.is_some()) {
        let address = draining.private_ip_address.map(|it| format!(" {it}")).unwrap_or_default();
        let id = &gateway.nat_gateway_id;
        let message = format!("an address{address} of {id} is draining: wait until it is gone");
        return Err(Refusal::new("IncorrectState", message));
    }
    write_down(gateway, edit.before);
    Ok(place)
}

/// The interface that a gateway had before an edit.
fn interface_of<'s>(before: &'s Snapshot, gateway: &Declared) -> Option<&'s Eni> {
    let mut all = before.nat_gateways().map(|(_, it)| it);
    all.find(|it| it.id == gateway.nat_gateway_id).map(|it| before.eni(it.eni))
}

/// What is free in a gateway's subnet.
fn room_in<'e>(edit: &Edit<'e>, subnet_id: &str) -> Result<Room<'e>, Refusal> {
    let place = place::<Subnet>(edit.document, subnet_id)?;
    Ok(Room::of(edit.before, edit.document, SubnetIx(place as u32)))
}
