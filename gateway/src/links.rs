//! The interfaces of this network namespace, as the kernel tells of them.
//!
//! A [`Watch`] keeps a table of all interfaces: it subscribes to the kernel's link events and dumps
//! the whole table at the start, when asked to, and when events were lost. One interface that is
//! wanted at once is looked up by its name with [`find`].
//!
//! rtnetlink is spoken directly instead of through a crate: three attributes of one message are
//! all that is read, and with ten thousand environments the dump of every beat is a hot spot in
//! which decoding some fifty further attributes of each link would cost most of the time.

mod netlink;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use nf_core::engine::PortInfo;
use nf_core::id::PortId;
use nf_core::packet::MacAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use netlink::{Event, Socket};

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index, which is the port's number.
    pub id: PortId,
    /// Its name.
    pub name: Box<str>,
    /// Its MAC address; all zero if it has none of six bytes.
    pub mac: MacAddr,
    /// The largest IP packet it takes, in bytes.
    pub mtu: u32,
    /// Whether it is up and has a carrier.
    pub up: bool,
}

impl Link {
    /// What the engine has to know of it.
    #[must_use]
    pub fn port_info(&self) -> PortInfo {
        // An IP packet has at most 65535 bytes; loopback's MTU is one more.
        let mtu = u16::try_from(self.mtu).unwrap_or(u16::MAX);
        PortInfo { id: self.id, name: self.name.clone(), mac: self.mac, mtu }
    }

    /// Whether `other` is the same interface and looks the same to packets.
    #[must_use]
    pub fn same_port(&self, other: &Self) -> bool {
        self.is(other) && self.mac == other.mac && self.mtu == other.mtu
    }

    /// Whether `other` is this interface, however it has changed. One that was renamed is another:
    /// the desired state speaks of names.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.id == other.id && self.name == other.name
    }
}

/// All interfaces, by index and by name.
#[derive(Clone, Debug, Default)]
pub struct Links {
    by_id: HashMap<PortId, Link>,
    by_name: HashMap<Box<str>, PortId>,
}

impl Links {
    /// The interface of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// The interface with that index.
    #[must_use]
    pub fn get(&self, id: PortId) -> Option<&Link> {
        self.by_id.get(&id)
    }

    /// The names of all interfaces.
    pub fn names(&self) -> impl Iterator<Item = &Box<str>> {
        self.by_name.keys()
    }

    /// Interfaces in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn insert(&mut self, link: Link) {
        // It may have had another name.
        self.remove(link.id);
        self.by_name.insert(link.name.clone(), link.id);
        self.by_id.insert(link.id, link);
    }

    fn remove(&mut self, id: PortId) {
        let Some(link) = self.by_id.remove(&id) else { return };
        if self.by_name.get(&link.name) == Some(&id) {
            self.by_name.remove(&link.name);
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Present(link) => self.insert(link),
            Event::Gone(id) => self.remove(id),
        }
    }
}

impl FromIterator<Link> for Links {
    fn from_iter<I: IntoIterator<Item = Link>>(links: I) -> Self {
        let mut table = Self::default();
        for link in links {
            table.insert(link);
        }
        table
    }
}

/// All interfaces there are now. Blocks while the kernel answers.
///
/// # Errors
///
/// If the kernel refuses to tell, or does not answer within seconds.
pub fn dump() -> io::Result<Links> {
    Socket::open()?.dump().map(Links::from_iter)
}

/// The interface of that name, if there is one. Blocks while the kernel answers.
///
/// # Errors
///
/// As [`dump`].
pub fn find(name: &str) -> io::Result<Option<Link>> {
    Socket::open()?.find(name)
}

/// A table of all interfaces that follows the kernel's events.
#[derive(Debug)]
pub struct Watch {
    events: AsyncFd<OwnedFd>,
    links: Links,
}

impl Watch {
    /// Subscribes, then reads the table: whatever changes in between is told again.
    ///
    /// # Errors
    ///
    /// As [`dump`]; also if called outside a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let socket = netlink::subscribe()?;
        // SAFETY: the descriptor is open, and the `AsyncFd` owns it and hands it to nobody who
        // could close or replace it.
        let events = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { events, links: dump()? })
    }

    /// The table as of the last [`Self::changed`] or [`Self::refresh`].
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Waits for events and takes all that are there into the table. Dropping the future loses
    /// none.
    ///
    /// # Errors
    ///
    /// If the socket fails; events that were lost are none, the table is read anew then.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut ready = self.events.readable().await?;
        let links = &mut self.links;
        let drained = ready.try_io(|fd| netlink::receive(fd.get_ref(), |event| links.apply(event)));
        match drained {
            Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => self.refresh().await,
            Ok(result) => result,
            // It only looked readable.
            Err(_would_block) => Ok(()),
        }
    }

    /// Takes the events that are there into the table, without waiting for any.
    ///
    /// # Errors
    ///
    /// As [`Self::changed`].
    pub async fn catch_up(&mut self) -> io::Result<()> {
        let links = &mut self.links;
        match netlink::receive(self.events.get_ref(), |event| links.apply(event)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.refresh().await,
            received => received,
        }
    }

    /// Reads the whole table anew.
    ///
    /// # Errors
    ///
    /// As [`dump`]; the table stays as it was.
    pub async fn refresh(&mut self) -> io::Result<()> {
        // Thousands of links take the kernel some ten milliseconds, which the API need not wait.
        self.links = tokio::task::spawn_blocking(dump).await.map_err(io::Error::other)??;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(id: u32, name: &str) -> Link {
        Link {
            id: PortId::new(id).unwrap(),
            name: name.into(),
            mac: MacAddr([2, 0, 0, 0, 0, id as u8]),
            mtu: 1500,
            up: true,
        }
    }

    #[test]
    fn a_renamed_link_is_found_by_its_new_name_only() {
        let mut links: Links = [link(2, "eth0"), link(3, "eth1")].into_iter().collect();
        links.apply(Event::Present(link(2, "wan")));
        assert_eq!(links.named("eth0"), None);
        assert_eq!(links.named("wan"), Some(&link(2, "wan")));
        assert_eq!(links.len(), 2);
    }

    #[test]
    fn a_name_that_passed_to_another_link_stays_with_that_one_when_the_first_goes() {
        let mut links: Links = [link(2, "eth0")].into_iter().collect();
        links.apply(Event::Present(link(7, "eth0")));
        links.apply(Event::Gone(PortId::new(2).unwrap()));
        assert_eq!(links.named("eth0"), Some(&link(7, "eth0")));
        assert_eq!(links.len(), 1);
    }

    #[test]
    fn the_mtu_of_loopback_is_cut_to_the_largest_ip_packet() {
        assert_eq!(Link { mtu: 65536, ..link(1, "lo") }.port_info().mtu, 65535);
    }

    #[test]
    fn loopback_is_found_in_the_dump_and_by_name() {
        let all = dump().unwrap();
        let loopback = find("lo").unwrap().expect("every namespace has one");
        assert_eq!(all.named("lo"), Some(&loopback));
        assert_eq!(all.get(loopback.id), Some(&loopback));
        assert_eq!(loopback.mac, MacAddr::default());
    }

    #[test]
    fn a_name_that_no_link_has_is_not_found_rather_than_an_error() {
        assert_eq!(find("no-such-link").unwrap(), None);
        assert_eq!(find("a-name-longer-than-the-kernel-takes").unwrap(), None);
        assert_eq!(find("").unwrap(), None);
    }
}
