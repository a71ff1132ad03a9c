//! Adding rules to security groups and taking them away: all that a call names, or none.

use nf_core::vpc::document::{SecurityGroupRule, Vpc};
use nf_core::vpc::id::ResourceId as _;
use serde::{Deserialize, Serialize};

use super::permission::IpPermission;
use super::{default_egress, group_place};
use crate::actions::resource::find;
use crate::actions::{Action, Change, Draft, Edit, Refusal, Return};

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident, $apply:ident, $direction:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The group.
            pub group_id: String,
            /// The rules.
            pub ip_permissions: Vec<IpPermission>,
        }

        impl Action for $name {
            const NAME: &'static str = stringify!($name);
            type Answer = Return;
        }

        impl Change for $name {
            fn apply(&self, draft: &mut Draft) -> Result<Return, Refusal> {
                let Self { group_id, ip_permissions } = self;
                draft.edit(|edit| $apply(edit, group_id, ip_permissions, Direction::$direction))
            }
        }
    )*};
}

requests! {
    /// Lets more in.
    AuthorizeSecurityGroupIngress, authorize, Ingress;
    /// Lets more out.
    AuthorizeSecurityGroupEgress, authorize, Egress;
    /// Lets less in.
    RevokeSecurityGroupIngress, revoke, Ingress;
    /// Lets less out.
    RevokeSecurityGroupEgress, revoke, Egress;
}

#[derive(Clone, Copy)]
enum Direction {
    Ingress,
    Egress,
}

fn authorize(
    edit: &mut Edit<'_>,
    group_id: &str,
    permissions: &[IpPermission],
    direction: Direction,
) -> Result<Return, Refusal> {
    let wanted = wanted(edit, permissions)?;
    let place = group_place(edit, group_id)?;
    let rules = rules_of(edit, place, direction)?;
    if let Some(rule) = wanted.iter().find(|rule| rules.iter().any(|it| is_same(it, rule))) {
        let message = format!("{group_id} has the rule {} already", text(rule));
        return Err(Refusal::new("InvalidPermission.Duplicate", message));
    }
    rules.extend(wanted);
    Ok(Return::TRUE)
}

fn revoke(
    edit: &mut Edit<'_>,
    group_id: &str,
    permissions: &[IpPermission],
    direction: Direction,
) -> Result<Return, Refusal> {
    let wanted = wanted(edit, permissions)?;
    let place = group_place(edit, group_id)?;
    let rules = rules_of(edit, place, direction)?;
    if let Some(rule) = wanted.iter().find(|rule| !rules.iter().any(|it| is_same(it, rule))) {
        let message = format!("{group_id} has no rule {}", text(rule));
        return Err(Refusal::new("InvalidPermission.NotFound", message));
    }
    rules.retain(|it| !wanted.iter().any(|rule| is_same(it, rule)));
    Ok(Return::TRUE)
}

/// The rules that a call names, each once.
fn wanted(
    edit: &mut Edit<'_>,
    permissions: &[IpPermission],
) -> Result<Vec<SecurityGroupRule>, Refusal> {
    if permissions.is_empty() {
        return Err(Refusal::missing("say which rules: ip_permissions"));
    }
    let mut wanted: Vec<SecurityGroupRule> = Vec::new();
    for permission in permissions {
        for rule in permission.rules(edit)? {
            if wanted.iter().any(|it| is_same(it, &rule)) {
                let message = format!("the rule {} appears twice", text(&rule));
                return Err(Refusal::value(message));
            }
            wanted.push(rule);
        }
    }
    Ok(wanted)
}

/// The rules of a group. Those that go without saying are said from now on.
fn rules_of<'e>(
    edit: &'e mut Edit<'_>,
    place: usize,
    direction: Direction,
) -> Result<&'e mut Vec<SecurityGroupRule>, Refusal> {
    let vpc_id = edit.document.security_group[place].vpc_id.clone();
    let unsaid = default_egress(find::<Vpc>(edit.document, vpc_id.as_str())?);
    let group = &mut edit.document.security_group[place];
    Ok(match direction {
        Direction::Ingress => &mut group.ingress,
        Direction::Egress => group.egress.get_or_insert(unsaid),
    })
}

/// Whether two rules let the same through. What is said of them does not count.
fn is_same(a: &SecurityGroupRule, b: &SecurityGroupRule) -> bool {
    let plain =
        |rule: &SecurityGroupRule| SecurityGroupRule { description: String::new(), ..rule.clone() };
    plain(a) == plain(b)
}

/// A rule in a message: `tcp 80-80 10.0.0.0/8`.
fn text(rule: &SecurityGroupRule) -> String {
    let ends = [
        rule.cidr_ipv4.map(|it| it.to_string()),
        rule.cidr_ipv6.map(|it| it.to_string()),
        rule.prefix_list_id.as_ref().map(ToString::to_string),
        rule.referenced_group_id.as_ref().map(ToString::to_string),
    ];
    let ports = rule.from_port.zip(rule.to_port).map(|(from, to)| format!("{from}-{to}"));
    let protocol = Some(rule.ip_protocol.to_string());
    let words: Vec<_> = [protocol, ports].into_iter().chain(ends).flatten().collect();
    format!("`{}`", words.join(" "))
}
