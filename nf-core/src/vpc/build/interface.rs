//! Network interfaces: those of instances as the document declares them, and the managed ones of
//! NAT gateways, load balancers and bridges.
//!
//! Addresses that stand in the document are taken first; only then are free ones chosen for
//! managed interfaces that name none, so a choice never takes what somebody asked for. The choice
//! goes by the owners' ids, not by their order in the document: moving a block of text must not
//! renumber anything.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::addresses::{Addresses, Family, Holder};
use super::attachment::Attachments;
use super::derived::mac_of;
use super::ids::Ids;
use super::instance::Instances;
use super::managed::{Managed, Wish, bridges, nat_gateways, nodes};
use super::network::Network;
use super::security_group::SecurityGroups;
use super::{InvalidKind, Path, Problems};
use crate::flow::Timeouts;
use crate::packet::MacAddr;
use crate::vpc::document::{self, Document, NetworkInterfaceType};
use crate::vpc::hash::Map;
use crate::vpc::id::{EniId, ResourceId, SubnetId};
use crate::vpc::invalid::InvalidAttachment;
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
    addresses: Addresses,
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

/// The addresses of a managed interface, of which some are still to be chosen.
struct Wanted {
    eni: EniIx,
    /// What the order of choice goes by: the kind and id of the owner, then the subnet.
    order: (u8, String, SubnetId),
    v4: Vec<Wish>,
    v6: Vec<Wish>,
}

impl Interfaces {
    pub(super) fn resolve(
        document: &Document,
        around: &Around<'_>,
        problems: &mut Problems,
    ) -> Self {
        let &Around { ids, network, instances, .. } = around;
        let mut attachments = Attachments::default();
        let mut interfaces = Self {
            enis: Vec::new(),
            of_nat_gateways: Vec::new(),
            of_load_balancers: Vec::new(),
            of_bridges: Vec::new(),
            addresses: Addresses::default(),
            by_id: Map::default(),
            wanted: Vec::new(),
        };
        for (place, interface) in document.network_interface.iter().enumerate() {
            let path = Path::of("network_interface", place);
            // Two declared interfaces with one id were reported with the ids.
            let id = interface.network_interface_id.clone();
            interfaces.by_id.entry(id).or_insert_with(|| path.clone());
            interfaces.declare(&path, interface, around, &mut attachments, problems);
        }
        attachments.check_instances(instances, network, problems);
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
        self.get(self.addresses.at(vpc, address)?)
    }

