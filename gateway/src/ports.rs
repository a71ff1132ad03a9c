//! The ports that the desired state wants, against the interfaces there are.
//!
//! [`Ports`] remembers what is attached. Whenever interfaces or the desired state have changed it
//! makes a [`Plan`] from all three, which the worker carries out, and takes over what came of it.
//! A wanted port that does not exist holds nothing up: it is told of once, counted, and attached
//! as soon as it appears.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::datapath::{Hook, HookWish};
use nf_core::id::PortId;
use nf_core::time::Time;
use nf_core::vpc::Snapshot;

use crate::config::NodeConfig;
use crate::config::node::HookChoice;
use crate::links::{Link, Links};
use crate::worker::Worker;

/// Which hook a port is to have.
#[must_use]
pub fn hook_wish(config: &NodeConfig, port: &str) -> HookWish {
    match config.hook_of(port) {
        HookChoice::Auto => HookWish::Auto,
        HookChoice::Tc => HookWish::Tc,
        HookChoice::Xdp => HookWish::Xdp,
    }
}

/// A port that is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedPort {
    /// The interface.
    pub link: Link,
    /// The hook it uses.
    pub hook: Hook,
    /// Why that one.
    pub why: String,
}

/// What is attached and what is not, by the last plan that was carried out.
#[derive(Clone, Debug)]
pub struct Ports {
    config: Arc<NodeConfig>,
    attached: BTreeMap<PortId, AttachedPort>,
    /// Wanted ports that there is no interface of.
    missing: Vec<Box<str>>,
    /// Wanted ports that could not be attached, and why.
    failed: BTreeMap<Box<str>, String>,
}

/// What has to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Ports to let go of, and why.
    remove: Vec<(PortId, Reason)>,
    /// Interfaces to attach.
    attach: Vec<(Link, HookWish)>,
    /// Wanted, and not there.
    missing: Vec<Box<str>>,
}

/// Why a port is let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Vanished,
    Unwanted,
    Changed,
}

/// What came of a plan.
#[derive(Debug)]
pub struct Outcome {
    plan: Plan,
    attached: Vec<Result<AttachedPort, (Box<str>, String)>>,
}

impl Ports {
    /// None yet.
    #[must_use]
    pub fn new(config: Arc<NodeConfig>) -> Self {
        Self { config, attached: BTreeMap::new(), missing: Vec::new(), failed: BTreeMap::new() }
    }

    /// What is attached, by index.
    pub fn attached(&self) -> impl Iterator<Item = &AttachedPort> {
        self.attached.values()
    }

    /// Wanted ports that there is no interface of.
    #[must_use]
    pub fn missing(&self) -> &[Box<str>] {
        &self.missing
    }

    /// Wanted ports that could not be attached, and why.
    #[must_use]
    pub fn failed(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.failed.iter().map(|(name, why)| (name.as_ref(), why.as_str()))
    }

    /// What has to be done for `snapshot`.
    #[must_use]
    pub fn plan(&self, snapshot: &Snapshot, links: &Links) -> Plan {
        self.plan_for(snapshot.ports().map(|(name, _)| name), links)
    }

    fn plan_for<'a>(&self, wanted: impl Iterator<Item = &'a str>, links: &Links) -> Plan {
        let mut plan = Plan::default();
        let mut unwanted = self.attached.clone();
        for name in wanted {
            let Some(link) = links.named(name) else {
                plan.missing.push(name.into());
                continue;
            };
            match unwanted.remove(&link.id) {
                Some(port) if port.link.same_port(link) => continue,
                Some(_) => plan.remove.push((link.id, Reason::Changed)),
                None => {}
            }
            plan.attach.push((link.clone(), hook_wish(&self.config, name)));
        }
        plan.remove.extend(unwanted.into_iter().map(|(id, port)| {
            let there = links.get(id).is_some_and(|link| link.is(&port.link));
            (id, if there { Reason::Unwanted } else { Reason::Vanished })
        }));
        plan
    }

    /// Notes which of the attached ports are up.
    pub fn observe(&mut self, links: &Links) {
        for port in self.attached.values_mut() {
            port.link.up = links.get(port.link.id).is_some_and(|link| link.up);
        }
    }

    /// Takes over what came of a plan, and logs what is new.
    pub fn take_over(&mut self, Outcome { plan, attached }: Outcome) {
        for (id, reason) in plan.remove {
            let Some(AttachedPort { link, .. }) = self.attached.remove(&id) else { continue };
            match reason {
                Reason::Vanished => {
                    tracing::warn!(port = %link.name, "the port's interface is gone: detached");
                }
                Reason::Unwanted => tracing::info!(port = %link.name, "port detached"),
                Reason::Changed => tracing::info!(
                    port = %link.name, "the port's MAC address or MTU has changed: attached anew"
                ),
            }
        }
        let failed_before = std::mem::take(&mut self.failed);
        for result in attached {
            match result {
                Ok(port) => {
                    tracing::info!(
                        port = %port.link.name, index = port.link.id.get(), mac = %port.link.mac,
                        mtu = port.link.mtu, hook = %port.hook, why = %port.why, "port attached"
                    );
                    self.attached.insert(port.link.id, port);
                }
                Err((name, why)) => {
                    if failed_before.get(&name) != Some(&why) {
                        tracing::error!(port = %name, error = %why, "cannot attach the port");
                    }
                    self.failed.insert(name, why);
                }
            }
        }
        for name in &plan.missing {
            if !self.missing.contains(name) {
                tracing::warn!(
                    port = %name,
                    "there is no such interface in the gateway's network namespace: the port is \
                     attached when it appears"
                );
            }
        }
        self.missing = plan.missing;
    }
}

