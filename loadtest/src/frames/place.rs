//! Where frames go out or come in: an interface, and the network namespace that it is in.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};

use crate::error::Error;

/// Where `ip netns` keeps namespaces.
const NAMESPACES: &str = "/run/netns";

/// A network namespace: the process's own or one by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace(Option<String>);

impl Namespace {
    /// The one that `ip netns` lists under a name.
    pub fn named(name: &str) -> Self {
        Self(Some(name.to_owned()))
    }

    /// Runs `work` inside, on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if there is no such namespace, [`Error::System`] if it cannot be entered.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, Error> {
        let handle = self.0.as_deref().map(open).transpose()?;
        std::thread::scope(|scope| {
            let inside = || -> Result<R, Error> {
                if let Some(handle) = &handle {
                    setns(handle, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::System {
                        action: "enter a network namespace (it takes root)",
                        source: errno.into(),
                    })?;
                }
                Ok(work())
            };
            match scope.spawn(inside).join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

fn open(name: &str) -> Result<File, Error> {
    let path: PathBuf = Path::new(NAMESPACES).join(name);
    File::open(&path).map_err(|source| Error::File {
        action: "open the network namespace",
        path,
        source,
    })
}

/// An interface, written `eth0`, or `eth0@blue` for that of the namespace `blue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The interface's name.
    pub interface: String,
    /// Where it is.
    pub namespace: Namespace,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (interface, namespace) = match text.split_once('@') {
            Some((interface, namespace)) => (interface, Namespace::named(namespace)),
            None => (text, Namespace::default()),
        };
        let bad = |part: &str| part.is_empty() || part.contains(['/', '@', ' ']) || part == "..";
        // IFNAMSIZ, less the terminating zero.
        if bad(interface) || interface.len() > 15 || namespace.0.as_deref().is_some_and(bad) {
            return Err(format!(
                "`{text}` is no place: write an interface, eth0, or eth0@namespace"
            ));
        }
        Ok(Self { interface: interface.to_owned(), namespace })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.interface)?;
        self.namespace.0.as_ref().map_or(Ok(()), |namespace| write!(f, "@{namespace}"))
    }
}

/// An interface's index and MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// What the kernel numbers it.
    pub index: u32,
    /// Its MAC address; zero where it has none.
    pub mac: [u8; 6],
}

impl Link {
    /// That of the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// [`Error::NoInterface`], [`Error::System`].
    pub fn find(name: &str) -> Result<Self, Error> {
        let index = if_nametoindex(name)
            .map_err(|errno| Error::NoInterface { name: name.to_owned(), source: errno.into() })?;
        let addresses = getifaddrs().map_err(|errno| Error::System {
            action: "list the interfaces",
            source: io::Error::from(errno),
        })?;
        let mac = addresses
            .filter(|address| address.interface_name == name)
            .find_map(|address| address.address?.as_link_addr()?.addr());
        Ok(Self { index, mac: mac.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use halfspace_testbed::{Requirement, Testbed, ready};

    use super::*;

    #[test]
    fn a_place_is_an_interface_and_maybe_a_namespace() {
        let place: Place = "eth0@blue".parse().unwrap();
        assert_eq!(place.interface, "eth0");
        assert_eq!(place.namespace, Namespace::named("blue"));
        assert_eq!(place.to_string(), "eth0@blue");
        assert_eq!("eth0".parse::<Place>().unwrap().namespace, Namespace::default());
        for bad in ["", "@blue", "eth0@", "eth0@../x", "a@b@c", "sixteen-letters-x"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_link_is_found_in_the_namespace_that_was_entered_and_only_there() {
        if !ready(&[Requirement::Root, Requirement::Program("ip")]) {
            return;
        }
        let bed = Testbed::new("place").unwrap();
        let (a, b) = (bed.namespace("a").unwrap(), bed.namespace("b").unwrap());
        bed.veth((&a, "here"), (&b, "there")).unwrap();
        let inside = Namespace::named(a.name());
        let link = inside.enter(|| Link::find("here")).unwrap().unwrap();
        assert_eq!(link.index, a.link_index("here").unwrap());
        assert_eq!(link.mac, a.link_mac("here").unwrap());
        assert!(inside.enter(|| Link::find("there")).unwrap().is_err());
        let error = Namespace::named("no-such-namespace").enter(|| ()).unwrap_err().to_string();
        assert!(error.contains("/run/netns/no-such-namespace"), "{error}");
    }
}