    /// Takes an interface of an instance into the list.
    fn declare(
        &mut self,
        path: &Path,
        interface: &document::NetworkInterface,
        around: &Around<'_>,
        attachments: &mut Attachments,
        problems: &mut Problems,
    ) {
        let &Around { ids, network, instances, security_groups } = around;
        check_alone(path, interface, problems);
        let place = ids.subnets.find(&interface.subnet_id, || path.key("subnet_id"), problems);
        let found = place.map(SubnetIx::at).and_then(|ix| Some((ix, network.subnet(ix)?)));
        let subnet = found.map(|(_, subnet)| subnet);
        let attached = attachments.attach(path, interface, subnet, instances, ids, problems);
        let Some((subnet_ix, subnet)) = found else {
            self.enis.push(None);
            return;
        };
        let id = interface.network_interface_id.clone();
        let holder = Holder { ix: EniIx::at(self.enis.len()), id: id.clone() };
        let groups = path.key("groups");
        self.enis.push(Some(Eni {
            subnet: subnet_ix,
            vpc: subnet.vpc,
            owner: Owner::Instance,
            interface_type: interface.interface_type.into(),
            private_ips: primary_first(interface),
            ipv4_prefixes: interface.ipv4_prefixes.clone(),
            ipv6_addresses: interface.ipv6_addresses.clone(),
            ipv6_prefixes: interface.ipv6_prefixes.clone(),
            public_ips: Vec::new(),
            groups: security_groups.of_interface(
                &interface.groups,
                subnet.vpc,
                ids,
                &groups,
                problems,
            ),
            // Whoever starts the instance has to give its device an address before there is any
            // packet to learn it from.
            mac: interface
                .mac_address
                .or_else(|| interface.attachment.as_ref().map(|_| mac_of(id.as_str()))),
            port: attached.as_ref().map_or(interface.port.clone(), |it| it.port.clone()),
            attachment: attached.map(|it| it.attachment),
            timeouts: timeouts(
                &path.key("connection_tracking"),
                &interface.connection_tracking,
                problems,
            ),
            source_dest_check: interface.source_dest_check,
            description: interface.description.clone(),
            id,
        }));
        let mut take = |address: IpAddr, at: Path| {
            if let Err(kind) = self.addresses.take(&holder, subnet, address) {
                problems.add(at, kind);
            }
        };
        if let Some(primary) = interface.private_ip_address {
            take(primary.into(), path.key("private_ip_address"));
        }
        let all = path.key("secondary_private_ip_addresses");
        for (place, &v4) in interface.secondary_private_ip_addresses.iter().enumerate() {
            take(v4.into(), all.index(place));
        }
        let all = path.key("ipv6_addresses");
        for (place, &v6) in interface.ipv6_addresses.iter().enumerate() {
            take(v6.into(), all.index(place));
        }
        let prefixes = (&interface.ipv4_prefixes[..], &interface.ipv6_prefixes[..]);
        self.take_prefixes(&holder, subnet, prefixes, path, problems);
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

        let holder = Holder { ix: EniIx::at(self.enis.len()), id: id.clone() };
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
            // They follow when all are known.
            private_ips: Vec::new(),
            ipv4_prefixes: managed.v4_prefixes.to_vec(),
            ipv6_addresses: Vec::new(),
            ipv6_prefixes: managed.v6_prefixes.to_vec(),
            public_ips: Vec::new(),
            groups: groups.unwrap_or_default(),
            mac: None,
            port: None,
            attachment: None,
            timeouts: Timeouts::default(),
            source_dest_check: managed.source_dest_check,
            description: managed.description,
        }));
        for wish in managed.v4.iter().chain(&managed.v6) {
            let Some(address) = wish.address else { continue };
            if let Err(kind) = self.addresses.take(&holder, subnet, address) {
                problems.add(wish.path.clone(), kind);
            }
        }
        let prefixes = (managed.v4_prefixes, managed.v6_prefixes);
        self.take_prefixes(&holder, subnet, prefixes, &path, problems);
        let kind = match managed.owner {
            Owner::Instance => 0,
            Owner::NatGateway(_) => 1,
            Owner::LoadBalancer(_) => 2,
            Owner::Bridge(_) => 3,
        };
        self.wanted.push(Wanted {
            eni: holder.ix,
            order: (kind, managed.owner_id.to_owned(), subnet.id.clone()),
            v4: managed.v4,
            v6: managed.v6,
        });
        Some(holder.ix)
    }

    /// Gives prefixes to an interface, those that it can have.
    fn take_prefixes(
        &mut self,
        holder: &Holder,
        subnet: &Subnet,
        (v4, v6): (&[Ipv4Net], &[Ipv6Net]),
        path: &Path,
        problems: &mut Problems,
    ) {
        let v4 = v4.iter().enumerate().map(|(at, it)| ("ipv4_prefixes", at, IpNet::V4(*it)));
        let v6 = v6.iter().enumerate().map(|(at, it)| ("ipv6_prefixes", at, IpNet::V6(*it)));
        for (key, place, prefix) in v4.chain(v6) {
            if let Err(kind) = self.addresses.take_prefix(holder, subnet, prefix) {
                problems.add(path.key(key).index(place), kind);
            }
        }
    }

    /// Gives managed interfaces their addresses: those of the document, and where it gives none the
    /// first free ones of their subnets.
    pub(super) fn fill_in_addresses(&mut self, network: &Network, problems: &mut Problems) {
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.sort_by(|a, b| a.order.cmp(&b.order));
        for want in wanted {
            let Some(eni) = self.get(want.eni) else { continue };
            let (subnet_ix, holder) = (eni.subnet, Holder { ix: want.eni, id: eni.id.clone() });
            let Some(subnet) = network.subnet(subnet_ix) else { continue };
            for (family, wishes) in [(Family::V4, want.v4), (Family::V6, want.v6)] {
                for wish in wishes {
                    let choose = || self.addresses.choose(&holder, subnet_ix, subnet, family);
                    match wish.address.map_or_else(choose, Ok) {
                        Ok(address) => self.add_address(want.eni, address),
                        Err(kind) => {
                            problems.add(wish.path, kind);
                            break;
                        }
                    }
                }
            }
        }
    }

    fn add_address(&mut self, ix: EniIx, address: IpAddr) {
        let Some(eni) = self.get_mut(ix) else { return };
        match address {
            IpAddr::V4(address) => eni.private_ips.push(address),
            IpAddr::V6(address) => eni.ipv6_addresses.push(address),
        }
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

/// Reports what is wrong with an interface whatever is around it.
fn check_alone(path: &Path, interface: &document::NetworkInterface, problems: &mut Problems) {
    if let Some(mac) = interface.mac_address.filter(|mac| !is_one_host(*mac)) {
        problems.add(path.key("mac_address"), InvalidKind::MacNotUnicast { mac });
    }
    if interface.port.is_some() && interface.attachment.is_some() {
        problems.add(path.key("port"), InvalidAttachment::PortAndAttachment.into());
    }
    if interface.interface_type == NetworkInterfaceType::EfaOnly {
        for (key, there) in [
            ("private_ip_address", interface.private_ip_address.is_some()),
            (
                "secondary_private_ip_addresses",
                !interface.secondary_private_ip_addresses.is_empty(),
            ),
            ("ipv4_prefixes", !interface.ipv4_prefixes.is_empty()),
            ("ipv6_addresses", !interface.ipv6_addresses.is_empty()),
            ("ipv6_prefixes", !interface.ipv6_prefixes.is_empty()),
            ("public_ip", interface.public_ip.is_some()),
        ] {
            if there {
                problems.add(path.key(key), InvalidKind::AddressWithoutIp);
            }
        }
    } else if interface.private_ip_address.is_none() {
        problems.add(path.key("private_ip_address"), InvalidKind::NoPrimaryAddress);
    }
}

/// The idle times of flows that pass an interface and no function.
fn timeouts(
    path: &Path,
    tracking: &document::ConnectionTracking,
    problems: &mut Problems,
) -> Timeouts {
    let &document::ConnectionTracking {
        tcp_established_timeout: tcp,
        udp_stream_timeout: stream,
        udp_timeout: udp,
    } = tracking;
    problems.check_range(|| path.key("tcp_established_timeout"), tcp, 60, 432_000);
    problems.check_range(|| path.key("udp_stream_timeout"), stream, 60, 180);
    problems.check_range(|| path.key("udp_timeout"), udp, 30, 60);
    Timeouts {
        tcp_established: Duration::from_secs(tcp.into()),
        udp: Duration::from_secs(udp.into()),
        udp_stream: Duration::from_secs(stream.into()),
        ..Timeouts::default()
    }
}

/// Whether one host can have this MAC address. All zero is nobody's, though its group bit is clear.
fn is_one_host(mac: MacAddr) -> bool {
    mac.is_unicast() && mac != MacAddr::default()
}
