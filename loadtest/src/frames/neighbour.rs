//! The gateway's MAC address: given, or asked of the kernel, which resolves it by ARP or NDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How long the gateway may take to answer: the kernel asks three times, a second apart.
const PATIENCE: Duration = Duration::from_secs(4);

/// A MAC address, or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayMac {
    /// What the kernel resolves the gateway's address to.
    Auto,
    /// This one.
    Given([u8; 6]),
}

impl FromStr for GatewayMac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        parse_mac(text)
            .map(Self::Given)
            .ok_or_else(|| format!("`{text}` is no MAC address: write 02:00:00:00:00:01, or auto"))
    }
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut parts = text.split(':');
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Resolves a neighbour on a link of the calling thread's namespace.
///
/// # Errors
///
/// [`Error::Unresolved`] if nobody answers, [`Error::System`].
pub fn resolve(link: &str, gateway: IpAddr) -> Result<[u8; 6], Error> {
    let begun = Instant::now();
    loop {
        if let Some(mac) = look_up(link, gateway)? {
            return Ok(mac);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Error::Unresolved { gateway, link: link.to_owned() });
        }
        nudge(gateway);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Has the kernel look for the neighbour: it does before it sends. That it may not get there is
/// seen in [`resolve`].
fn nudge(gateway: IpAddr) {
    let any: IpAddr = match gateway {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    if let Ok(socket) = UdpSocket::bind((any, 0)) {
        // The discard service (RFC 863).
        let _ = socket.send_to(&[0], (gateway, 9));
    }
}

fn look_up(link: &str, gateway: IpAddr) -> Result<Option<[u8; 6]>, Error> {
    let output = Command::new("ip")
        .args(["neighbour", "show", "to", &gateway.to_string(), "dev", link])
        .output()
        .map_err(|source| Error::System {
            action: "run ip (the Debian package iproute2 brings it)",
            source,
        })?;
    Ok(parse_neighbour(&String::from_utf8_lossy(&output.stdout)))
}

/// The address after `lladdr`, unless the entry has failed.
fn parse_neighbour(shown: &str) -> Option<[u8; 6]> {
    if shown.contains("FAILED") {
        return None;
    }
    parse_mac(shown.split_whitespace().skip_while(|word| *word != "lladdr").nth(1)?)
}

#[cfg(test)]
mod tests {
    use halfspace_testbed::{Requirement, Testbed, ready};

    use super::*;

    #[test]
    fn a_mac_address_is_given_or_found_out() {
        let given = GatewayMac::Given([2, 0, 0, 0, 0xab, 0xff]);
        assert_eq!("02:00:00:00:ab:ff".parse(), Ok(given));
        assert_eq!("auto".parse(), Ok(GatewayMac::Auto));
        for bad in ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:xx"] {
            assert!(bad.parse::<GatewayMac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_neighbour_that_answered_has_an_address() {
        let mac = Some([2, 0, 0, 0, 0, 1]);
        assert_eq!(parse_neighbour("10.0.0.1 lladdr 02:00:00:00:00:01 REACHABLE\n"), mac);
        assert_eq!(parse_neighbour("10.0.0.1 FAILED\n"), None);
        assert_eq!(parse_neighbour("10.0.0.1 INCOMPLETE\n"), None);
        assert_eq!(parse_neighbour(""), None);
    }

    #[test]
    fn the_kernel_resolves_a_gateway_of_either_family() {
        if !ready(&[Requirement::Root, Requirement::Program("ip")]) {
            return;
        }
        let bed = Testbed::new("neighbour").unwrap();
        let (a, b) = (bed.namespace("a").unwrap(), bed.namespace("b").unwrap());
        bed.veth((&a, "port"), (&b, "port")).unwrap();
        a.ip(["address add 192.0.2.1/24 dev port", "address add 2001:db8::1/64 dev port"]).unwrap();
        b.ip(["address add 192.0.2.2/24 dev port", "address add 2001:db8::2/64 dev port"]).unwrap();
        let mac = b.link_mac("port").unwrap();
        for gateway in ["192.0.2.2", "2001:db8::2"] {
            let gateway = gateway.parse().unwrap();
            assert_eq!(a.enter(|| resolve("port", gateway)).unwrap().unwrap(), mac);
        }
    }
}
