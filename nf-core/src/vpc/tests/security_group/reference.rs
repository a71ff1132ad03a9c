//! The compiled rules against a reading of the document that compiles nothing, over random groups
//! and packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::{find, group, interface};
use crate::id::Generation;
use crate::tuple::{Protocol, Tuple};
use crate::vpc::document::{
    Document, IpProtocol, NetworkInterface, PrefixList, PrefixListEntry, SecurityGroup,
    SecurityGroupRule,
};
use crate::vpc::id::ResourceId as _;
use crate::vpc::tests::{BASE, OTHER_TENANT, document};
use crate::vpc::{Admission, Snapshot, TrafficDirection};

/// Two thousand sets of rules, and five hundred packets for each: a million.
const SETS: u64 = 2_000;
const PACKETS: usize = 500;

// === The reading ===

/// What the rules of a document say, word for word.
struct Reading<'d> {
    document: &'d Document,
    /// What a group lets out that does not say.
    everything: [SecurityGroupRule; 2],
}

impl<'d> Reading<'d> {
    fn of(document: &'d Document) -> Self {
        let v4 = OtherEnd::Network(IpNet::V4(Ipv4Net::default()));
        let v6 = OtherEnd::Network(IpNet::V6(Ipv6Net::default()));
        Self { document, everything: [v4, v6].map(|it| rule(IpProtocol::All, None, it)) }
    }

    fn admits(&self, eni: &NetworkInterface, way: TrafficDirection, tuple: &Tuple) -> Admission {
        let (there, back) = (self.rules(eni, way), self.rules(eni, way.reversed()));
        let remote = match way {
            TrafficDirection::Ingress => tuple.src.ip(),
            TrafficDirection::Egress => tuple.dst.ip(),
        };
        let vpc = self.vpc_of(eni);
        let mut allowing = there
            .iter()
            .filter(|rule| is_for(rule, tuple) && self.is_other_end(rule, remote, vpc))
            .peekable();
        if allowing.peek().is_none() {
            return Admission::Refused;
        }
        let both_open = allowing.any(|rule| self.is_for_everybody(rule, remote))
            && back.iter().any(|rule| {
                let all = rule.ip_protocol == IpProtocol::All
                    || (rule.ip_protocol.number() == Some(tuple.protocol.number())
                        && rule.from_port == Some(0)
                        && rule.to_port == Some(65535));
                all && self.is_for_everybody(rule, remote)
            });
        if both_open && matches!(tuple.protocol, Protocol::Tcp | Protocol::Udp) {
            Admission::Untracked
        } else {
            Admission::Tracked
        }
    }

    fn vpc_of(&self, eni: &NetworkInterface) -> &'d str {
        let mut subnets = self.document.subnet.iter();
        let subnet = subnets.find(|it| it.subnet_id == eni.subnet_id).expect("declared");
        subnet.vpc_id.as_str()
    }

    fn groups_of(&self, eni: &NetworkInterface) -> impl Iterator<Item = &'d SecurityGroup> {
        self.document.security_group.iter().filter(|group| eni.groups.contains(&group.group_id))
    }

    fn rules(&self, eni: &NetworkInterface, way: TrafficDirection) -> Vec<&SecurityGroupRule> {
        let of_group = |group: &'d SecurityGroup| match way {
            TrafficDirection::Ingress => &group.ingress[..],
            TrafficDirection::Egress => group.egress.as_deref().unwrap_or(&self.everything),
        };
        self.groups_of(eni).flat_map(of_group).collect()
    }

    fn networks(&self, rule: &SecurityGroupRule) -> Vec<IpNet> {
        let lists = self.document.prefix_list.iter();
        let list = lists.filter(|it| Some(&it.prefix_list_id) == rule.prefix_list_id.as_ref());
        let listed = list.flat_map(|it| &it.entry).map(|entry| entry.cidr);
        let v4 = rule.cidr_ipv4.map(IpNet::V4);
        v4.into_iter().chain(rule.cidr_ipv6.map(IpNet::V6)).chain(listed).collect()
    }

    fn is_for_everybody(&self, rule: &SecurityGroupRule, remote: IpAddr) -> bool {
        let networks = self.networks(rule);
        networks.iter().any(|it| it.prefix_len() == 0 && it.contains(&remote))
    }

    fn is_other_end(&self, rule: &SecurityGroupRule, remote: IpAddr, vpc: &str) -> bool {
        let Some(group) = &rule.referenced_group_id else {
            return self.networks(rule).iter().any(|network| network.contains(&remote));
        };
        let mut others = self.document.network_interface.iter();
        others.any(|it| {
            it.groups.contains(group) && self.vpc_of(it) == vpc && has_address(it, remote)
        })
    }
}

