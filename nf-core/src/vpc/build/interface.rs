//! Network interfaces: those of instances as the document declares them, and the managed ones of
//! NAT gateways, load balancers and bridges.
//!
//! Addresses that stand in the document are taken first; only then are free ones chosen for
//! managed interfaces that name none, so a choice never takes what somebody asked for. The choice
//! goes by the owners' ids, not by their order in the document: moving a block of text must not
//! renumber anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::derived::mac_of;
use super::ids::Ids;
use super::instance::Instances;
use super::managed::{Managed, bridges, nat_gateways, nodes};
use super::network::Network;
use super::security_group::SecurityGroups;
use super::{InvalidKind, Path, Problems};
use crate::flow::Timeouts;
use crate::packet::MacAddr;
use crate::vpc::document::{self, ConnectionTracking, Document};
use crate::vpc::hash::Map;
use crate::vpc::id::{EniId, ResourceId, SubnetId};
use crate::vpc::model::{Eni, EniIx, Owner, Subnet, SubnetIx, VpcIx};

/// The interfaces of a snapshot: the document's own in their order, then the managed ones.
pub(super) struct Interfaces {
    pub(super) enis: Vec<Option<Eni>>,
    /// By the place of the NAT gateway in the document.
    pub(super) of_nat_gateways: Vec<Option<EniIx>>,
    /// By the place of the load balancer in the document, then of the subnet mapping.
    pub(super) of_load_balancers: Vec<Vec<Option<EniIx>>>,
    /// By the place of the bridge in the document.
    pub(super) of_bridges: Vec<Option<EniIx>>,
    by_address: Map<(VpcIx, IpAddr), EniIx>,
    by_id: Map<EniId, Path>,
    wanted: Vec<Wanted>,
}

/// What interfaces refer to.
pub(super) struct Around<'a> {
    pub(super) ids: &'a Ids<'a>,
    pub(super) network: &'a Network,
    pub(super) instances: &'a Instances<'a>,
    pub(super) security_groups: &'a SecurityGroups<'a>,
}

/// Addresses that are still to be chosen for a managed interface.
struct Wanted {
    eni: EniIx,
    /// What the order of choice goes by: the kind and id of the owner, then the subnet.
    order: (u8, String, SubnetId),
    path: Path,
    v4_key: &'static str,
    v4_count: usize,
    v6_count: usize,
}

impl Interfaces {
    pub(super) fn resolve(
        document: &Document,
        around: &Around<'_>,
        problems: &mut Problems,
    ) -> Self {
        let &Around { ids, network, .. } = around;
        let mut interfaces = Self {
            enis: Vec::new(),
            of_nat_gateways: Vec::new(),
            of_load_balancers: Vec::new(),
            of_bridges: Vec::new(),
            by_address: Map::default(),
            by_id: Map::default(),
            wanted: Vec::new(),
        };
        for (place, interface) in document.network_interface.iter().enumerate() {
            let path = Path::of("network_interface", place);
            // Two declared interfaces with one id were reported with the ids.
            let id = interface.network_interface_id.clone();
            interfaces.by_id.entry(id).or_insert_with(|| path.clone());
            interfaces.declare(&path, interface, around, problems);
        }
        interfaces.check_macs(document, network, problems);
        for managed in nat_gateways(document, ids) {
            let eni = interfaces.manage(managed, around, problems);
            interfaces.of_nat_gateways.push(eni);
        }
        for (place, load_balancer) in document.load_balancer.iter().enumerate() {
            let enis = nodes(place, load_balancer, ids, document)
                .map(|managed| interfaces.manage(managed, around, problems))
                .collect();
            interfaces.of_load_balancers.push(enis);
        }
        for managed in bridges(document) {
            let eni = interfaces.manage(managed, around, problems);
            interfaces.of_bridges.push(eni);
        }
        interfaces
    }

    pub(super) fn get(&self, ix: EniIx) -> Option<&Eni> {
        self.enis.get(ix.place())?.as_ref()
    }

