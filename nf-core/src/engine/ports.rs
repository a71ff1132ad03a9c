//! The ports of an engine: what each is for under the snapshot in force, the environments that are
//! attached, and which addresses the gateway answers to on each.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::Engine;
use super::limiter::Limiter;
use crate::fast_path::{FastPath, PortPolicy};
use crate::id::PortId;
use crate::neighbour::NextHop;
use crate::packet::MacAddr;
use crate::pipeline::FlowEnd;
use crate::time::Time;
use crate::vpc::id::{EniId, ResourceId as _};
use crate::vpc::{BridgeIx, EniIx, PortRole, Snapshot, SubnetIx, VpcIx};

/// What the host says of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Its number.
    pub id: PortId,
    /// Its name, by which the desired state speaks of it.
    pub name: Box<str>,
    /// Its MAC address.
    pub mac: MacAddr,
    /// The largest IP packet it takes, in bytes.
    pub mtu: u16,
}

/// A port as the engine knows it.
#[derive(Debug)]
pub(super) struct Port {
    pub info: PortInfo,
    pub role: Role,
    /// The MAC address that frames from it must have, if it is one interface's whose address is
    /// known.
    pub src_mac: Option<MacAddr>,
    environment: Option<Environment>,
    reports: Limiter,
}

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// As the snapshot says.
    Resource(PortRole),
    /// An environment behind a bridge's managed ENI.
    Environment(BridgeIx),
    /// Nothing says.
    Unused,
}

/// A port that a new snapshot has another use for.
#[derive(Clone, Debug)]
pub(super) struct Changed {
    pub port: PortId,
    /// The interface whose it was.
    pub left: Option<EniId>,
    /// The one whose it is.
    pub came: Option<EniIx>,
}

#[derive(Clone, Debug)]
struct Environment {
    id: Arc<str>,
    bridge: Box<str>,
}

/// An attached environment, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentView {
    /// Its id, as given at attachment.
    pub id: Box<str>,
    /// The bridge it is behind.
    pub bridge: Box<str>,
    /// Its port.
    pub port: PortInfo,
}

/// Why an environment was not attached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// No bridge of that id.
    #[error("no bridge '{0}' in the resource document: add it there, or name one that is")]
    NoBridge(Box<str>),
    /// The id is taken.
    #[error("environment '{0}' is attached already: detach it first, or choose another id")]
    Exists(Box<str>),
    /// The interface serves something else.
    #[error("port '{0}' is already in use: give each environment an interface of its own")]
    PortInUse(Box<str>),
}

/// All ports, by number and by name.
#[derive(Debug)]
pub(super) struct Ports {
    by_id: HashMap<PortId, Port, ahash::RandomState>,
    by_name: HashMap<Box<str>, PortId, ahash::RandomState>,
    environments: HashMap<Arc<str>, PortId, ahash::RandomState>,
}

impl Ports {
    pub fn new(seed: u64) -> Self {
        let hasher = || ahash::RandomState::with_seeds(seed, 13, 14, 15);
        Self {
            by_id: HashMap::with_hasher(hasher()),
            by_name: HashMap::with_hasher(hasher()),
            environments: HashMap::with_hasher(hasher()),
        }
    }

    pub fn get(&self, id: PortId) -> Option<&Port> {
        self.by_id.get(&id)
    }

    pub fn named(&self, name: &str) -> Option<PortId> {
        self.by_name.get(name).copied()
    }
}

impl Port {
    /// The link-local address of the gateway on this port (RFC 4291, appendix A: from its MAC
    /// address).
    pub fn link_local(&self) -> Ipv6Addr {
        let mac = self.info.mac.as_bytes();
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&[0xfe, 0x80]);
        octets[8..11].copy_from_slice(&mac[..3]);
        octets[8] ^= 2;
        octets[11..13].copy_from_slice(&[0xff, 0xfe]);
        octets[13..].copy_from_slice(&mac[3..]);
        octets.into()
    }

    /// The environment that it is, if it is one's.
    pub fn environment_id(&self) -> Option<&Arc<str>> {
        self.environment.as_ref().map(|it| &it.id)
    }

    fn resolve(&mut self, snapshot: &Snapshot) {
        self.role = match &self.environment {
            Some(environment) => {
                snapshot.bridge_by_id(&environment.bridge).map_or(Role::Unused, Role::Environment)
            }
            None => snapshot.port_role(&self.info.name).map_or(Role::Unused, Role::Resource),
        };
        self.src_mac = self.role.eni().and_then(|eni| snapshot.eni(eni).mac);
    }
}

