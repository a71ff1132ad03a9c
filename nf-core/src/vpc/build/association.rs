//! Public addresses: Elastic IP addresses, each on one private address of one interface or at rest,
//! and those that subnets gave to interfaces.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ids::Ids;
use super::interface::Interfaces;
use super::network::{Network, is_host};
use super::pool::Pools;
use super::uplink::Uplinks;
use super::{InvalidKind, Path, Problems, nat_gateway};
use crate::vpc::document::{self, ConnectivityType, Document, Scheme};
use crate::vpc::hash::Map;
use crate::vpc::id::AllocationId;
use crate::vpc::invalid::InvalidNatAddress;
use crate::vpc::lpm::Lpm;
use crate::vpc::model::{EniIx, InterfaceType, Owner, PublicAddress, Vpc, is_global_unicast};

/// The allocations of a document and what each is used by.
pub(super) struct Allocations {
    used_by: Vec<Option<Path>>,
}

impl Allocations {
    /// Checks the addresses themselves.
    pub(super) fn resolve(
        document: &Document,
        network: &Network,
        uplinks: &Uplinks,
        pools: &Pools,
        problems: &mut Problems,
    ) -> Self {
        let inside = inside(network);
        let mut holders: Map<IpAddr, Path> = Map::default();
        let mut hold = |ip: IpAddr, holder: Path, problems: &mut Problems| {
            let at = || holder.key("public_ip");
            let other = holders.get(&ip).or_else(|| uplinks.holder(ip)).cloned();
            if !is_host(ip) {
                problems.add(at(), InvalidKind::NotAHost { address: ip });
            } else if let Some(other) = other {
                problems.add(at(), InvalidKind::PublicAddressInUse { address: ip, other });
            } else if let Some((block, vpc)) = inside.get(ip) {
                let (block, vpc) = (*block, vpc.id.clone());
                problems.add(at(), InvalidKind::PublicAddressInVpc { address: ip, block, vpc });
            }
            holders.entry(ip).or_insert(holder);
        };
        for (place, address) in document.address.iter().enumerate() {
            hold(address.public_ip, Path::of("address", place), problems);
        }
        for (place, interface) in document.network_interface.iter().enumerate() {
            let Some(public_ip) = interface.public_ip else { continue };
            let path = Path::of("network_interface", place);
            hold(public_ip.into(), path.clone(), problems);
            if !pools.contains(public_ip) {
                let address = public_ip.into();
                problems.add(path.key("public_ip"), InvalidKind::NotFromPool { address });
            }
        }
        Self { used_by: vec![None; document.address.len()] }
    }

    /// Puts every address that something names on the private address it stands for.
    pub(super) fn associate(
        &mut self,
        document: &Document,
        ids: &Ids<'_>,
        network: &Network,
        interfaces: &mut Interfaces,
        problems: &mut Problems,
    ) {
        let mut stage =
            Stage { used_by: &mut self.used_by, document, ids, network, interfaces, problems };
        for (place, address) in document.address.iter().enumerate() {
            stage.of_address(place, address);
        }
        for (place, gateway) in document.nat_gateway.iter().enumerate() {
            stage.of_nat_gateway(place, gateway);
        }
        for (place, load_balancer) in document.load_balancer.iter().enumerate() {
            stage.of_load_balancer(place, load_balancer);
        }
        for (place, interface) in document.network_interface.iter().enumerate() {
            stage.of_subnet(EniIx::at(place), interface);
        }
    }
}

/// The blocks of VPCs with an internet gateway, each with its VPC.
fn inside(network: &Network) -> Lpm<(IpNet, &Vpc)> {
    let vpcs = network.vpcs.iter().flatten().filter(|vpc| vpc.uplink.is_some());
    vpcs.flat_map(|vpc| vpc.blocks().map(move |block| (block, (block, vpc)))).collect()
}

struct Stage<'a, 'd> {
    used_by: &'a mut [Option<Path>],
    document: &'d Document,
    ids: &'a Ids<'d>,
    network: &'a Network,
    interfaces: &'a mut Interfaces,
    problems: &'a mut Problems,
}

