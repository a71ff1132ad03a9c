//! The links between ports and programs, pinned so that they outlive the process.
//!
//! Every port has a tcx link. One that runs XDP has an XDP link besides: what goes up to the host,
//! and what leaves by a port without XDP, the XDP program leaves to the tcx program behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TcAttachType};
use nf_core::id::PortId;

use super::device::Device;
use super::object::{Programs, TC_PROGRAM};
use super::pin_dir::PinDir;
use super::sys::{self, ATTACH_TCX_INGRESS, ATTACH_XDP, XDP_GENERIC, XDP_NATIVE};
use crate::{AttachError, Attached, Hook, HookWish};

/// What the name of a pinned link begins with.
pub(super) const PREFIX: &str = "link-";

/// What a link is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Tcx,
    Xdp,
    XdpGeneric,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Tcx, Self::Xdp, Self::XdpGeneric];

    const fn label(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdpgeneric",
        }
    }

    fn pin_name(self, port: PortId) -> String {
        format!("{PREFIX}{}-{port}", self.label())
    }

    /// The kind and port of a pinned link's name.
    fn of_pin(name: &str) -> Option<(Self, PortId)> {
        let (label, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
        let kind = Self::ALL.into_iter().find(|kind| kind.label() == label)?;
        Some((kind, PortId::new(number.parse().ok()?)?))
    }
}

/// The links of all ports.
#[derive(Debug)]
pub(super) struct Links {
    dir: PinDir,
    programs: Programs,
    ports: BTreeMap<PortId, BTreeMap<Kind, OwnedFd>>,
    /// Ports whose links are to go, unless somebody attaches them before that is done.
    leaving: BTreeSet<PortId>,
}

impl Links {
    /// Puts the new programs on the links that an earlier process left. Links of interfaces that
    /// are gone are removed.
    pub(super) fn take_over(dir: PinDir, programs: Programs) -> io::Result<Self> {
        let mut links = Self { dir, programs, ports: BTreeMap::new(), leaving: BTreeSet::new() };
        for name in links.dir.names()? {
            let Some((kind, port)) = Kind::of_pin(&name) else { continue };
            match links.take_over_one(kind, &name) {
                Ok(Some(link)) => {
                    links.ports.entry(port).or_default().insert(kind, link);
                }
                Ok(None) => links.dir.remove(&name)?,
                Err(error) => {
                    tracing::warn!(link = name, %error, "removing a link that cannot be kept");
                    links.dir.remove(&name)?;
                }
            }
        }
        Ok(links)
    }

    /// The link, unless its interface is gone.
    fn take_over_one(&self, kind: Kind, name: &str) -> io::Result<Option<OwnedFd>> {
        let link = sys::open_pinned(&self.dir.join(name))?;
        if sys::link_interface(link.as_fd())?.is_none() {
            return Ok(None);
        }
        sys::update_link(link.as_fd(), self.program(kind).as_fd())?;
        Ok(Some(link))
    }

    fn program(&self, kind: Kind) -> &OwnedFd {
        match kind {
            Kind::Tcx => &self.programs.tc,
            Kind::Xdp | Kind::XdpGeneric => &self.programs.xdp,
        }
    }

    /// The programs, to run them on made-up packets.
    #[cfg(test)]
    pub(super) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Ports that have links.
    pub(super) fn ports(&self) -> Vec<PortId> {
        self.ports.keys().copied().collect()
    }

    /// Whether a port runs XDP in its driver, and so takes frames that XDP redirects.
    pub(super) fn takes_xdp(&self, port: PortId) -> bool {
        self.ports.get(&port).is_some_and(|links| links.contains_key(&Kind::Xdp))
    }

    /// Gives a port the links that `wish` asks for, as far as the interface goes along.
    pub(super) fn attach(
        &mut self,
        port: PortId,
        name: &str,
        wish: HookWish,
    ) -> Result<Attached, AttachError> {
        self.leaving.remove(&port);
        let device = Device::find(port, name)?;
        let failed =
            |action| move |error| AttachError::System { name: name.to_owned(), action, error };
        if !self.ports.contains_key(&port) {
            refuse_second_gateway(name)?;
        }
        self.link(port, Kind::Tcx).map_err(failed("make a tcx link"))?;
        let (xdp, why) = match wish {
            HookWish::Tc => (None, "as configured".to_owned()),
            HookWish::Xdp => (Some(Kind::Xdp), "as configured".to_owned()),
            HookWish::XdpGeneric => (Some(Kind::XdpGeneric), "as configured".to_owned()),
            HookWish::Auto => match device.suits_xdp() {
                Ok(()) => (Some(Kind::Xdp), "its driver has XDP".to_owned()),
                Err(why) => (None, why),
            },
        };
        // The other mode goes first: an interface has one or the other.
        for other in [Kind::Xdp, Kind::XdpGeneric].into_iter().filter(|&kind| xdp != Some(kind)) {
            self.unlink(port, other).map_err(failed("remove its XDP link"))?;
        }
        let (hook, why) = match xdp {
            None => (Hook::Tc, why),
            Some(kind) => match self.link(port, kind) {
                Ok(()) if kind == Kind::Xdp => (Hook::Xdp, why),
                Ok(()) => (Hook::XdpGeneric, why),
                Err(error) => (Hook::Tc, format!("XDP cannot be attached: {error}")),
            },
        };
        Ok(Attached { hook, why })
    }