impl Role {
    /// The interface that the port leads to and to no other.
    fn eni(self) -> Option<EniIx> {
        match self {
            Self::Resource(PortRole::Eni(eni)) => Some(eni),
            _ => None,
        }
    }

    /// What the port is for by its id, which unlike its index is the same in every snapshot.
    fn id(self, snapshot: &Snapshot) -> Option<(u8, &str)> {
        match self {
            Self::Resource(PortRole::Eni(eni)) => Some((0, snapshot.eni(eni).id.as_str())),
            Self::Resource(PortRole::Segment(ix)) => Some((1, snapshot.subnet(ix).id.as_str())),
            Self::Resource(PortRole::Uplink(ix)) => Some((2, snapshot.uplink(ix).id.as_str())),
            Self::Resource(PortRole::Vacant(ix)) => Some((3, snapshot.instance(ix).id.as_str())),
            Self::Environment(bridge) => Some((4, snapshot.bridge(bridge).id.as_str())),
            Self::Unused => None,
        }
    }
}

impl Engine {
    /// An interface the desired state names is there.
    pub fn add_port(&mut self, info: PortInfo, fast_path: &mut dyn FastPath) {
        self.insert_port(info, None, fast_path);
    }

    fn insert_port(
        &mut self,
        info: PortInfo,
        environment: Option<Environment>,
        fast_path: &mut dyn FastPath,
    ) {
        let id = info.id;
        let (role, src_mac, reports) = (Role::Unused, None, Limiter::default());
        let mut port = Port { info, role, src_mac, environment, reports };
        port.resolve(&self.snapshot);
        fast_path.add_port(id, self.policy(port.role));
        self.ports.by_name.insert(port.info.name.clone(), id);
        if let Some(environment) = &port.environment {
            self.ports.environments.insert(environment.id.clone(), id);
        }
        self.ports.by_id.insert(id, port);
    }

    fn policy(&self, role: Role) -> PortPolicy {
        let share_with_host = matches!(role, Role::Resource(PortRole::Uplink(uplink))
            if self.snapshot.uplink(uplink).share_with_host);
        PortPolicy { share_with_host }
    }

    /// An interface is gone, or no longer wanted: flows over it end.
    pub fn remove_port(&mut self, now: Time, id: PortId, fast_path: &mut dyn FastPath) {
        let Some(port) = self.ports.by_id.remove(&id) else { return };
        if self.ports.by_name.get(&port.info.name) == Some(&id) {
            self.ports.by_name.remove(&port.info.name);
        }
        if let Some(environment) = port.environment {
            self.ports.environments.remove(&environment.id);
        }
        self.close_classes_on(now, id, fast_path);
        let flows: Vec<_> = self.flows.on_ports(|port| port == id).collect();
        for flow in flows {
            self.end_flow(now, flow, FlowEnd::PortGone, fast_path);
        }
        let mut changes = std::mem::take(&mut self.scratch.changes);
        self.neighbours.remove_port(now, id, &mut changes);
        self.apply_changes(&mut changes, fast_path);
        self.scratch.changes = changes;
        self.forget_fragments(id);
        fast_path.remove_port(id);
    }

    /// Whether senders behind a port may be told of one more error.
    pub(super) fn may_report(&mut self, now: Time, id: PortId) -> bool {
        let allowed = self.ports.by_id.get_mut(&id).is_some_and(|port| port.reports.allows(now));
        self.counters.reports_suppressed += u64::from(!allowed);
        allowed
    }

    /// Attaches an environment's port behind a bridge.
    ///
    /// # Errors
    /// [`EnvironmentError`]; nothing has changed.
    pub fn attach_environment(
        &mut self,
        id: &str,
        bridge: &str,
        info: PortInfo,
        fast_path: &mut dyn FastPath,
    ) -> Result<(), EnvironmentError> {
        if self.snapshot.bridge_by_id(bridge).is_none() {
            return Err(EnvironmentError::NoBridge(bridge.into()));
        }
        if self.ports.environments.contains_key(id) {
            return Err(EnvironmentError::Exists(id.into()));
        }
        if self.ports.by_id.contains_key(&info.id) || self.snapshot.port_role(&info.name).is_some()
        {
            return Err(EnvironmentError::PortInUse(info.name));
        }
        let environment = Environment { id: id.into(), bridge: bridge.into() };
        self.insert_port(info, Some(environment), fast_path);
        Ok(())
    }

    /// The port of an attached environment.
    #[must_use]
    pub fn environment_port(&self, id: &str) -> Option<PortId> {
        self.ports.environments.get(id).copied()
    }