    pub(super) fn get_mut(&mut self, ix: EniIx) -> Option<&mut Eni> {
        self.enis.get_mut(ix.place())?.as_mut()
    }

    /// The interface with this private address.
    pub(super) fn at(&self, vpc: VpcIx, address: IpAddr) -> Option<&Eni> {
        self.get(*self.by_address.get(&(vpc, address))?)
    }

    /// Takes an interface of an instance into the list.
    fn declare(
        &mut self,
        path: &Path,
        interface: &document::NetworkInterface,
        around: &Around<'_>,
        problems: &mut Problems,
    ) {
        let &Around { ids, network, instances, security_groups } = around;
        let ix = EniIx::at(self.enis.len());
        if let Some(mac) = interface.mac_address.filter(|mac| !is_one_host(*mac)) {
            problems.add(path.key("mac_address"), InvalidKind::MacNotUnicast { mac });
        }
        let place = ids.subnets.find(&interface.subnet_id, || path.key("subnet_id"), problems);
        let place = place.map(SubnetIx::at);
        let attached = instances.attach(path, interface, ids, problems);
        let found = place.and_then(|ix| Some((ix, network.subnet(ix)?)));
        let eni = found.map(|(subnet, found)| {
            let id = interface.network_interface_id.clone();
            let groups = path.key("groups");
            let mac = interface.mac_address.or_else(|| {
                // Whoever starts the instance has to give its device an address before there is
                // any packet to learn it from.
                interface.attachment.as_ref().map(|_| mac_of(id.as_str()))
            });
            Eni {
                id,
                subnet,
                vpc: found.vpc,
                owner: Owner::Instance,
                interface_type: interface.interface_type.into(),
                private_ips: primary_first(interface),
                ipv4_prefixes: interface.ipv4_prefixes.clone(),
                ipv6_addresses: interface.ipv6_addresses.clone(),
                ipv6_prefixes: interface.ipv6_prefixes.clone(),
                public_ips: Vec::new(),
                groups: security_groups.of_interface(
                    &interface.groups,
                    found.vpc,
                    ids,
                    &groups,
                    problems,
                ),
                mac,
                port: attached.as_ref().map_or(interface.port.clone(), |it| it.port.clone()),
                attachment: attached.map(|it| it.attachment),
                timeouts: timeouts(interface.connection_tracking),
                source_dest_check: interface.source_dest_check,
                description: interface.description.clone(),
            }
        });
        self.enis.push(eni);
        let Some(subnet) = place.and_then(|place| network.subnet(place)) else { return };
        if let Some(primary) = interface.private_ip_address {
            let at = || path.key("private_ip_address");
            self.take(ix, subnet, IpAddr::V4(primary), at, problems);
        }
        for (place, &v4) in interface.secondary_private_ip_addresses.iter().enumerate() {
            let at = || path.key("secondary_private_ip_addresses").index(place);
            self.take(ix, subnet, IpAddr::V4(v4), at, problems);
        }
        for (place, &v6) in interface.ipv6_addresses.iter().enumerate() {
            let at = || path.key("ipv6_addresses").index(place);
            self.take(ix, subnet, IpAddr::V6(v6), at, problems);
        }
    }