fn has_address(eni: &NetworkInterface, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            eni.private_ip_address == Some(v4)
                || eni.secondary_private_ip_addresses.contains(&v4)
                || eni.ipv4_prefixes.iter().any(|prefix| prefix.contains(&v4))
        }
        IpAddr::V6(v6) => {
            eni.ipv6_addresses.contains(&v6)
                || eni.ipv6_prefixes.iter().any(|prefix| prefix.contains(&v6))
        }
    }
}

/// Whether protocol and ports of a rule fit.
fn is_for(rule: &SecurityGroupRule, tuple: &Tuple) -> bool {
    if rule.ip_protocol == IpProtocol::All {
        return true;
    }
    if rule.ip_protocol.number() != Some(tuple.protocol.number()) {
        return false;
    }
    let (Some(from), Some(to)) = (rule.from_port, rule.to_port) else { return true };
    let (request, reply) = match tuple.protocol {
        Protocol::Tcp | Protocol::Udp => {
            return (from..=to).contains(&i32::from(tuple.dst.port()));
        }
        Protocol::Icmp => (8, 0),
        Protocol::Icmpv6 => (128, 129),
    };
    let icmp_type = if tuple.src.port() == 0 { reply } else { request };
    (from == -1 || from == icmp_type) && (to == -1 || to == 0)
}

// === Random groups and packets ===

