//! Links between namespaces and what is configured on them.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use crate::bed::Testbed;
use crate::error::Error;
use crate::namespace::Namespace;
use crate::process;

/// One end of a veth: the namespace and the link's name there.
pub type End<'a> = (&'a Namespace, &'a str);

impl Testbed {
    /// Lays a veth between two namespaces, both ends up.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] with the line that `ip` refused.
    pub fn veth(&self, a: End<'_>, b: End<'_>) -> Result<(), Error> {
        self.veths(&[(a, b)])
    }

    /// Lays many veths at once, all ends up: one run of `ip` for each namespace involved, so
    /// hundreds take well under a second when one side is always the same.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] with the line that `ip` refused.
    pub fn veths(&self, pairs: &[(End<'_>, End<'_>)]) -> Result<(), Error> {
        let mut batches: Vec<(&Namespace, Vec<String>)> = Vec::new();
        let mut add = |namespace, line| batch_of(&mut batches, namespace).push(line);
        for ((a, a_name), (b, b_name)) in pairs {
            let peer = b.name();
            add(a, format!("link add name {a_name} type veth peer name {b_name} netns {peer}"));
            add(a, format!("link set {a_name} up"));
        }
        apply(batches)?;

        // The far ends exist only now.
        let mut batches = Vec::new();
        for (_, (b, b_name)) in pairs {
            batch_of(&mut batches, b).push(format!("link set {b_name} up"));
        }
        apply(batches)
    }
}

fn apply(batches: Vec<(&Namespace, Vec<String>)>) -> Result<(), Error> {
    batches.into_iter().try_for_each(|(namespace, lines)| namespace.ip(lines))
}

fn batch_of<'b, 'a>(
    batches: &'b mut Vec<(&'a Namespace, Vec<String>)>,
    namespace: &'a Namespace,
) -> &'b mut Vec<String> {
    let known = batches.iter().position(|(other, _)| other.name() == namespace.name());
    let index = known.unwrap_or_else(|| {
        batches.push((namespace, Vec::new()));
        batches.len() - 1
    });
    &mut batches[index].1
}

impl Namespace {
    /// Runs lines of `ip -batch` inside the namespace: `address add 192.0.2.1/24 dev eth0`,
    /// `route add default via 192.0.2.254`, `link set eth0 address 02:00:00:00:00:01`,
    /// `neighbour replace 192.0.2.254 lladdr 02:00:00:00:00:02 dev eth0`. One run of `ip` for all.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] with the line that `ip` refused; those before it took effect.
    pub fn ip<I, S>(&self, lines: I) -> Result<(), Error>
    where
        I: IntoIterator<Item = S>,
        S: Display,
    {
        process::ip_batch(&self.shared, self.command("ip"), lines)
    }

    /// Sets kernel parameters inside the namespace, by their dotted names.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] if there is no such parameter here or it cannot be written.
    pub fn sysctl<'a, I>(&self, settings: I) -> Result<(), Error>
    where
        I: IntoIterator<Item = (&'a str, &'a str)>,
    {
        let settings: Vec<_> = settings.into_iter().collect();
        self.enter(|| {
            for (name, value) in settings {
                fs::write(sysctl_path(name), value)
                    .map_err(|source| self.failed(&format!("set {name} to {value}"), source))?;
            }
            Ok(())
        })?
    }

    /// Reads a kernel parameter inside the namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] if there is no such parameter here.
    pub fn read_sysctl(&self, name: &str) -> Result<String, Error> {
        let read = self.enter(|| fs::read_to_string(sysctl_path(name)))?;
        read.map(|value| value.trim().to_owned())
            .map_err(|source| self.failed(&format!("read {name}"), source))
    }

    /// Switches offloads of a link: `[("gro", true), ("tx", false)]`, as `ethtool -K` names them.
    ///
    /// # Errors
    ///
    /// As [`Namespace::run`].
    pub fn offload<'a, I>(&self, link: &str, switches: I) -> Result<(), Error>
    where
        I: IntoIterator<Item = (&'a str, bool)>,
    {
        let switches =
            switches.into_iter().flat_map(|(feature, on)| [feature, if on { "on" } else { "off" }]);
        self.run(["ethtool", "-K", link].into_iter().chain(switches)).map(drop)
    }

    /// The interface index of a link.
    ///
    /// # Errors
    ///
    /// [`Error::Namespace`] if there is no such link.
    pub fn link_index(&self, link: &str) -> Result<u32, Error> {
        self.enter(|| nix::net::if_::if_nametoindex(link))?
            .map_err(|errno| self.failed(&format!("find the link {link}"), errno.into()))
    }

    /// The MAC address of a link.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if there is no such link.
    pub fn link_mac(&self, link: &str) -> Result<[u8; 6], Error> {
        let shown = self.run(["ip", "-oneline", "link", "show", "dev", link])?.stdout;
        parse_mac(&shown).ok_or_else(|| {
            let source = std::io::Error::other(format!("no address in: {shown}"));
            self.failed(&format!("read the MAC address of {link}"), source)
        })
    }
}

fn sysctl_path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name.replace('.', "/"))
}

/// The address after `link/ether` in a line of `ip link show`.
fn parse_mac(shown: &str) -> Option<[u8; 6]> {
    let text = shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1)?;
    let mut bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = bytes.next()?.ok()?;
    }
    bytes.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_read_from_what_ip_shows() {
        let shown = r"2: eth0@if3: <UP> mtu 1500 qdisc noop state DOWN mode DEFAULT group default qlen 1000\    link/ether 02:1a:ff:00:00:09 brd ff:ff:ff:ff:ff:ff link-netnsid 0";
        assert_eq!(parse_mac(shown), Some([0x02, 0x1a, 0xff, 0, 0, 9]));
        assert_eq!(parse_mac("1: lo: link/loopback 00:00:00:00:00:00"), None);
    }

    #[test]
    fn a_dotted_name_becomes_a_path() {
        assert_eq!(
            sysctl_path("net.ipv4.ip_forward"),
            PathBuf::from("/proc/sys/net/ipv4/ip_forward")
        );
    }
}