impl Plan {
    /// Whether there is nothing for the worker to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.attach.is_empty()
    }

    /// Carries it out on the worker.
    pub fn carry_out(self, worker: &mut Worker, now: Time) -> Outcome {
        let Worker { engine, datapath } = worker;
        for (id, reason) in &self.remove {
            engine.remove_port(now, *id, datapath.fast_path());
            // One that comes back at once keeps its links.
            if *reason != Reason::Changed {
                datapath.detach(*id);
            }
        }
        let attached = self.attach.iter().map(|(link, wish)| {
            if engine.environments().any(|environment| environment.port.id == link.id) {
                return Err((link.name.clone(), "an environment has it: detach that".to_owned()));
            }
            let attached = datapath
                .attach(link.id, &link.name, *wish)
                .map_err(|error| (link.name.clone(), error.to_string()))?;
            engine.add_port(link.port_info(), datapath.fast_path());
            Ok(AttachedPort { link: link.clone(), hook: attached.hook, why: attached.why })
        });
        let attached = attached.collect();
        Outcome { plan: self, attached }
    }

    /// What came of it if there was nothing for the worker to do.
    #[must_use]
    pub fn outcome_of_nothing(self) -> Outcome {
        Outcome { plan: self, attached: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use nf_core::packet::MacAddr;

    use super::*;
    use crate::config::node::PortConfig;

    fn none() -> Ports {
        Ports::new(NodeConfig::default().into())
    }

    fn link(id: u32, name: &str) -> Link {
        Link {
            id: PortId::new(id).unwrap(),
            name: name.into(),
            mac: MacAddr([2, 0, 0, 0, 0, id as u8]),
            mtu: 1500,
            up: true,
        }
    }

    fn attached(links: &[Link]) -> Ports {
        let mut ports = none();
        ports.take_over(Outcome {
            plan: Plan::default(),
            attached: links
                .iter()
                .map(|link| {
                    Ok(AttachedPort { link: link.clone(), hook: Hook::Tc, why: String::new() })
                })
                .collect(),
        });
        ports
    }

    fn plan(ports: &Ports, wanted: &[&str], links: &[Link]) -> Plan {
        ports.plan_for(wanted.iter().copied(), &links.iter().cloned().collect())
    }

    #[test]
    fn what_is_there_and_wanted_is_attached_with_its_hook_and_what_is_not_there_is_missing() {
        let mut config = NodeConfig::default();
        config.port.push(PortConfig { name: "eth1".into(), hook: HookChoice::Xdp });
        let plan = plan(
            &Ports::new(config.into()),
            &["eth0", "eth1", "eth9"],
            &[link(1, "lo"), link(2, "eth0"), link(3, "eth1")],
        );
        assert_eq!(
            plan,
            Plan {
                remove: vec![],
                attach: vec![(link(2, "eth0"), HookWish::Auto), (link(3, "eth1"), HookWish::Xdp)],
                missing: vec!["eth9".into()],
            }
        );
    }

    #[test]
    fn what_is_attached_and_unchanged_is_left_alone_even_if_it_goes_down() {
        let ports = attached(&[link(2, "eth0")]);
        let down = Link { up: false, ..link(2, "eth0") };
        assert!(plan(&ports, &["eth0"], &[down]).is_empty());
    }

    #[test]
    fn a_changed_mac_address_or_mtu_attaches_the_port_anew() {
        let ports = attached(&[link(2, "eth0")]);
        let changed = Link { mtu: 9000, ..link(2, "eth0") };
        let plan = plan(&ports, &["eth0"], std::slice::from_ref(&changed));
        assert_eq!(plan.remove, [(changed.id, Reason::Changed)]);
        assert_eq!(plan.attach, [(changed, HookWish::Auto)]);
    }

    #[test]
    fn a_new_interface_under_an_old_name_replaces_the_old_one() {
        let ports = attached(&[link(2, "eth0")]);
        let plan = plan(&ports, &["eth0"], &[link(7, "eth0")]);
        assert_eq!(plan.remove, [(link(2, "eth0").id, Reason::Vanished)]);
        assert_eq!(plan.attach, [(link(7, "eth0"), HookWish::Auto)]);
    }

    #[test]
    fn vanished_renamed_and_unwanted_ports_are_let_go_of() {
        let ports = attached(&[link(2, "eth0"), link(3, "eth1"), link(4, "eth2")]);
        let plan = plan(&ports, &["eth0", "eth2"], &[link(3, "eth1"), link(4, "renamed")]);
        assert_eq!(
            plan,
            Plan {
                remove: vec![
                    (link(2, "eth0").id, Reason::Vanished),
                    (link(3, "eth1").id, Reason::Unwanted),
                    (link(4, "eth2").id, Reason::Vanished),
                ],
                attach: vec![],
                missing: vec!["eth0".into(), "eth2".into()],
            }
        );
    }

    #[test]
    fn a_port_that_was_missing_is_no_longer_once_it_is_attached() {
        let mut ports = none();
        let nothing = plan(&ports, &["eth0"], &[]);
        ports.take_over(nothing.outcome_of_nothing());
        assert_eq!(ports.missing(), ["eth0".into()]);

        let plan = plan(&ports, &["eth0"], &[link(2, "eth0")]);
        let port = AttachedPort { link: link(2, "eth0"), hook: Hook::Tc, why: String::new() };
        ports.take_over(Outcome { plan, attached: vec![Ok(port.clone())] });
        assert_eq!(ports.missing(), [] as [Box<str>; 0]);
        assert_eq!(ports.attached().collect::<Vec<_>>(), [&port]);
    }
}