    /// Takes a managed interface into the list, with the addresses that the document gives it.
    fn manage(
        &mut self,
        managed: Managed<'_>,
        around: &Around<'_>,
        problems: &mut Problems,
    ) -> Option<EniIx> {
        let &Around { ids, network, security_groups, .. } = around;
        let path = managed.path.clone();
        let place = ids.subnets.find(managed.subnet_id, || path.key("subnet_id"), problems)?;
        let subnet_ix = SubnetIx::at(place);
        let subnet = network.subnet(subnet_ix)?;
        let id = managed.id.cloned().unwrap_or_else(|| managed.derived_id());
        if let Some(other) = self.by_id.get(&id) {
            // Derived ids are the same where owners have the same id or two nodes one subnet, and
            // both are reported as what they are.
            let same_kind = other.segments().first() == path.segments().first();
            if managed.id.is_some() || !same_kind {
                let kind = InvalidKind::duplicate(&id, other.clone());
                problems.add(path.key("network_interface_id"), kind);
            }
        } else {
            self.by_id.insert(id.clone(), path.clone());
        }

        let ix = EniIx::at(self.enis.len());
        let (v4_key, v4) = managed.v4;
        let groups = managed.groups.map(|named| {
            let path = path.key("security_group_ids");
            security_groups.of_interface(named, subnet.vpc, ids, &path, problems)
        });
        self.enis.push(Some(Eni {
            id,
            subnet: subnet_ix,
            vpc: subnet.vpc,
            owner: managed.owner,
            interface_type: managed.owner.interface_type(),
            private_ips: v4.into_iter().collect(),
            ipv4_prefixes: Vec::new(),
            ipv6_addresses: managed.v6.into_iter().collect(),
            ipv6_prefixes: Vec::new(),
            public_ips: Vec::new(),
            groups: groups.unwrap_or_default(),
            mac: None,
            port: None,
            attachment: None,
            timeouts: Timeouts::default(),
            source_dest_check: managed.source_dest_check,
            description: managed.description,
        }));
        if let Some(v4) = v4 {
            self.take(ix, subnet, IpAddr::V4(v4), || path.key(v4_key), problems);
        }
        if let Some(v6) = managed.v6 {
            self.take(ix, subnet, IpAddr::V6(v6), || path.key("ipv6_address"), problems);
        }
        let kind = match managed.owner {
            Owner::Instance => 0,
            Owner::NatGateway(_) => 1,
            Owner::LoadBalancer(_) => 2,
            Owner::Bridge(_) => 3,
        };
        self.wanted.push(Wanted {
            eni: ix,
            order: (kind, managed.owner_id.to_owned(), subnet.id.clone()),
            path,
            v4_key,
            v4_count: managed.v4_count.saturating_sub(usize::from(v4.is_some())),
            v6_count: managed.v6_count.saturating_sub(usize::from(managed.v6.is_some())),
        });
        Some(ix)
    }

    /// Gives an address to an interface, unless it cannot have it.
    fn take(
        &mut self,
        eni: EniIx,
        subnet: &Subnet,
        address: IpAddr,
        path: impl FnOnce() -> Path,
        problems: &mut Problems,
    ) {
        let id = || subnet.id.clone();
        let kind = match subnet.block_of(address) {
            None => InvalidKind::NoIpv6Block { noun: "subnet", id: subnet.id.to_string() },
            Some(block) if !block.contains(&address) => {
                InvalidKind::AddressOutsideSubnet { address, subnet: id(), block }
            }
            Some(_) if subnet.is_reserved(address) => {
                InvalidKind::AddressReserved { address, subnet: id() }
            }
            Some(_) => {
                let Some(holder) = self.at(subnet.vpc, address) else {
                    self.by_address.insert((subnet.vpc, address), eni);
                    return;
                };
                InvalidKind::AddressInUse { address, eni: holder.id.clone() }
            }
        };
        problems.add(path(), kind);
    }

    /// Chooses the first free addresses of their subnets for managed interfaces that need more
    /// than the document gives them.
    pub(super) fn fill_in_addresses(&mut self, network: &Network, problems: &mut Problems) {
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.sort_by(|a, b| a.order.cmp(&b.order));
        let mut search = Search::default();
        for want in wanted {
            let Some(eni) = self.get(want.eni) else { continue };
            let subnet_ix = eni.subnet;
            let Some(subnet) = network.subnet(subnet_ix) else { continue };
            let any_v4 = Some(IpAddr::V4(subnet.cidr.network()));
            let any_v6 = subnet.ipv6_cidr.map(|cidr| IpAddr::V6(cidr.network()));
            for (family, count, key) in
                [(any_v4, want.v4_count, want.v4_key), (any_v6, want.v6_count, "ipv6_address")]
            {
                for _ in 0..count {
                    let Err(kind) = self.choose(want.eni, subnet_ix, subnet, family, &mut search)
                    else {
                        continue;
                    };
                    problems.add(want.path.key(key), kind);
                    break;
                }
            }
        }
    }

