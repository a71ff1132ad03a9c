//! What is to be known of an interface before a program is attached to it.

use std::io;
use std::os::fd::AsRawFd;

use nf_core::id::PortId;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::AttachError;

/// Drivers of interfaces without hardware. Their frames come from a stack on the same machine, as
/// super-packets with partial checksums, which XDP cannot carry.
const VIRTUAL_DRIVERS: &[&str] = &[
    "802.1Q VLAN Support",
    "bonding",
    "bridge",
    "dummy",
    "geneve",
    "ifb",
    "ip6gretap",
    "gretap",
    "ipvlan",
    "macsec",
    "macvlan",
    "macvtap",
    "netkit",
    "openvswitch",
    "team",
    "tun",
    "veth",
    "vrf",
    "vxlan",
];

/// `ETHTOOL_GDRVINFO` of `<linux/ethtool.h>`.
const GET_DRIVER: u32 = 3;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 32 + 32 + 32 + 32 + 12 + 5 * 4],
}

/// An interface in the network namespace of the calling thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Its driver's name, if it says one.
    driver: Option<String>,
}

impl Device {
    /// Looks at the interface of a port.
    ///
    /// # Errors
    ///
    /// [`AttachError`] if it is not there, has another index, or has no Ethernet header.
    pub(super) fn find(port: PortId, name: &str) -> Result<Self, AttachError> {
        let missing = || AttachError::NoInterface { name: name.to_owned(), port };
        let failed =
            |action, error: io::Error| AttachError::System { name: name.to_owned(), action, error };
        if nix::net::if_::if_nametoindex(name).ok() != Some(port.get()) {
            return Err(missing());
        }
        let asking = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .map_err(|errno| failed("open a socket to ask for its type", errno.into()))?;
        let mut request = request(name).ok_or_else(missing)?;
        // SAFETY: SIOCGIFHWADDR reads the name and writes the address of the `ifreq` it is given.
        let result =
            unsafe { libc::ioctl(asking.as_raw_fd(), libc::SIOCGIFHWADDR as _, &raw mut request) };
        if result < 0 {
            return Err(failed("ask for its type", io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just written this member of the union.
        let hardware_type = unsafe { request.ifr_ifru.ifru_hwaddr.sa_family };
        if hardware_type != libc::ARPHRD_ETHER {
            return Err(AttachError::NotEthernet { name: name.to_owned(), hardware_type });
        }
        Ok(Self { driver: driver(asking.as_raw_fd(), request) })
    }

    /// Whether XDP in the driver is worth trying, and why or why not.
    pub(super) fn suits_xdp(&self) -> Result<(), String> {
        match self.driver.as_deref() {
            None => Err("it does not say which driver it has".to_owned()),
            Some(driver) if VIRTUAL_DRIVERS.contains(&driver) => {
                Err(format!("{driver} carries super-packets and partial checksums"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// A request about an interface; `None` if the name is too long for one.
fn request(name: &str) -> Option<libc::ifreq> {
    // SAFETY: `ifreq` is made of integers, arrays and pointers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let room = request.ifr_name.len() - 1;
    if name.len() > room {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Some(request)
}

fn driver(socket: i32, mut request: libc::ifreq) -> Option<String> {
    let mut info = DriverInfo { command: GET_DRIVER, driver: [0; 32], rest: [0; 160] };
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: SIOCETHTOOL with this command writes a `struct ethtool_drvinfo` to where the request
    // points, which has its size and outlives the call.
    let result = unsafe { libc::ioctl(socket, libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 {
        return None;
    }
    let name = info.driver.split(|&byte| byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_without_hardware_does_not_suit_xdp() {
        let device = |driver: &str| Device { driver: Some(driver.to_owned()) };
        assert_eq!(
            device("veth").suits_xdp(),
            Err("veth carries super-packets and partial checksums".to_owned())
        );
        assert_eq!(device("ena").suits_xdp(), Ok(()));
        assert!(Device { driver: None }.suits_xdp().is_err());
    }

    #[test]
    fn the_driver_structure_has_the_kernels_size() {
        assert_eq!(size_of::<DriverInfo>(), 196);
    }

    #[test]
    fn a_name_longer_than_the_kernel_takes_is_no_request() {
        assert!(request("fifteen-letters").is_some());
        assert!(request("sixteen--letters").is_none());
    }
}
