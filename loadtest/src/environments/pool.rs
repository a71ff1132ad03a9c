//! The environments' links: veths between the gateway's network namespace and one of our own, in
//! which all environments are.
//!
//! A namespace for each would be closer to the real thing and cost a megabyte and ten
//! milliseconds each. What matters to a gateway is what comes over each link, and that can be the
//! same from one namespace.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use halfspace_testbed::{Namespace, Testbed, wait_until};

use super::probe::Link;
use crate::error::Error;

/// How long the kernel may take to remove all links of a namespace that is gone; it removes them
/// in the background, at some 2,000 a second.
const REMOVAL_LIMIT: Duration = Duration::from_mins(1);

/// Links made by one run of `ip`: one has a minute, and a link takes about two milliseconds.
const AT_ONCE: usize = 2000;

/// Addresses that all environments have in common.
#[derive(Clone, Copy, Debug)]
pub struct Inside {
    /// Every environment's MAC address.
    pub mac: [u8; 6],
    /// Every environment's address.
    pub address: Ipv4Addr,
    /// Every environment's default gateway.
    pub gateway: Ipv4Addr,
}

/// The links. They go when this is dropped.
#[derive(Debug)]
pub struct Pool {
    ours: Namespace,
    gateway: Namespace,
    /// What the names of our interfaces in the gateway's namespace begin with.
    prefix: String,
    inside: Inside,
    count: usize,
}

impl Pool {
    /// Makes `count` links into the namespace that the file is of, all up.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`].
    pub fn lay(
        bed: &Testbed,
        gateway: impl Into<PathBuf>,
        inside: Inside,
        count: usize,
    ) -> Result<Self, Error> {
        let gateway = bed.existing_namespace(gateway)?;
        let ours = bed.namespace("environments")?;
        // The kernel's own stack in there is to say nothing: not even neighbour discovery.
        if ours.read_sysctl("net.ipv6.conf.default.disable_ipv6").is_ok() {
            ours.sysctl([("net.ipv6.conf.default.disable_ipv6", "1")])?;
        }
        // Interface names have 15 bytes at the most. Two runs at once do not get into each other's
        // way: a pid has seven digits at the most, and that leaves five for the number.
        let prefix = format!("lt{}e", std::process::id());
        let pool = Self { ours, gateway, prefix, inside, count };
        let all: Vec<_> = (0..count).collect();
        for some in all.chunks(AT_ONCE) {
            pool.make(some)?;
        }
        Ok(pool)
    }

    /// Makes the links of these environments, which have none.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`].
    pub fn make(&self, environments: &[usize]) -> Result<(), Error> {
        let there = environments.iter().flat_map(|&environment| {
            let (name, near) = (self.name(environment), near_name(environment));
            let (far_mac, mac) = (mac(gateway_mac(environment)), mac(self.inside.mac));
            let ours = self.ours.name();
            [
                format!(
                    "link add name {name} address {far_mac} type veth \
                     peer name {near} address {mac} netns {ours}"
                ),
                format!("link set {name} up"),
            ]
        });
        self.gateway.ip(there)?;
        self.ours.ip(environments.iter().map(|&it| format!("link set {} up", near_name(it))))?;
        Ok(())
    }

    /// Deletes an environment's link, as one that dies without a word.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`].
    pub fn delete(&self, environment: usize) -> Result<(), Error> {
        Ok(self.ours.ip([format!("link delete {}", near_name(environment))])?)
    }

    /// Number of environments.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The gateway's interface to an environment, which is the environment's id as well.
    pub fn name(&self, environment: usize) -> String {
        format!("{}{environment}", self.prefix)
    }

    /// The addresses on an environment's link.
    pub fn link(&self, environment: usize) -> Link {
        let Inside { mac, address, gateway } = self.inside;
        Link { mac, address, gateway_mac: gateway_mac(environment), gateway }
    }

    /// Where the environments are.
    pub fn namespace(&self) -> &Namespace {
        &self.ours
    }

    /// The environments by the index of their interfaces.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`], [`Error::System`].
    pub fn indices(&self) -> Result<HashMap<i32, usize>, Error> {
        let interfaces = interfaces(&self.ours)?;
        let numbered = interfaces.into_iter().filter_map(|(index, name)| {
            let environment = name.strip_prefix(NEAR)?.parse().ok()?;
            Some((index.cast_signed(), environment))
        });
        Ok(numbered.collect())
    }

    /// Removes all links, and waits until the gateway's namespace is rid of them. Returns how many
    /// are left there, which should be none.
    ///
    /// # Errors
    ///
    /// [`Error::Testbed`], [`Error::System`].
    pub fn remove(self) -> Result<usize, Error> {
        let Self { ours, gateway, prefix, .. } = self;
        // The kernel removes all of a namespace's links in one go; one by one each would take a
        // grace period.
        drop(ours);
        let left = || -> Result<usize, Error> {
            let interfaces = interfaces(&gateway)?;
            Ok(interfaces.iter().filter(|(_, name)| name.starts_with(&prefix)).count())
        };
        // What cannot be counted is told below.
        let _ = wait_until(REMOVAL_LIMIT, "the links to go", || matches!(left(), Ok(0) | Err(_)));
        left()
    }
}

/// What the environments' own interfaces are called.
const NEAR: &str = "e";

fn near_name(environment: usize) -> String {
    format!("{NEAR}{environment}")
}

/// Locally administered, and no two alike: an answer's source tells which link it was meant for.
fn gateway_mac(environment: usize) -> [u8; 6] {
    let [a, b, c, d] = (environment as u32).to_be_bytes();
    [0x02, 0x48, a, b, c, d]
}

fn mac(bytes: [u8; 6]) -> String {
    let texts = bytes.map(|byte| format!("{byte:02x}"));
    texts.join(":")
}

/// Indices and names of the interfaces in a namespace.
fn interfaces(namespace: &Namespace) -> Result<Vec<(u32, String)>, Error> {
    let list = || -> nix::Result<Vec<(u32, String)>> {
        let interfaces = nix::net::if_::if_nameindex()?;
        let named = interfaces.iter().map(|it| (it.index(), it.name().to_string_lossy().into()));
        Ok(named.collect())
    };
    namespace
        .enter(list)?
        .map_err(|errno| Error::System { action: "list interfaces", source: errno.into() })
}
