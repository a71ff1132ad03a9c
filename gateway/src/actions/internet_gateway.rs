//! Actions on internet gateways.

use nf_core::vpc::document::{InternetGateway, Uplink, Vpc};
use nf_core::vpc::id::ResourceId as _;
use serde::{Deserialize, Serialize};

use super::resource::{chosen, find, place};
use super::{Action, Change, Draft, Edit, Query, Refusal, Return, View};

/// Makes an internet gateway that is attached to no VPC.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateInternetGateway {
    /// Ours: its id, to be chosen where EC2 deals one out.
    pub internet_gateway_id: Option<String>,
    /// Ours: the uplink behind it. Left out: the only one there is.
    pub uplink_id: Option<String>,
}

/// The internet gateway that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneInternetGateway {
    /// All about it.
    pub internet_gateway: InternetGatewayDescription,
}

/// Deletes an internet gateway that is attached to no VPC.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteInternetGateway {
    /// Its id.
    pub internet_gateway_id: String,
}

/// Attaches an internet gateway to a VPC that has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachInternetGateway {
    /// Its id.
    pub internet_gateway_id: String,
    /// The VPC.
    pub vpc_id: String,
}

/// Detaches an internet gateway from a VPC without public addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetachInternetGateway {
    /// Its id.
    pub internet_gateway_id: String,
    /// The VPC.
    pub vpc_id: String,
}

/// Tells about internet gateways.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeInternetGateways {
    /// Which. Left out: all.
    #[serde(default)]
    pub internet_gateway_ids: Vec<String>,
}

/// Internet gateways in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetGateways {
    /// All about each.
    pub internet_gateways: Vec<InternetGatewayDescription>,
}

/// All about an internet gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetGatewayDescription {
    /// `igw-…`
    pub internet_gateway_id: String,
    /// The VPC it is attached to, if any.
    pub attachments: Vec<InternetGatewayAttachment>,
    /// Ours: the uplink behind it.
    pub uplink_id: String,
}

/// What an internet gateway is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetGatewayAttachment {
    /// The VPC.
    pub vpc_id: String,
    /// `available`, which is EC2's word for attached here.
    pub state: String,
}

impl Action for CreateInternetGateway {
    const NAME: &'static str = "CreateInternetGateway";
    type Answer = OneInternetGateway;
}

impl Change for CreateInternetGateway {
    fn apply(&self, draft: &mut Draft) -> Result<OneInternetGateway, Refusal> {
        draft.edit(|edit| {
            let uplink_id = match (&self.uplink_id, &edit.document.uplink[..]) {
                (Some(id), _) => find::<Uplink>(edit.document, id)?.uplink_id.clone(),
                (None, [only]) => only.uplink_id.clone(),
                (None, []) => {
                    let message = "an internet gateway needs an uplink: declare one";
                    return Err(Refusal::missing(message));
                }
                (None, _) => return Err(Refusal::missing("there are several: name uplink_id")),
            };
            let gateway = InternetGateway {
                internet_gateway_id: edit.ids.chosen(self.internet_gateway_id.as_deref())?,
                vpc_id: None,
                uplink_id,
            };
            let internet_gateway = describe(&gateway);
            edit.document.internet_gateway.push(gateway);
            Ok(OneInternetGateway { internet_gateway })
        })
    }
}

impl Action for DeleteInternetGateway {
    const NAME: &'static str = "DeleteInternetGateway";
    type Answer = Return;
}

impl Change for DeleteInternetGateway {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = place::<InternetGateway>(edit.document, &self.internet_gateway_id)?;
            let gateway = &edit.document.internet_gateway[place];
            if let Some(vpc) = &gateway.vpc_id {
                let id = &gateway.internet_gateway_id;
                let message = format!("{id} is attached to {vpc}: detach it before");
                return Err(Refusal::dependency(message));
            }
            edit.document.internet_gateway.remove(place);
            Ok(Return::TRUE)
        })
    }
}

impl Action for AttachInternetGateway {
    const NAME: &'static str = "AttachInternetGateway";
    type Answer = Return;
}

impl Change for AttachInternetGateway {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = place::<InternetGateway>(edit.document, &self.internet_gateway_id)?;
            let vpc_id = find::<Vpc>(edit.document, &self.vpc_id)?.vpc_id.clone();
            let gateway = &edit.document.internet_gateway[place];
            if let Some(vpc) = &gateway.vpc_id {
                let id = &gateway.internet_gateway_id;
                let message = format!("{id} is attached to {vpc} already");
                return Err(Refusal::new("Resource.AlreadyAssociated", message));
            }
            let mut others = edit.document.internet_gateway.iter();
            if let Some(other) = others.find(|it| it.vpc_id.as_ref() == Some(&vpc_id)) {
                let id = &other.internet_gateway_id;
                let message = format!("{vpc_id} has an internet gateway already, {id}");
                return Err(Refusal::value(message));
            }
            edit.document.internet_gateway[place].vpc_id = Some(vpc_id);
            Ok(Return::TRUE)
        })
    }
}

impl Action for DetachInternetGateway {
    const NAME: &'static str = "DetachInternetGateway";
    type Answer = Return;
}

impl Change for DetachInternetGateway {
    fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
        draft.edit(|edit| {
            let place = place::<InternetGateway>(edit.document, &self.internet_gateway_id)?;
            let vpc_id = find::<Vpc>(edit.document, &self.vpc_id)?.vpc_id.clone();
            let gateway = &edit.document.internet_gateway[place];
            if gateway.vpc_id.as_ref() != Some(&vpc_id) {
                let id = &gateway.internet_gateway_id;
                let message = format!("{id} is not attached to {vpc_id}");
                return Err(Refusal::new("Gateway.NotAttached", message));
            }
            if let Some(address) = public_address_in(edit, vpc_id.as_str()) {
                let message = format!("{vpc_id} has the public address {address}: take it off");
                return Err(Refusal::dependency(message));
            }
            edit.document.internet_gateway[place].vpc_id = None;
            Ok(Return::TRUE)
        })
    }
}

/// A public address that leads into a VPC.
fn public_address_in(edit: &Edit<'_>, vpc_id: &str) -> Option<std::net::IpAddr> {
    let enis = edit.before.enis().map(|(_, eni)| eni);
    let mut inside = enis.filter(|eni| edit.before.vpc(eni.vpc).id.as_str() == vpc_id);
    inside.find_map(|eni| eni.public_ips.first()).map(|it| it.public_ip)
}

impl Action for DescribeInternetGateways {
    const NAME: &'static str = "DescribeInternetGateways";
    type Answer = InternetGateways;
}

impl Query for DescribeInternetGateways {
    fn answer(&self, view: &View<'_>) -> Result<InternetGateways, Refusal> {
        let found = chosen::<InternetGateway>(view.document, &self.internet_gateway_ids)?;
        let internet_gateways = found.into_iter().map(|(_, it)| describe(it)).collect();
        Ok(InternetGateways { internet_gateways })
    }
}

fn describe(gateway: &InternetGateway) -> InternetGatewayDescription {
    let attachments = gateway.vpc_id.iter().map(|vpc| InternetGatewayAttachment {
        vpc_id: vpc.to_string(),
        state: "available".to_owned(),
    });
    InternetGatewayDescription {
        internet_gateway_id: gateway.internet_gateway_id.to_string(),
        attachments: attachments.collect(),
        uplink_id: gateway.uplink_id.to_string(),
    }
}
