//! Why the program cannot do what it was asked for.

use std::io;

use nix::errno::Errno;
use xdp::socket::{OptName, SocketError};

/// Something that was refused, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Options that do not go together.
    #[error("{0}")]
    Usage(String),
    /// There is no such interface in this network namespace.
    #[error("there is no interface {name} here: {source}")]
    NoInterface {
        /// Its name.
        name: String,
        /// Why it was not found.
        source: Errno,
    },
    /// The interface is not Ethernet.
    #[error("{name} has no MAC address: this echoes on Ethernet interfaces only")]
    NotEthernet {
        /// Its name.
        name: String,
    },
    /// The operating system refused something.
    #[error("cannot {action}: {source}{advice}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
        /// What to do about it, after a semicolon; empty if nothing is known.
        advice: &'static str,
    },
    /// The XDP program could not be loaded, attached or asked.
    #[error("cannot {action}: {}{advice}", last_cause(source.as_ref()))]
    Bpf {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What to do about it, after a semicolon; empty if nothing is known.
        advice: &'static str,
    },
    /// An interface runs one XDP program at a time.
    #[error(
        "{interface} has an XDP program already: an interface serves one bypass application at a \
         time (`ip link show dev {interface}` tells the program's id)"
    )]
    Taken {
        /// Its name.
        interface: String,
    },
}

impl Error {
    /// For `map_err` around system calls.
    pub(crate) fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { action, source: source.into(), advice: "" }
    }

    /// For `map_err` around BPF calls.
    pub(crate) fn bpf<E>(action: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| {
            let source = source.into();
            let cause = last_cause(source.as_ref()).downcast_ref::<io::Error>();
            let refused = cause.is_some_and(|it| it.kind() == io::ErrorKind::PermissionDenied);
            let advice = if refused { "; it takes CAP_BPF and CAP_NET_ADMIN" } else { "" };
            Self::Bpf { action, source, advice }
        }
    }
}

/// What an error comes down to: the loader's own words tell where in the loader it happened.
fn last_cause<'a>(
    error: &'a (dyn std::error::Error + Send + Sync + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

impl From<SocketError> for Error {
    fn from(error: SocketError) -> Self {
        type Advice = &'static [(Errno, &'static str)];
        let (action, source, advice): (_, _, Advice) = match error {
            SocketError::SocketCreation(source) => (
                "open an AF_XDP socket",
                source,
                &[
                    (Errno::EPERM, "; it takes CAP_NET_RAW"),
                    (Errno::EAFNOSUPPORT, "; the kernel was built without CONFIG_XDP_SOCKETS"),
                ],
            ),
            SocketError::SetSockOpt { inner, option: OptName::UmemRegion } => (
                "share memory for frames with the kernel",
                inner,
                &[(
                    Errno::ENOBUFS,
                    "; it is more than may be locked: ask for fewer --frames, raise `ulimit -l`, \
                     or grant CAP_IPC_LOCK",
                )],
            ),
            SocketError::SetSockOpt { inner, .. } | SocketError::RingMap { inner, .. } => {
                ("make the socket's rings", inner, &[])
            }
            SocketError::GetSockOpt { inner, .. } => ("ask the socket", inner, &[]),
            SocketError::Bind(source) => (
                "bind the socket to the queue",
                source,
                &[
                    (Errno::EINVAL, "; `ethtool -l` tells which queues the interface has"),
                    (Errno::EBUSY, "; another AF_XDP socket has it"),
                    (Errno::EOPNOTSUPP, "; its driver has no zero-copy mode"),
                ],
            ),
        };
        let errno = source.raw_os_error().map(Errno::from_raw);
        let known = advice.iter().find(|(of, _)| Some(*of) == errno);
        Self::System { action, source, advice: known.map_or("", |(_, text)| text) }
    }
}