#[derive(Clone, Copy)]
enum OtherEnd {
    Network(IpNet),
    List(usize),
    Group(&'static str),
}

fn rule(
    ip_protocol: IpProtocol,
    ports: Option<(i32, i32)>,
    other_end: OtherEnd,
) -> SecurityGroupRule {
    let mut rule = SecurityGroupRule {
        ip_protocol,
        from_port: ports.map(|it| it.0),
        to_port: ports.map(|it| it.1),
        cidr_ipv4: None,
        cidr_ipv6: None,
        prefix_list_id: None,
        referenced_group_id: None,
        description: String::new(),
    };
    match other_end {
        OtherEnd::Network(IpNet::V4(network)) => rule.cidr_ipv4 = Some(network),
        OtherEnd::Network(IpNet::V6(network)) => rule.cidr_ipv6 = Some(network),
        OtherEnd::List(place) => {
            rule.prefix_list_id = Some(format!("pl-{place}").parse().expect("id"));
        }
        OtherEnd::Group(id) => rule.referenced_group_id = Some(id.parse().expect(id)),
    }
    rule
}

struct Random(ChaCha8Rng);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0.next_u32() % end
    }

    fn one_in(&mut self, chances: u32) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    /// Few enough for packets and rules to meet: interfaces, their prefixes, and what is around.
    fn address(&mut self) -> IpAddr {
        let low = self.below(48);
        match self.below(5) {
            0 | 1 => IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0100 | low)),
            2 => IpAddr::V4(Ipv4Addr::from_bits(0xc633_6400 | (low << self.below(20)))),
            _ => IpAddr::V6(Ipv6Addr::from_bits(
                (0xfd00_000a_0000_0001 << 64) | u128::from(low) | (u128::from(low & 1) << 48),
            )),
        }
    }

    fn network(&mut self) -> IpNet {
        let address = self.address();
        let lengths: &[u8] = if address.is_ipv4() {
            &[0, 0, 1, 8, 16, 24, 27, 28, 30, 31, 32, 32]
        } else {
            &[0, 0, 1, 56, 64, 80, 112, 124, 127, 128, 128]
        };
        IpNet::new(address, self.pick(lengths)).expect("a length of the family").trunc()
    }

    fn port(&mut self) -> u16 {
        self.pick(&[0, 1, 8, 21, 22, 23, 79, 80, 128, 129, 443, 40_000, 65_534, 65_535])
    }

    fn rule(&mut self, groups: &[&'static str], lists: usize) -> SecurityGroupRule {
        let protocol = self.pick(&[
            IpProtocol::All,
            IpProtocol::Tcp,
            IpProtocol::Tcp,
            IpProtocol::Udp,
            IpProtocol::Icmp,
            IpProtocol::Icmpv6,
            IpProtocol::Other(47),
        ]);
        let ports = match protocol {
            IpProtocol::All | IpProtocol::Other(_) => None,
            IpProtocol::Tcp | IpProtocol::Udp if self.one_in(3) => Some((0, 65_535)),
            IpProtocol::Tcp | IpProtocol::Udp => {
                let (a, b) = (self.port().into(), self.port().into());
                Some(if a <= b { (a, b) } else { (b, a) })
            }
            IpProtocol::Icmp if self.one_in(3) => Some((-1, -1)),
            // The other way to write all types would be the same rule.
            IpProtocol::Icmpv6 if self.one_in(3) => None,
            IpProtocol::Icmp | IpProtocol::Icmpv6 => {
                Some((self.pick(&[0, 3, 8, 128, 129]), self.pick(&[-1, 0, 1])))
            }
        };
        let other_end = match self.below(8) {
            0 | 1 => OtherEnd::Group(self.pick(groups)),
            2 => OtherEnd::List(self.below(lists as u32) as usize),
            _ => OtherEnd::Network(self.network()),
        };
        rule(protocol, ports, other_end)
    }

    /// Different rules: EC2 takes none twice.
    fn rules(&mut self, groups: &[&'static str], lists: usize) -> Vec<SecurityGroupRule> {
        let count = self.pick(&[0, 1, 2, 4, 12]);
        let mut rules = Vec::new();
        for _ in 0..count {
            let rule = self.rule(groups, lists);
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules
    }

    fn list(&mut self, place: usize) -> PrefixList {
        let mut entry: Vec<PrefixListEntry> = Vec::new();
        for _ in 0..self.below(5) {
            let cidr = self.network();
            let first = entry.first().map_or(cidr, |it| it.cidr);
            let fits = first.addr().is_ipv4() == cidr.addr().is_ipv4();
            if fits && entry.iter().all(|it| it.cidr != cidr) {
                entry.push(PrefixListEntry { cidr, description: String::new() });
            }
        }
        PrefixList {
            prefix_list_id: format!("pl-{place}").parse().expect("id"),
            prefix_list_name: "list".to_owned(),
            max_entries: 4,
            entry,
        }
    }

    /// The skeleton with random rules, and interfaces in random groups.
    fn fill(&mut self, skeleton: &Document) -> Document {
        let mut document = skeleton.clone();
        document.prefix_list = (0..2).map(|place| self.list(place)).collect();
        for group in &mut document.security_group {
            let groups = groups_of(group.vpc_id.as_str());
            group.ingress = self.rules(groups, 2);
            group.egress = (!self.one_in(3)).then(|| self.rules(groups, 2));
        }
        for eni in &mut document.network_interface {
            let foreign = eni.subnet_id.as_str() == "subnet-b";
            let groups = groups_of(if foreign { "vpc-b" } else { "vpc-a" });
            let first = self.below(groups.len() as u32) as usize;
            let count = 1 + self.below((groups.len() - first) as u32) as usize;
            let named = &groups[first..first + count];
            eni.groups = named.iter().map(|id| id.parse().expect(id)).collect();
        }
        document
    }

    /// A packet between `eni` and somebody.
    fn packet(&mut self, eni: &NetworkInterface) -> (TrafficDirection, Tuple) {
        let remote = self.address();
        let own = match remote {
            IpAddr::V4(_) => eni.private_ip_address.map(IpAddr::V4),
            IpAddr::V6(_) => eni.ipv6_addresses.first().copied().map(IpAddr::V6),
        };
        let own = own.expect("both families");
        let protocol = match (self.below(5), remote.is_ipv4()) {
            (0 | 1, _) => Protocol::Tcp,
            (2, _) => Protocol::Udp,
            (_, true) => Protocol::Icmp,
            (_, false) => Protocol::Icmpv6,
        };
        let ports = match protocol {
            Protocol::Tcp | Protocol::Udp => (self.port(), self.port()),
            Protocol::Icmp | Protocol::Icmpv6 => self.pick(&[(7, 0), (0, 7)]),
        };
        let way = self.pick(&[TrafficDirection::Ingress, TrafficDirection::Egress]);
        let (src, dst) = match way {
            TrafficDirection::Ingress => (remote, own),
            TrafficDirection::Egress => (own, remote),
        };
        let (src, dst) = (SocketAddr::new(src, ports.0), SocketAddr::new(dst, ports.1));
        (way, Tuple { protocol, src, dst })
    }
}

fn groups_of(vpc: &str) -> &'static [&'static str] {
    if vpc == "vpc-a" { &["sg-a", "sg-b", "sg-c"] } else { &["sg-x", "sg-y"] }
}

/// Two tenants with the same addresses, and all that is not random.
fn skeleton() -> Document {
    let mut text = format!("{BASE}\n{OTHER_TENANT}");
    for name in ["a", "b", "c"] {
        text += &group(name, "");
    }
    for name in ["x", "y"] {
        text += &group(name, "").replace("vpc-a", "vpc-b");
    }
    let own = |first: u8| {
        format!(
            r#"private_ip_address = "10.0.1.{first}"
            secondary_private_ip_addresses = ["10.0.1.{}"]
            ipv6_addresses = ["fd00:a:0:1::{first:x}"]"#,
            first + 1
        )
    };
    text += &interface("a", &own(4));
    let prefixes = r#"
        ipv4_prefixes = ["10.0.1.16/28"]
        ipv6_prefixes = ["fd00:a:0:1:1::/80"]"#;
    text += &interface("b", &(own(8) + prefixes));
    text += &interface("c", &own(12));
    for name in ["x", "y"] {
        let first = if name == "x" { 4 } else { 12 };
        text += &interface(name, &own(first)).replace("subnet-private", "subnet-b");
    }
    let mut document = document(&text);
    // The other tenant's addresses are those of the first one's private subnet.
    let foreign = document.subnet.iter_mut().find(|it| it.subnet_id.as_str() == "subnet-b");
    let foreign = foreign.expect("declared");
    foreign.cidr_block = "10.0.1.0/24".parse().expect("network");
    foreign.ipv6_cidr_block = Some("fd00:a:0:1::/64".parse().expect("network"));
    document
}

#[test]
fn compiled_rules_say_what_the_document_says() {
    let skeleton = skeleton();
    let mut said = [0_u32; 3];
    for seed in 0..SETS {
        let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
        let document = random.fill(&skeleton);
        let snapshot = Snapshot::build(Generation(1), &document)
            .unwrap_or_else(|problems| panic!("seed {seed}: {problems:#?}"));
        let reading = Reading::of(&document);
        let enis = document.network_interface.iter();
        let enis: Vec<_> =
            enis.map(|it| (it, find(&snapshot, it.network_interface_id.as_str()))).collect();
        for _ in 0..PACKETS {
            let (eni, ix) = random.pick(&enis);
            let (way, tuple) = random.packet(eni);
            let found = snapshot.admits(ix, way, &tuple);
            let wanted = reading.admits(eni, way, &tuple);
            assert_eq!(
                found,
                wanted,
                "seed {seed}: {} {tuple} at {}\n{}",
                way.as_str(),
                eni.network_interface_id,
                toml::to_string(&document).expect("a document can be written")
            );
            said[found as usize] += 1;
        }
    }
    println!("seeds 0 to {}: tracked, untracked, refused: {said:?}", SETS - 1);
    // No answer is so rare that the comparison would have missed it.
    assert!(said.iter().all(|count| *count > 20_000), "{said:?}");
}