impl Stage<'_, '_> {
    /// An address that names its interface itself.
    fn of_address(&mut self, place: usize, address: &document::Address) {
        let path = Path::of("address", place);
        let Some(interface) = &address.network_interface_id else {
            if address.private_ip_address.is_some() {
                self.problems.add(path.key("private_ip_address"), InvalidKind::PrivateAddressAlone);
            }
            return;
        };
        let at = || path.key("network_interface_id");
        let found = self.ids.interfaces.find(interface, at, self.problems);
        let Some(eni_ix) = found.map(EniIx::at) else { return };
        let Some(eni) = self.interfaces.get(eni_ix) else { return };
        let private = match address.private_ip_address {
            Some(private)
                if !eni.has_address(private)
                    || private.is_ipv4() != address.public_ip.is_ipv4() =>
            {
                let kind =
                    InvalidKind::NoSuchPrivateAddress { address: private, eni: eni.id.clone() };
                self.problems.add(path.key("private_ip_address"), kind);
                return;
            }
            Some(private) => Some(private),
            None => eni.addresses().find(|ip| ip.is_ipv4() == address.public_ip.is_ipv4()),
        };
        self.put(&address.allocation_id, eni_ix, private, at());
    }

    /// The addresses of a NAT gateway.
    fn of_nat_gateway(&mut self, place: usize, gateway: &document::NatGateway) {
        let path = Path::of("nat_gateway", place);
        self.check_secondary_addresses(&path, gateway);
        let at = path.key("allocation_ids");
        match gateway.connectivity_type {
            ConnectivityType::Public if gateway.allocation_ids.is_empty() => {
                self.problems.add(at, InvalidKind::NatWithoutAddress);
                return;
            }
            ConnectivityType::Private if !gateway.allocation_ids.is_empty() => {
                self.problems.add(at, InvalidKind::PrivateNatWithAddress);
                return;
            }
            ConnectivityType::Private => return,
            ConnectivityType::Public => {}
        }
        let places = nat_gateway::places(gateway, &path, self.ids, self.document);
        let eni_ix = self.interfaces.of_nat_gateways[place];
        let eni = eni_ix.and_then(|ix| self.interfaces.get(ix));
        let all = match eni {
            Some(eni) => nat_gateway::occupied(&places, eni),
            None => places.iter().map(|place| (place, None)).collect(),
        };
        for (place, private) in all {
            let Some((id, at)) = &place.allocation else { continue };
            if self.public_ip(id, at).is_none() {
                continue;
            }
            let Some(eni_ix) = eni_ix else { continue };
            self.put(id, eni_ix, private, at.clone());
        }
    }

    /// Reports secondary addresses of a NAT gateway that have an Elastic IP address and may not, or
    /// the other way round.
    fn check_secondary_addresses(&mut self, path: &Path, gateway: &document::NatGateway) {
        for (position, secondary) in gateway.secondary_address.iter().enumerate() {
            let path = path.key("secondary_address").index(position);
            let (key, kind) = match (gateway.connectivity_type, &secondary.allocation_id) {
                (ConnectivityType::Public, None) => {
                    ("allocation_id", InvalidNatAddress::WithoutAllocation)
                }
                (ConnectivityType::Private, Some(_)) => {
                    ("allocation_id", InvalidNatAddress::WithAllocation)
                }
                (ConnectivityType::Private, None) => continue,
                (ConnectivityType::Public, Some(id)) => {
                    let Some(private_ip) = secondary.private_ip_address else { continue };
                    let Some(place) = self.ids.allocations.get(id) else { continue };
                    let public_ip = self.document.address[place].public_ip;
                    if public_ip.is_ipv4() == private_ip.is_ipv4() {
                        continue;
                    }
                    let kind = InvalidNatAddress::OtherFamily { private_ip, public_ip };
                    ("private_ip_address", kind)
                }
            };
            self.problems.add(path.key(key), kind.into());
        }
    }

