//! Actions on route tables.
//!
//! | file | idea |
//! | --- | --- |
//! | this one | making and deleting tables |
//! | `route` | their routes |
//! | `association` | which subnets they serve |
//! | `describe` | telling about them |

mod association;
mod describe;
mod route;

use nf_core::vpc::document::{RouteTable, Vpc};
use serde::{Deserialize, Serialize};

use super::resource::{find, place};
use super::{Action, Change, Draft, Refusal, Return};

pub use association::{
    AssociateRouteTable, AssociatedTable, AssociationState, DisassociateRouteTable,
    ReassociatedTable, ReplaceRouteTableAssociation,
};
pub use describe::{
    DescribeRouteTables, RouteDescription, RouteTableAssociation, RouteTableDescription,
    RouteTables,
};
pub use route::{CreateRoute, DeleteRoute, ReplaceRoute};

/// Makes a route table with the local routes of its VPC, which serves no subnet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRouteTable {
    /// Ours: its id, to be chosen where EC2 deals one out.
    pub route_table_id: Option<String>,
    /// Its VPC.
    pub vpc_id: String,
}

/// The table that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneRouteTable {
    /// All about it.
    pub route_table: RouteTableDescription,
}

/// Deletes a route table that serves no subnet and is no main table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteRouteTable {
    /// Its id.
    pub route_table_id: String,
}

impl Action for CreateRouteTable {
    const NAME: &'static str = "CreateRouteTable";
    type Answer = OneRouteTable;
}

impl Change for CreateRouteTable {
    fn apply(&self, draft: &mut Draft) -> Result<OneRouteTable, Refusal> {
        let place = draft.edit(|edit| {
            let vpc_id = find::<Vpc>(edit.document, &self.vpc_id)?.vpc_id.clone();
            edit.document.route_table.push(RouteTable {
                route_table_id: edit.ids.chosen(self.route_table_id.as_deref())?,
                vpc_id,
                main: false,
                route: Vec::new(),
            });
            Ok(edit.document.route_table.len() - 1)
        })?;
        Ok(OneRouteTable { route_table: describe::describe(&draft.view(), place) })
    }
}

impl Action for DeleteRouteTable {
    const NAME: &'static str = "DeleteRouteTable";
    type Answer = Return;
}

impl Change for DeleteRouteTable {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = place::<RouteTable>(edit.document, &self.route_table_id)?;
            let table = &edit.document.route_table[place];
            let id = &table.route_table_id;
            if table.main {
                let message = format!("{id} is the main route table of {}", table.vpc_id);
                return Err(Refusal::dependency(message));
            }
            let mut subnets = edit.document.subnet.iter();
            if let Some(subnet) = subnets.find(|it| it.route_table_id.as_ref() == Some(id)) {
                let message = format!("{id} serves {}: disassociate it before", subnet.subnet_id);
                return Err(Refusal::dependency(message));
            }
            edit.document.route_table.remove(place);
            Ok(Return::TRUE)
        })
    }
}
