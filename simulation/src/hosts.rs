//! Who is around the gateway: two tenants whose hosts have the very same addresses and MAC
//! addresses, clones among them, and the hosts outside.

use std::net::IpAddr;

use nf_core::packet::MacAddr;

/// One host of a run; an environment that is attached again is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(pub(crate) u32);

/// Where a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind a port of its own.
    Instance,
    /// On a subnet's segment.
    Segment,
    /// A clone behind a bridge.
    Environment,
    /// Beyond the router outside.
    Internet,
    /// On the link outside.
    Link,
}

#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) id: HostId,
    /// The gateway's port that leads to it.
    pub(crate) port: String,
    pub(crate) place: Place,
    /// Whose it is; nobody's outside.
    pub(crate) tenant: Option<usize>,
    pub(crate) mac: MacAddr,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) present: bool,
}

/// The tenants, by number.
pub(crate) const TENANTS: usize = 2;
/// Environments that a tenant may have at a time.
pub(crate) const ENVIRONMENTS: usize = 5;
/// The port outside.
pub(crate) const WAN: &str = "wan";
/// The router outside.
pub(crate) const ROUTER: MacAddr = MacAddr::new([2, 0, 0, 0, 0xff, 1]);
/// The router's addresses on the link.
pub(crate) const ROUTER_ADDRESSES: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

impl Host {
    /// Its address of a family.
    pub(crate) fn address(&self, ipv4: bool) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|ip| ip.is_ipv4() == ipv4)
    }
}

/// All hosts of a run, those that are gone included.
pub(crate) struct Hosts {
    all: Vec<Host>,
}

impl Hosts {
    pub(crate) fn new() -> Self {
        let mut hosts = Self { all: Vec::new() };
        for tenant in 0..TENANTS {
            let port = |name: &str| format!("t{tenant}{name}");
            hosts.add(
                Place::Instance,
                Some(tenant),
                &port("i1"),
                0x11,
                &["10.0.1.10", "fd00:a:0:1::10"],
            );
            hosts.add(
                Place::Instance,
                Some(tenant),
                &port("i2"),
                0x12,
                &["10.0.1.11", "fd00:a:0:1::11"],
            );
            hosts.add(
                Place::Segment,
                Some(tenant),
                &port("lan"),
                0x21,
                &["10.0.2.10", "fd00:a:0:2::10"],
            );
            hosts.add(Place::Segment, Some(tenant), &port("lan"), 0x22, &["10.0.2.11"]);
        }
        hosts.add(Place::Internet, None, WAN, 0, &["192.0.2.1", "2001:db8:f::1"]);
        hosts.add(Place::Internet, None, WAN, 0, &["192.0.2.2", "2001:db8:f::2"]);
        hosts.add(Place::Link, None, WAN, 0x31, &["203.0.113.50", "2001:db8::50"]);
        hosts
    }

    fn add(
        &mut self,
        place: Place,
        tenant: Option<usize>,
        port: &str,
        mac: u8,
        ips: &[&str],
    ) -> HostId {
        let id = HostId(self.all.len() as u32);
        let mac = match place {
            Place::Internet => ROUTER,
            _ => MacAddr::new([2, 0, 0, 0, 0, mac]),
        };
        // Written above and below, every one an address.
        let addresses = ips.iter().filter_map(|ip| ip.parse().ok()).collect();
        let port = port.to_owned();
        self.all.push(Host { id, port, place, tenant, mac, addresses, present: true });
        id
    }

    /// Another clone; all of a tenant's and of both tenants' are alike.
    pub(crate) fn add_environment(&mut self, tenant: usize, port: &str) -> HostId {
        self.add(Place::Environment, Some(tenant), port, 0x41, &["169.254.76.1", "fd00:76::1"])
    }

    pub(crate) fn get(&self, id: HostId) -> &Host {
        &self.all[id.0 as usize]
    }

    pub(crate) fn present(&self) -> impl Iterator<Item = &Host> {
        self.all.iter().filter(|host| host.present)
    }

    /// The environment in a place goes: who it was, and its port.
    pub(crate) fn remove_environment(&mut self, place: &str) -> Option<(HostId, String)> {
        let gone = self.all.iter_mut().find(|host| host.present && host.port.starts_with(place))?;
        gone.present = false;
        Some((gone.id, gone.port.clone()))
    }

    /// Whoever has an address behind a port.
    pub(crate) fn at(&self, port: &str, ip: IpAddr) -> Option<&Host> {
        self.present().find(|host| host.port == port && host.addresses.contains(&ip))
    }

    /// Who answers on a port's link when an address is asked for.
    pub(crate) fn mac_at(&self, port: &str, ip: IpAddr) -> Option<MacAddr> {
        let router = || ROUTER_ADDRESSES.iter().any(|own| own.parse() == Ok(ip));
        if port == WAN && router() {
            return Some(ROUTER);
        }
        self.at(port, ip).filter(|host| host.place != Place::Internet).map(|host| host.mac)
    }
}