    fn of_load_balancer(&mut self, place: usize, load_balancer: &document::LoadBalancer) {
        let path = Path::of("load_balancer", place);
        for (position, mapping) in load_balancer.subnet_mapping.iter().enumerate() {
            let at = path.key("subnet_mapping").index(position).key("allocation_id");
            match (load_balancer.scheme, &mapping.allocation_id) {
                (Scheme::Internal, None) => {}
                (Scheme::Internal, Some(_)) => {
                    self.problems.add(at, InvalidKind::InternalNodeWithAddress);
                }
                // A public IPv6 address needs no other in front of it.
                (Scheme::InternetFacing, None)
                    if mapping.ipv6_address.is_some_and(is_global_unicast) => {}
                (Scheme::InternetFacing, None) => {
                    self.problems.add(at, InvalidKind::NodeWithoutAddress);
                }
                (Scheme::InternetFacing, Some(id)) => {
                    let Some(public_ip) = self.public_ip(id, &at) else { continue };
                    let eni_ix = self.interfaces.of_load_balancers[place][position];
                    let Some(eni_ix) = eni_ix else { continue };
                    let Some(eni) = self.interfaces.get(eni_ix) else { continue };
                    let private = eni.addresses().find(|ip| ip.is_ipv4() == public_ip.is_ipv4());
                    self.put(id, eni_ix, private, at);
                }
            }
        }
    }

    /// The public address that its subnet gave to an interface. It rests while an Elastic IP
    /// address stands for the primary private address, and in a VPC without an internet gateway,
    /// where no packet could be for it.
    fn of_subnet(&mut self, eni_ix: EniIx, interface: &document::NetworkInterface) {
        let Some(eni) = self.interfaces.get_mut(eni_ix) else { return };
        let given = interface.public_ip.zip(interface.private_ip_address);
        let Some((public_ip, private_ip)) = given else { return };
        let (public_ip, private_ip) = (public_ip.into(), private_ip.into());
        let has_gateway = self.network.vpc(eni.vpc).is_some_and(|vpc| vpc.uplink.is_some());
        if has_gateway && eni.public_ip_of(private_ip).is_none() {
            eni.public_ips.push(PublicAddress { allocation_id: None, private_ip, public_ip });
        }
    }

    /// The public address of an allocation.
    fn public_ip(&mut self, id: &AllocationId, at: &Path) -> Option<IpAddr> {
        let place = self.ids.allocations.find(id, || at.clone(), self.problems)?;
        Some(self.document.address[place].public_ip)
    }

    /// Associates an allocation with a private address of an interface.
    fn put(&mut self, id: &AllocationId, eni_ix: EniIx, private: Option<IpAddr>, at: Path) {
        let Some(place) = self.ids.allocations.get(id) else { return };
        let public_ip = self.document.address[place].public_ip;
        if let Some(other) = self.used_by[place].clone() {
            self.problems.add(at, InvalidKind::AlreadyAssociated { id: id.to_string(), other });
            return;
        }
        self.used_by[place] = Some(at.clone());
        let Some(eni) = self.interfaces.get_mut(eni_ix) else { return };
        let Some(private_ip) = private else {
            // An address that could not be chosen, or that is missing, has been reported already.
            let without_ipv6 = public_ip.is_ipv6() && eni.owner == Owner::Instance;
            if without_ipv6 || eni.interface_type == InterfaceType::EfaOnly {
                let kind =
                    InvalidKind::NoPrivateAddress { address: public_ip, eni: eni.id.clone() };
                self.problems.add(at, kind);
            }
            return;
        };
        let without_gateway = self.network.vpc(eni.vpc).filter(|vpc| vpc.uplink.is_none());
        if let Some(vpc) = without_gateway {
            self.problems.add(at, InvalidKind::NoInternetGateway { vpc: vpc.id.clone() });
        } else if eni.public_ip_of(private_ip).is_some() {
            // That a managed interface should have one address twice has been reported already.
            if eni.owner == Owner::Instance {
                let kind =
                    InvalidKind::PrivateAddressTaken { address: private_ip, eni: eni.id.clone() };
                self.problems.add(at, kind);
            }
        } else {
            let allocation_id = Some(id.clone());
            eni.public_ips.push(PublicAddress { allocation_id, private_ip, public_ip });
        }
    }
}
