//! What is to be known of the interface.

use nf_core::packet::MacAddr;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;

use crate::error::Error;

/// An Ethernet interface of the network namespace that the program runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MAC address.
    pub mac: MacAddr,
}

impl Interface {
    /// Finds one by its name.
    ///
    /// # Errors
    ///
    /// [`Error::NoInterface`], [`Error::NotEthernet`], or [`Error::System`].
    pub fn find(name: &str) -> Result<Self, Error> {
        let index = if_nametoindex(name)
            .map_err(|source| Error::NoInterface { name: name.to_owned(), source })?;
        let mac = getifaddrs()
            .map_err(Error::system("list the interfaces"))?
            .filter(|it| it.interface_name == name)
            .find_map(|it| it.address?.as_link_addr()?.addr())
            .map(MacAddr)
            .filter(|mac| mac.is_unicast() && *mac != MacAddr::default())
            .ok_or_else(|| Error::NotEthernet { name: name.to_owned() })?;
        Ok(Self { name: name.to_owned(), index, mac })
    }
}
