//! Which subnets a route table serves.

use nf_core::vpc::document::{Document, RouteTable, Subnet};
use nf_core::vpc::id::{ResourceId as _, RouteTableId, SubnetId, VpcId};
use serde::{Deserialize, Serialize};

use crate::actions::ids::derived;
use crate::actions::resource::{find, place};
use crate::actions::{Action, Change, Draft, Refusal, Return};

/// Lets a table serve a subnet that goes by the main table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssociateRouteTable {
    /// The table.
    pub route_table_id: String,
    /// The subnet.
    pub subnet_id: String,
}

/// The association that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssociatedTable {
    /// `rtbassoc-…`
    pub association_id: String,
    /// `associated`
    pub association_state: AssociationState,
}

/// How an association is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssociationState {
    /// `associated`
    pub state: String,
}

impl AssociationState {
    pub(super) fn associated() -> Self {
        Self { state: "associated".to_owned() }
    }
}

/// Lets a subnet go by the main table again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisassociateRouteTable {
    /// The association.
    pub association_id: String,
}

/// Lets another table serve a subnet, or another table be the main one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceRouteTableAssociation {
    /// The association that ends.
    pub association_id: String,
    /// The table.
    pub route_table_id: String,
}

/// The association that came in the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReassociatedTable {
    /// `rtbassoc-…`
    pub new_association_id: String,
    /// `associated`
    pub association_state: AssociationState,
}

impl Action for AssociateRouteTable {
    const NAME: &'static str = "AssociateRouteTable";
    type Answer = AssociatedTable;
}

impl Change for AssociateRouteTable {
    fn apply(&self, draft: &mut Draft) -> Result<AssociatedTable, Refusal> {
        draft.edit(|edit| {
            let table = find::<RouteTable>(edit.document, &self.route_table_id)?;
            let table = table.route_table_id.clone();
            let place = place::<Subnet>(edit.document, &self.subnet_id)?;
            let subnet = &mut edit.document.subnet[place];
            if let Some(other) = subnet.route_table_id.as_ref().filter(|other| **other != table) {
                let message = format!(
                    "{} is associated with {other} already: replace the association",
                    subnet.subnet_id
                );
                return Err(Refusal::new("Resource.AlreadyAssociated", message));
            }
            let association_id = of_subnet(&table, &subnet.subnet_id);
            subnet.route_table_id = Some(table);
            Ok(AssociatedTable {
                association_id,
                association_state: AssociationState::associated(),
            })
        })
    }
}

impl Action for DisassociateRouteTable {
    const NAME: &'static str = "DisassociateRouteTable";
    type Answer = Return;
}

impl Change for DisassociateRouteTable {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| match find_association(edit.document, &self.association_id)? {
            Association::Subnet(place) => {
                edit.document.subnet[place].route_table_id = None;
                Ok(Return::TRUE)
            }
            Association::Main(place) => Err(Refusal::value(format!(
                "{} is the main route table: make another one the main table instead",
                edit.document.route_table[place].route_table_id
            ))),
        })
    }
}

impl Action for ReplaceRouteTableAssociation {
    const NAME: &'static str = "ReplaceRouteTableAssociation";
    type Answer = ReassociatedTable;
}

impl Change for ReplaceRouteTableAssociation {
    fn apply(&self, draft: &mut Draft) -> Result<ReassociatedTable, Refusal> {
        draft.edit(|edit| {
            let new = place::<RouteTable>(edit.document, &self.route_table_id)?;
            let table = &edit.document.route_table[new];
            let (table_id, vpc_id) = (table.route_table_id.clone(), table.vpc_id.clone());
            let new_association_id = match find_association(edit.document, &self.association_id)? {
                Association::Subnet(place) => {
                    let subnet = &mut edit.document.subnet[place];
                    let id = of_subnet(&table_id, &subnet.subnet_id);
                    subnet.route_table_id = Some(table_id);
                    id
                }
                Association::Main(old) => {
                    let found = &edit.document.route_table[old].vpc_id;
                    if *found != vpc_id {
                        let message =
                            format!("{table_id} is in {vpc_id}, this needs one in {found}");
                        return Err(Refusal::value(message));
                    }
                    edit.document.route_table[old].main = false;
                    edit.document.route_table[new].main = true;
                    of_main(&table_id, &vpc_id)
                }
            };
            let association_state = AssociationState::associated();
            Ok(ReassociatedTable { new_association_id, association_state })
        })
    }
}

/// What an association is of, by its place in the document.
enum Association {
    Subnet(usize),
    /// The main table of its VPC.
    Main(usize),
}

fn find_association(document: &Document, id: &str) -> Result<Association, Refusal> {
    let is_it = |subnet: &Subnet| {
        subnet
            .route_table_id
            .as_ref()
            .is_some_and(|table| of_subnet(table, &subnet.subnet_id) == id)
    };
    let is_main =
        |table: &RouteTable| table.main && of_main(&table.route_table_id, &table.vpc_id) == id;
    let subnet = document.subnet.iter().position(is_it).map(Association::Subnet);
    let main = || document.route_table.iter().position(is_main).map(Association::Main);
    subnet.or_else(main).ok_or_else(|| {
        let message = format!("association `{id}` does not exist");
        Refusal::new("InvalidAssociationID.NotFound", message)
    })
}

/// The id of the association of a table with a subnet.
pub(super) fn of_subnet(table: &RouteTableId, subnet: &SubnetId) -> String {
    derived("rtbassoc-", &[table.as_str(), subnet.as_str()])
}

/// The id of the association of a main table with its VPC.
pub(super) fn of_main(table: &RouteTableId, vpc: &VpcId) -> String {
    derived("rtbassoc-", &[table.as_str(), vpc.as_str()])
}
