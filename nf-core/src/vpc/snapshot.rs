//! One immutable desired state, with every look-up of the packet path ready.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::build;
use super::document::{Document, FlowLogResource, Scheme};
use super::hash::Map;
use super::id::BridgeId;
use super::invalid::Invalid;
use super::lpm::Lpm;
use super::model::{
    Admission, Bridge, BridgeIx, Eni, EniIx, FlowLog, FlowLogIx, Instance, InstanceIx,
    LoadBalancer, LoadBalancerIx, NatGateway, NatGatewayIx, Owner, PortRole, Request, RouteTable,
    RouteTarget, SecurityGroup, SecurityGroupIx, Subnet, SubnetIx, TargetGroup, TargetGroupIx,
    TrafficDirection, Uplink, UplinkIx, Vpc, VpcIx, is_global_unicast,
};
use crate::id::Generation;
use crate::tuple::Tuple;

/// A validated desired state.
///
/// Resources stand in the document's order, managed interfaces behind the declared ones. An index
/// is good for this snapshot only. Look-ups allocate nothing.
///
/// # Panics
///
/// Accessors that take an index panic on one from another snapshot that is out of range here.
#[derive(Debug)]
pub struct Snapshot {
    generation: Generation,
    resources: Resources,
    lookups: Lookups,
}

/// Everything that the document decides.
#[derive(Debug, PartialEq)]
pub(super) struct Resources {
    pub(super) vpcs: Vec<Vpc>,
    pub(super) subnets: Vec<Subnet>,
    pub(super) uplinks: Vec<Uplink>,
    pub(super) instances: Vec<Instance>,
    pub(super) enis: Vec<Eni>,
    /// The document's own, then the default groups of VPCs that declare none.
    pub(super) security_groups: Vec<SecurityGroup>,
    pub(super) route_tables: Vec<RouteTable>,
    pub(super) nat_gateways: Vec<NatGateway>,
    pub(super) load_balancers: Vec<LoadBalancer>,
    pub(super) target_groups: Vec<TargetGroup>,
    pub(super) bridges: Vec<Bridge>,
    pub(super) flow_logs: Vec<FlowLog>,
    pub(super) ports: BTreeMap<Box<str>, PortRole>,
    pub(super) warnings: Vec<Invalid>,
}

/// What follows from the resources, arranged for look-ups.
#[derive(Debug)]
struct Lookups {
    enis: Map<(VpcIx, IpAddr), EniIx>,
    /// By VPC: the prefixes that interfaces have.
    prefixes: Vec<Lpm<EniIx>>,
    /// By VPC.
    subnets: Vec<Lpm<SubnetIx>>,
    public: Map<IpAddr, (EniIx, IpAddr)>,
    public_blocks: Lpm<VpcIx>,
    bridges: Map<BridgeId, BridgeIx>,
    /// By interface; empty if there is no flow log.
    flow_logs: Vec<Box<[FlowLogIx]>>,
}

impl Snapshot {
    /// Validates a document and resolves it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the document, each with its path; never an empty list.
    pub fn build(generation: Generation, document: &Document) -> Result<Self, Vec<Invalid>> {
        build::build(generation, document)
    }

    pub(super) fn assemble(generation: Generation, resources: Resources) -> Self {
        let lookups = Lookups::of(&resources);
        Self { generation, resources, lookups }
    }

    /// The number of this state.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether `other` has the same resources in the same order, whatever its generation: nothing
    /// need be done to go from one to the other.
    #[must_use]
    pub fn same_resources(&self, other: &Self) -> bool {
        self.resources == other.resources
    }

    /// What the document allows but hardly means: routes whose target does not exist.
    #[must_use]
    pub fn warnings(&self) -> &[Invalid] {
        &self.resources.warnings
    }

    // === Look-ups of the packet path ===

    /// What the Linux interface of that name is for.
    #[must_use]
    pub fn port_role(&self, name: &str) -> Option<PortRole> {
        self.resources.ports.get(name).copied()
    }

    /// Every Linux interface that is used, by name.
    pub fn ports(&self) -> impl Iterator<Item = (&str, PortRole)> {
        self.resources.ports.iter().map(|(name, role)| (name.as_ref(), *role))
    }

    /// The interface that has a private address in a VPC, by itself or in one of its prefixes.
    #[must_use]
    pub fn eni_at(&self, vpc: VpcIx, address: IpAddr) -> Option<EniIx> {
        let own = self.lookups.enis.get(&(vpc, address));
        own.or_else(|| self.lookups.prefixes[vpc.place()].get(address)).copied()
    }

