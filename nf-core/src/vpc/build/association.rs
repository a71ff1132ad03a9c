//! Elastic IP addresses: each on one private address of one interface, or at rest.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ids::Ids;
use super::interface::Interfaces;
use super::network::{Network, is_host};
use super::uplink::Uplinks;
use super::{InvalidKind, Path, Problems};
use crate::vpc::document::{self, ConnectivityType, Document, Scheme};
use crate::vpc::hash::Map;
use crate::vpc::id::{AllocationId, VpcId};
use crate::vpc::model::{EniIx, Owner, PublicAddress, is_global_unicast};

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
        problems: &mut Problems,
    ) -> Self {
        let mut allocated: Map<IpAddr, usize> = Map::default();
        for (place, address) in document.address.iter().enumerate() {
            let at = || Path::of("address", place).key("public_ip");
            let ip = address.public_ip;
            let first = *allocated.entry(ip).or_insert(place);
            if !is_host(ip) {
                problems.add(at(), InvalidKind::NotAHost { address: ip });
            } else if first != place {
                let other = Path::of("address", first);
                problems.add(at(), InvalidKind::PublicAddressInUse { address: ip, other });
            } else if let Some(other) = uplinks.holder(ip).cloned() {
                problems.add(at(), InvalidKind::PublicAddressInUse { address: ip, other });
            } else if let Some((block, vpc)) = vpc_around(ip, network) {
                let vpc = vpc.clone();
                problems.add(at(), InvalidKind::PublicAddressInVpc { address: ip, block, vpc });
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
    }
}

/// The block of a VPC with an internet gateway that contains a public address.
fn vpc_around(address: IpAddr, network: &Network) -> Option<(IpNet, &VpcId)> {
    network.vpcs.iter().flatten().filter(|vpc| vpc.uplink.is_some()).find_map(|vpc| {
        vpc.blocks().find(|block| block.contains(&address)).map(|block| (block, &vpc.id))
    })
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

    /// The addresses of a NAT gateway: the first of a family on the first private address of that
    /// family, and so on.
    fn of_nat_gateway(&mut self, place: usize, gateway: &document::NatGateway) {
        let path = Path::of("nat_gateway", place).key("allocation_ids");
        match gateway.connectivity_type {
            ConnectivityType::Public if gateway.allocation_ids.is_empty() => {
                self.problems.add(path, InvalidKind::NatWithoutAddress);
                return;
            }
            ConnectivityType::Private if !gateway.allocation_ids.is_empty() => {
                self.problems.add(path, InvalidKind::PrivateNatWithAddress);
                return;
            }
            ConnectivityType::Public | ConnectivityType::Private => {}
        }
        let eni_ix = self.interfaces.of_nat_gateways[place];
        for (position, id) in gateway.allocation_ids.iter().enumerate() {
            let at = path.index(position);
            let Some(public_ip) = self.public_ip(id, &at) else { continue };
            let Some(eni_ix) = eni_ix else { continue };
            let Some(eni) = self.interfaces.get(eni_ix) else { continue };
            let same_family = |ip: &IpAddr| ip.is_ipv4() == public_ip.is_ipv4();
            let used = eni.public_ips.iter().map(|ip| ip.public_ip).filter(same_family).count();
            let private = eni.addresses().filter(same_family).nth(used);
            self.put(id, eni_ix, private, at);
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
            // An address that could not be chosen has been reported already.
            let missing_v6 = public_ip.is_ipv6() && eni.owner == Owner::Instance;
            if missing_v6 {
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
            let kind =
                InvalidKind::PrivateAddressTaken { address: private_ip, eni: eni.id.clone() };
            self.problems.add(at, kind);
        } else {
            let allocation_id = Some(id.clone());
            eni.public_ips.push(PublicAddress { allocation_id, private_ip, public_ip });
        }
    }
}