    /// Makes and pins a link, if the port has none of the kind.
    fn link(&mut self, port: PortId, kind: Kind) -> io::Result<()> {
        if self.ports.get(&port).is_some_and(|links| links.contains_key(&kind)) {
            return Ok(());
        }
        let (attach_type, flags) = match kind {
            Kind::Tcx => (ATTACH_TCX_INGRESS, 0),
            Kind::Xdp => (ATTACH_XDP, XDP_NATIVE),
            Kind::XdpGeneric => (ATTACH_XDP, XDP_GENERIC),
        };
        let program = self.program(kind).as_fd();
        let link = sys::create_link(program, port.get(), attach_type, flags)?;
        // Only with an interface that is gone could a pin of this name have been left.
        self.dir.remove(&kind.pin_name(port))?;
        sys::pin(link.as_fd(), &self.dir.join(&kind.pin_name(port)))?;
        self.ports.entry(port).or_default().insert(kind, link);
        Ok(())
    }

    fn unlink(&mut self, port: PortId, kind: Kind) -> io::Result<()> {
        let Some(link) = self.ports.get_mut(&port).and_then(|links| links.remove(&kind)) else {
            return Ok(());
        };
        // An interface that is gone has taken its end along; there is nothing to detach then.
        let detached = match sys::link_interface(link.as_fd()) {
            Ok(Some(_)) => sys::detach_link(link.as_fd()),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.dir.remove(&kind.pin_name(port)).and(detached)
    }

    /// Says that a port's links are to go.
    pub(super) fn let_go(&mut self, port: PortId) {
        self.leaving.insert(port);
    }

    /// Removes the links of a port that was let go and not attached since.
    pub(super) fn remove_leaving(&mut self, port: PortId) -> io::Result<()> {
        if self.leaving.remove(&port) { self.detach(port) } else { Ok(()) }
    }

    /// Removes a port's links.
    pub(super) fn detach(&mut self, port: PortId) -> io::Result<()> {
        // XDP first, so that nothing of a port half detached is left to it.
        let results = Kind::ALL.into_iter().rev().map(|kind| self.unlink(port, kind));
        let result = results.fold(Ok(()), io::Result::and);
        self.ports.remove(&port);
        result
    }

    /// Removes all links.
    pub(super) fn detach_all(&mut self) -> io::Result<()> {
        let results = self.ports().into_iter().map(|port| self.detach(port));
        results.fold(Ok(()), io::Result::and)
    }

    /// Where they are pinned.
    pub(super) fn dir(&self) -> &PinDir {
        &self.dir
    }
}

/// Makes sure that no other gateway is on an interface.
///
/// The lock on the pins tells most, but two processes in mount namespaces of their own, such as
/// `ip netns exec` makes, each have a BPF file system of their own.
fn refuse_second_gateway(name: &str) -> Result<(), AttachError> {
    // The links of a process that was just killed go a moment after it.
    const PATIENCE: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(20);

    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = SchedClassifier::query_tcx(name, TcAttachType::Ingress);
        let (_, programs) = found.map_err(|error| AttachError::System {
            name: name.to_owned(),
            action: "ask for the programs on it",
            error: io::Error::other(error),
        })?;
        let other = programs.iter().find(|program| program.name() == TC_PROGRAM.as_bytes());
        match other {
            None => return Ok(()),
            Some(_) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Some(program) => {
                return Err(AttachError::Served { name: name.to_owned(), program: program.id() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_links_name_tells_what_it_is() {
        let port = PortId::new(17).unwrap();
        for kind in Kind::ALL {
            assert_eq!(Kind::of_pin(&kind.pin_name(port)), Some((kind, port)));
        }
        assert_eq!(Kind::of_pin("flows4"), None);
        assert_eq!(Kind::of_pin("link-tcx-0"), None);
        assert_eq!(Kind::of_pin("link-tcx-x"), None);
    }
}