    /// The subnet that an address of a VPC is in.
    #[must_use]
    pub fn subnet_at(&self, vpc: VpcIx, address: IpAddr) -> Option<SubnetIx> {
        self.lookups.subnets[vpc.place()].get(address).copied()
    }

    /// Where packets from a subnet to `destination` go: the longest matching route of its table,
    /// local ones included.
    #[must_use]
    pub fn route(&self, subnet: SubnetIx, destination: IpAddr) -> Option<RouteTarget> {
        self.route_table_of(subnet).by_prefix.get(destination).copied()
    }

    /// The interface and private address that an Elastic IP address stands for. The public IPv6
    /// address of an internet-facing load balancer's node stands for itself.
    #[must_use]
    pub fn public_address(&self, public: IpAddr) -> Option<(EniIx, IpAddr)> {
        self.lookups.public.get(&public).copied()
    }

    /// What the groups of an interface say to a first packet that passes it with these addresses.
    /// An interface without groups, such as a NAT gateway's, lets everything pass.
    ///
    /// EC2 does not track TCP and UDP that a rule for everybody allows if another lets everything
    /// back: "If a security group rule permits TCP or UDP flows for all traffic (`0.0.0.0/0` or
    /// `::/0`) and there is a corresponding rule in the other direction that permits all response
    /// traffic (`0.0.0.0/0` or `::/0`) for any port (0-65535), then that flow of traffic is not
    /// tracked" ("Amazon EC2 security group connection tracking"). That a narrower rule allows it
    /// as well changes nothing.
    #[must_use]
    pub fn admits(&self, eni: EniIx, direction: TrafficDirection, tuple: &Tuple) -> Admission {
        let eni = self.eni(eni);
        if eni.groups.is_empty() {
            return Admission::Tracked;
        }
        let request = Request::of(direction, tuple);
        let rules = |direction| {
            let groups = eni.groups.iter().map(|&ix| self.security_group(ix));
            groups.map(move |group| group.rules(direction))
        };
        if rules(direction).any(|rules| rules.allow_anyone(&request)) {
            let Request { protocol, remote, .. } = request;
            let mut back = rules(direction.reversed());
            let untracked = !protocol.is_echo() && back.any(|it| it.are_open(protocol, remote));
            return if untracked { Admission::Untracked } else { Admission::Tracked };
        }
        let allowed = rules(direction).any(|rules| rules.allow_network(&request)) || {
            let mut rules = rules(direction).filter(|rules| rules.name_groups()).peekable();
            let member = rules.peek().and_then(|_| self.eni_at(eni.vpc, request.remote));
            member.is_some_and(|ix| {
                let groups = &self.eni(ix).groups;
                rules.any(|rules| rules.allow_member(&request, groups))
            })
        };
        if allowed { Admission::Tracked } else { Admission::Refused }
    }

    /// The VPC that a public IPv6 address (`2000::/3`) belongs to, if the VPC has an internet
    /// gateway. Such addresses are themselves inside and outside; no Elastic IP address stands in
    /// front of them.
    #[must_use]
    pub fn vpc_of_public_ipv6(&self, address: Ipv6Addr) -> Option<VpcIx> {
        self.lookups.public_blocks.get(IpAddr::V6(address)).copied()
    }

    /// The uplink behind a VPC's internet gateway.
    #[must_use]
    pub fn uplink_of(&self, vpc: VpcIx) -> Option<UplinkIx> {
        self.vpc(vpc).uplink
    }

    /// Every address that [`Self::public_address`] knows, with the uplink where the gateway answers
    /// for it; and of VPCs whose uplink is the host's as well, the public IPv6 addresses of
    /// instances' interfaces, but for those of prefixes.
    pub fn own_addresses(&self) -> impl Iterator<Item = (IpAddr, UplinkIx)> {
        let elastic = self
            .resources
            .enis
            .iter()
            .flat_map(|eni| eni.public_ips.iter().map(move |ip| (ip.public_ip, eni.vpc)));
        let nodes = self.resources.public_nodes().map(|(ix, ip)| (ip, self.eni(ix).vpc));
        let own = elastic.chain(nodes).filter_map(|(ip, vpc)| Some((ip, self.uplink_of(vpc)?)));
        own.chain(self.resources.enis.iter().flat_map(|eni| self.shared_ipv6(eni)))
    }