    /// Gives an interface the first free address of the family that `family` is of.
    fn choose(
        &mut self,
        eni: EniIx,
        subnet_ix: SubnetIx,
        subnet: &Subnet,
        family: Option<IpAddr>,
        search: &mut Search,
    ) -> Result<(), InvalidKind> {
        let Some((first, block)) = family.and_then(|ip| Some((ip, subnet.block_of(ip)?))) else {
            return Err(InvalidKind::NoIpv6Block { noun: "subnet", id: subnet.id.to_string() });
        };
        if let Some(port) = &subnet.port {
            let (subnet, port) = (subnet.id.clone(), port.clone());
            return Err(InvalidKind::AddressNeeded { subnet, port });
        }
        let is_free = |address: &IpAddr| {
            !subnet.is_reserved(*address) && !self.by_address.contains_key(&(subnet.vpc, *address))
        };
        let next = search.next.entry((subnet_ix, first.is_ipv4())).or_insert(Some(first));
        let address = std::iter::successors(*next, |address| following(*address))
            .take_while(|address| block.contains(address))
            .find(is_free);
        *next = address.and_then(following);
        let Some(address) = address else {
            return Err(InvalidKind::NoFreeAddress { subnet: subnet.id.clone(), block });
        };
        self.by_address.insert((subnet.vpc, address), eni);
        if let Some(eni) = self.get_mut(eni) {
            match address {
                IpAddr::V4(address) => eni.private_ips.push(address),
                IpAddr::V6(address) => eni.ipv6_addresses.push(address),
            }
        }
        Ok(())
    }

    /// Reports two interfaces that share a MAC address and a segment. Behind different ports they
    /// may well: nothing ever compares them.
    fn check_macs(&self, document: &Document, network: &Network, problems: &mut Problems) {
        let mut seen: Map<(&str, MacAddr), &Eni> = Map::default();
        for (place, eni) in self.enis.iter().take(document.network_interface.len()).enumerate() {
            let Some(eni) = eni else { continue };
            let segment = network.subnet(eni.subnet).and_then(|subnet| subnet.port.as_deref());
            let Some((port, mac)) = eni.port.as_deref().or(segment).zip(eni.mac) else { continue };
            if let Some(other) = seen.get(&(port, mac)) {
                problems.add(
                    Path::of("network_interface", place).key("mac_address"),
                    InvalidKind::MacInUse { mac, eni: other.id.clone() },
                );
            } else {
                seen.insert((port, mac), eni);
            }
        }
    }
}

fn primary_first(interface: &document::NetworkInterface) -> Vec<Ipv4Addr> {
    let others = interface.secondary_private_ip_addresses.iter().copied();
    interface.private_ip_address.into_iter().chain(others).collect()
}

fn timeouts(tracking: ConnectionTracking) -> Timeouts {
    let seconds = |number: u32| Duration::from_secs(number.into());
    Timeouts {
        tcp_established: seconds(tracking.tcp_established_timeout),
        udp: seconds(tracking.udp_timeout),
        udp_stream: seconds(tracking.udp_stream_timeout),
        ..Timeouts::default()
    }
}

/// Where the search for a free address goes on, by subnet and whether it is for IPv4: what was
/// passed once is taken.
#[derive(Default)]
struct Search {
    next: Map<(SubnetIx, bool), Option<IpAddr>>,
}

fn following(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// Whether one host can have this MAC address. All zero is nobody's, though its group bit is clear.
fn is_one_host(mac: MacAddr) -> bool {
    mac.is_unicast() && mac != MacAddr::default()
}