    /// The environments attached, in no order.
    pub fn environments(&self) -> impl Iterator<Item = EnvironmentView> {
        self.ports.by_id.values().filter_map(|port| {
            let environment = port.environment.as_ref()?;
            Some(EnvironmentView {
                id: (*environment.id).into(),
                bridge: environment.bridge.clone(),
                port: port.info.clone(),
            })
        })
    }

    /// The ports attached, in no order.
    pub fn ports(&self) -> impl Iterator<Item = &PortInfo> {
        self.ports.by_id.values().map(|port| &port.info)
    }

    /// Gives every port its role under the snapshot in force. Returns those that `before` had
    /// another use for, or held to another MAC address.
    pub(super) fn resolve_ports(
        &mut self,
        before: &Snapshot,
        fast_path: &mut dyn FastPath,
    ) -> Vec<Changed> {
        let snapshot = self.snapshot.clone();
        let mut changed = Vec::new();
        for port in self.ports.by_id.values_mut() {
            let (role, src_mac) = (port.role, port.src_mac);
            port.resolve(&snapshot);
            if (role.id(before), src_mac) != (port.role.id(&snapshot), port.src_mac) {
                let left = role.eni().map(|eni| before.eni(eni).id.clone());
                changed.push(Changed { port: port.info.id, left, came: port.role.eni() });
            }
        }
        for port in self.ports.by_id.values() {
            fast_path.add_port(port.info.id, self.policy(port.role));
        }
        // The order decides which numbers are given out next.
        changed.sort_unstable_by_key(|it| it.port);
        changed
    }

    /// The subnet and VPC whose link a port is, if it is one's.
    pub(super) fn subnet_of(&self, role: Role) -> Option<(VpcIx, SubnetIx)> {
        let subnet = match role {
            Role::Resource(PortRole::Segment(subnet)) => subnet,
            Role::Resource(PortRole::Eni(eni)) => self.snapshot.eni(eni).subnet,
            _ => return None,
        };
        Some((self.snapshot.subnet(subnet).vpc, subnet))
    }

    /// The address the gateway itself has on a port, in the family of `like`: where its ARP
    /// questions and ICMP errors come from.
    pub(super) fn gateway_address(&self, role: Role, like: IpAddr) -> Option<IpAddr> {
        let v4 = like.is_ipv4();
        match role {
            Role::Resource(PortRole::Uplink(uplink)) => {
                self.snapshot.uplink(uplink).source_for(like)
            }
            Role::Environment(bridge) => {
                let eni = self.snapshot.eni(self.snapshot.bridge(bridge).eni);
                eni.addresses().find(|ip| ip.is_ipv4() == v4)
            }
            role => {
                let (_, subnet) = self.subnet_of(role)?;
                let subnet = self.snapshot.subnet(subnet);
                if v4 {
                    Some(subnet.router_v4().into())
                } else {
                    subnet.router_v6().map(Into::into)
                }
            }
        }
    }

    /// Whether `ip` is an address of the gateway's own on this port, one that answers echo
    /// requests. Addresses of NAT gateways and load balancers do not, as at AWS.
    pub(super) fn is_gateway_address(&self, port: &Port, ip: IpAddr) -> bool {
        if ip == port.link_local() {
            return true;
        }
        match port.role {
            Role::Resource(PortRole::Uplink(uplink)) => {
                let uplink = self.snapshot.uplink(uplink);
                !uplink.share_with_host && uplink.is_own(ip)
            }
            Role::Environment(_) | Role::Unused => false,
            Role::Resource(_) => self.gateway_address(port.role, ip) == Some(ip),
        }
    }

    /// Where answers to a packet that came in by `port` go: the next hop towards its source.
    pub(super) fn way_back(&self, port: &Port, src: IpAddr, src_mac: MacAddr) -> NextHop {
        match port.role {
            Role::Resource(PortRole::Uplink(uplink)) => {
                // Without a way back over the link, back to whoever sent it.
                let hop = self.snapshot.uplink(uplink).next_hop(src);
                hop.map_or(NextHop::Mac(src_mac), NextHop::Ip)
            }
            Role::Resource(PortRole::Eni(eni)) => {
                let eni = self.snapshot.eni(eni);
                // What an instance forwards for others is answered by way of the instance.
                let ip = eni.address_towards(src).unwrap_or(src);
                eni.mac.map_or(NextHop::Ip(ip), NextHop::Mac)
            }
            Role::Resource(PortRole::Segment(_)) => NextHop::Ip(src),
            // Environments are cloned with one address and one MAC address; the port tells them
            // apart, and there is nobody else on it.
            Role::Environment(_) | Role::Unused | Role::Resource(PortRole::Vacant(_)) => {
                NextHop::Mac(src_mac)
            }
        }
    }
}