    fn shared_ipv6(&self, eni: &Eni) -> impl Iterator<Item = (IpAddr, UplinkIx)> {
        let uplink = self.uplink_of(eni.vpc).filter(|ix| self.uplink(*ix).share_with_host);
        let uplink = uplink.filter(|_| eni.owner == Owner::Instance);
        let public = eni.ipv6_addresses.iter().filter(|ip| is_global_unicast(**ip));
        public.filter_map(move |ip| Some((IpAddr::V6(*ip), uplink?)))
    }

    /// The Lambda bridge of that id.
    #[must_use]
    pub fn bridge_by_id(&self, id: &str) -> Option<BridgeIx> {
        self.lookups.bridges.get(id).copied()
    }

    /// The flow logs that record what an interface's traffic is.
    #[must_use]
    pub fn flow_logs_of(&self, eni: EniIx) -> &[FlowLogIx] {
        self.lookups.flow_logs.get(eni.place()).map_or(&[], |logs| logs)
    }

    // === Resources by index ===

    /// A VPC.
    #[must_use]
    pub fn vpc(&self, ix: VpcIx) -> &Vpc {
        &self.resources.vpcs[ix.place()]
    }

    /// A subnet.
    #[must_use]
    pub fn subnet(&self, ix: SubnetIx) -> &Subnet {
        &self.resources.subnets[ix.place()]
    }

    /// The route table of a subnet.
    #[must_use]
    pub fn route_table_of(&self, ix: SubnetIx) -> &RouteTable {
        &self.resources.route_tables[self.subnet(ix).route_table.place()]
    }

    /// An uplink.
    #[must_use]
    pub fn uplink(&self, ix: UplinkIx) -> &Uplink {
        &self.resources.uplinks[ix.place()]
    }

    /// An instance.
    #[must_use]
    pub fn instance(&self, ix: InstanceIx) -> &Instance {
        &self.resources.instances[ix.place()]
    }

    /// A security group.
    #[must_use]
    pub fn security_group(&self, ix: SecurityGroupIx) -> &SecurityGroup {
        &self.resources.security_groups[ix.place()]
    }

    /// A network interface.
    #[must_use]
    pub fn eni(&self, ix: EniIx) -> &Eni {
        &self.resources.enis[ix.place()]
    }

    /// A NAT gateway.
    #[must_use]
    pub fn nat_gateway(&self, ix: NatGatewayIx) -> &NatGateway {
        &self.resources.nat_gateways[ix.place()]
    }

    /// A load balancer.
    #[must_use]
    pub fn load_balancer(&self, ix: LoadBalancerIx) -> &LoadBalancer {
        &self.resources.load_balancers[ix.place()]
    }

    /// A target group.
    #[must_use]
    pub fn target_group(&self, ix: TargetGroupIx) -> &TargetGroup {
        &self.resources.target_groups[ix.place()]
    }

    /// A Lambda bridge.
    #[must_use]
    pub fn bridge(&self, ix: BridgeIx) -> &Bridge {
        &self.resources.bridges[ix.place()]
    }

    /// A flow log.
    #[must_use]
    pub fn flow_log(&self, ix: FlowLogIx) -> &FlowLog {
        &self.resources.flow_logs[ix.place()]
    }

    // === All resources of a kind ===

    /// Every VPC.
    pub fn vpcs(&self) -> impl Iterator<Item = (VpcIx, &Vpc)> {
        indexed(&self.resources.vpcs, VpcIx::at)
    }

    /// Every subnet.
    pub fn subnets(&self) -> impl Iterator<Item = (SubnetIx, &Subnet)> {
        indexed(&self.resources.subnets, SubnetIx::at)
    }

    /// Every uplink.
    pub fn uplinks(&self) -> impl Iterator<Item = (UplinkIx, &Uplink)> {
        indexed(&self.resources.uplinks, UplinkIx::at)
    }

    /// Every instance.
    pub fn instances(&self) -> impl Iterator<Item = (InstanceIx, &Instance)> {
        indexed(&self.resources.instances, InstanceIx::at)
    }

    /// Every security group, default ones that the document does not have last.
    pub fn security_groups(&self) -> impl Iterator<Item = (SecurityGroupIx, &SecurityGroup)> {
        indexed(&self.resources.security_groups, SecurityGroupIx::at)
    }

    /// Every network interface, managed ones last.
    pub fn enis(&self) -> impl Iterator<Item = (EniIx, &Eni)> {
        indexed(&self.resources.enis, EniIx::at)
    }

    /// Every NAT gateway.
    pub fn nat_gateways(&self) -> impl Iterator<Item = (NatGatewayIx, &NatGateway)> {
        indexed(&self.resources.nat_gateways, NatGatewayIx::at)
    }

    /// Every load balancer.
    pub fn load_balancers(&self) -> impl Iterator<Item = (LoadBalancerIx, &LoadBalancer)> {
        indexed(&self.resources.load_balancers, LoadBalancerIx::at)
    }

    /// Every target group.
    pub fn target_groups(&self) -> impl Iterator<Item = (TargetGroupIx, &TargetGroup)> {
        indexed(&self.resources.target_groups, TargetGroupIx::at)
    }

    /// Every Lambda bridge.
    pub fn bridges(&self) -> impl Iterator<Item = (BridgeIx, &Bridge)> {
        indexed(&self.resources.bridges, BridgeIx::at)
    }

    /// Every flow log.
    pub fn flow_logs(&self) -> impl Iterator<Item = (FlowLogIx, &FlowLog)> {
        indexed(&self.resources.flow_logs, FlowLogIx::at)
    }
}

fn indexed<T, I>(all: &[T], index: fn(usize) -> I) -> impl Iterator<Item = (I, &T)> {
    all.iter().enumerate().map(move |(place, it)| (index(place), it))
}

impl Resources {
    /// The public IPv6 addresses of internet-facing load balancers, which no Elastic IP address
    /// stands in front of.
    fn public_nodes(&self) -> impl Iterator<Item = (EniIx, IpAddr)> {
        let facing = self.load_balancers.iter().filter(|it| it.scheme == Scheme::InternetFacing);
        facing.flat_map(|it| &it.nodes).flat_map(|node| {
            let addresses = self.enis[node.eni.place()].ipv6_addresses.iter();
            let public = addresses.filter(|ip| is_global_unicast(**ip));
            public.map(|ip| (node.eni, IpAddr::V6(*ip)))
        })
    }
}

impl Resources {
    /// The flow logs that each interface is in; nothing if there are none.
    fn flow_logs_by_interface(&self) -> Vec<Box<[FlowLogIx]>> {
        if self.flow_logs.is_empty() {
            return Vec::new();
        }
        let mut places: Map<&FlowLogResource, Vec<FlowLogIx>> = Map::default();
        for (ix, log) in indexed(&self.flow_logs, FlowLogIx::at) {
            places.entry(&log.resource).or_default().push(ix);
        }
        let logs_of = |eni: &Eni| {
            let (vpc, subnet) = (&self.vpcs[eni.vpc.place()], &self.subnets[eni.subnet.place()]);
            let resources = [
                FlowLogResource::Vpc(vpc.id.clone()),
                FlowLogResource::Subnet(subnet.id.clone()),
                FlowLogResource::NetworkInterface(eni.id.clone()),
            ];
            resources.iter().filter_map(|it| places.get(it)).flatten().copied().collect()
        };
        self.enis.iter().map(logs_of).collect()
    }
}

impl Lookups {
    fn of(resources: &Resources) -> Self {
        let mut enis = Map::default();
        let mut public = Map::default();
        let mut prefixes: Vec<Vec<(IpNet, EniIx)>> = vec![Vec::new(); resources.vpcs.len()];
        for (place, eni) in resources.enis.iter().enumerate() {
            let ix = EniIx::at(place);
            enis.extend(eni.addresses().map(|address| ((eni.vpc, address), ix)));
            prefixes[eni.vpc.place()].extend(eni.prefixes().map(|prefix| (prefix, ix)));
            public.extend(eni.public_ips.iter().map(|ip| (ip.public_ip, (ix, ip.private_ip))));
        }
        public.extend(resources.public_nodes().map(|(ix, ip)| (ip, (ix, ip))));

        let mut blocks: Vec<Vec<(IpNet, SubnetIx)>> = vec![Vec::new(); resources.vpcs.len()];
        for (place, subnet) in resources.subnets.iter().enumerate() {
            let ix = SubnetIx::at(place);
            blocks[subnet.vpc.place()].extend(subnet.blocks().map(|block| (block, ix)));
        }
        let public_blocks = resources
            .vpcs
            .iter()
            .enumerate()
            .filter_map(|(place, vpc)| Some((IpNet::V6(vpc.public_ipv6()?), VpcIx::at(place))));
        let bridges = resources.bridges.iter().enumerate();
        Self {
            enis,
            prefixes: prefixes.into_iter().map(Lpm::from_iter).collect(),
            subnets: blocks.into_iter().map(Lpm::from_iter).collect(),
            public,
            public_blocks: public_blocks.collect(),
            bridges: bridges.map(|(place, it)| (it.id.clone(), BridgeIx::at(place))).collect(),
            flow_logs: resources.flow_logs_by_interface(),
        }
    }
}
