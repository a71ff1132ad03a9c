//! Why operations fail: a reason each, counted, and advice where the cause is on our side.

use std::io;

use nix::errno::Errno;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The reason of a failed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there: a reset in answer to a SYN, or ICMP port unreachable.
    Refused,
    /// The other side broke an established connection.
    Reset,
    /// The other side closed an established connection before it had answered.
    Closed,
    /// No answer in time.
    TimedOut,
    /// ICMP or our own routing table says that there is no way.
    Unreachable,
    /// No free source port.
    NoPort,
    /// No free descriptor, or no memory for the socket.
    NoDescriptor,
    /// The answer is not the one asked for, or the request arrived corrupt.
    WrongContent,
    /// The server saw the client under an address that was not expected.
    WrongSource,
    /// An HTTP status other than 200.
    WrongStatus,
    /// Anything else the kernel said.
    Other,
}

impl Failure {
    const ALL: [Self; 11] = [
        Self::Refused,
        Self::Reset,
        Self::Closed,
        Self::TimedOut,
        Self::Unreachable,
        Self::NoPort,
        Self::NoDescriptor,
        Self::WrongContent,
        Self::WrongSource,
        Self::WrongStatus,
        Self::Other,
    ];

    /// The key in JSON.
    fn key(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::NoPort => "no_port",
            Self::NoDescriptor => "no_descriptor",
            Self::WrongContent => "wrong_content",
            Self::WrongSource => "wrong_source",
            Self::WrongStatus => "wrong_status",
            Self::Other => "other",
        }
    }

    /// Whether something answered, but not as it must: never to be put down to load.
    fn is_wrong(self) -> bool {
        matches!(self, Self::WrongContent | Self::WrongSource | Self::WrongStatus)
    }

    fn of(error: &io::Error) -> Self {
        let Some(errno) = error.raw_os_error().map(Errno::from_raw) else { return Self::Other };
        match errno {
            Errno::ECONNREFUSED => Self::Refused,
            Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED => Self::Reset,
            Errno::ETIMEDOUT => Self::TimedOut,
            Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::ENETDOWN => Self::Unreachable,
            Errno::EADDRNOTAVAIL | Errno::EADDRINUSE => Self::NoPort,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Self::NoDescriptor,
            _ => Self::Other,
        }
    }
}

/// Failures counted by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    counts: [u64; Failure::ALL.len()],
    /// What the first [`Failure::Other`] said.
    first_other: Option<String>,
}

impl Failures {
    /// Counts one.
    pub fn add(&mut self, failure: Failure) {
        self.counts[failure as usize] += 1;
    }

    /// Counts what the kernel said.
    pub fn add_error(&mut self, error: &io::Error) {
        let failure = Failure::of(error);
        if failure == Failure::Other && self.first_other.is_none() {
            self.first_other = Some(error.to_string());
        }
        self.add(failure);
    }

    /// Adds all that another counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            *count += other;
        }
        if self.first_other.is_none() {
            self.first_other.clone_from(&other.first_other);
        }
    }

    /// How many of one reason.
    pub fn of(&self, failure: Failure) -> u64 {
        self.counts[failure as usize]
    }

    /// How many of all reasons.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many answers were there, but wrong.
    pub fn wrong(&self) -> u64 {
        Failure::ALL.into_iter().filter(|reason| reason.is_wrong()).map(|r| self.of(r)).sum()
    }

    /// Reasons that occurred, with their counts, for people.
    pub fn listed(&self) -> Vec<(String, u64)> {
        let occurred = Failure::ALL.into_iter().filter(|reason| self.of(*reason) > 0);
        occurred
            .map(|reason| match (reason, &self.first_other) {
                (Failure::Other, Some(said)) => (format!("other ({said})"), self.of(reason)),
                _ => (reason.key().replace('_', " "), self.of(reason)),
            })
            .collect()
    }

    /// What to do about failures that come from our own side, a sentence each.
    pub fn advice(&self) -> Vec<&'static str> {
        let known = [
            (
                Failure::NoPort,
                "Source ports ran out: connections that the client closes keep theirs for a \
                 minute (TIME_WAIT). Give more addresses with --source, lower --rate, or close \
                 with --reset. If nothing was sent at all, an address of --source is not ours.",
            ),
            (
                Failure::NoDescriptor,
                "Descriptors or socket memory ran out: raise `ulimit -n` (and sysctl fs.nr_open), \
                 or lower --connections.",
            ),
        ];
        known.into_iter().filter(|(reason, _)| self.of(*reason) > 0).map(|(_, text)| text).collect()
    }
}

impl Serialize for Failures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.counts.len()))?;
        for reason in Failure::ALL {
            map.serialize_entry(reason.key(), &self.of(reason))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_of_its_own() {
        for (index, reason) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.key());
        }
    }

    #[test]
    fn kernel_errors_are_told_apart_and_the_unknown_is_quoted() {
        let mut failures = Failures::default();
        for errno in [libc::ECONNREFUSED, libc::EADDRNOTAVAIL, libc::EMFILE, libc::EPERM] {
            failures.add_error(&io::Error::from_raw_os_error(errno));
        }
        let mut all = Failures::default();
        all.add(Failure::WrongSource);
        all.merge(&failures);
        assert_eq!((all.total(), all.wrong()), (5, 1));
        let json = serde_json::to_value(&all).unwrap();
        for key in ["refused", "no_port", "no_descriptor", "wrong_source", "other"] {
            assert_eq!(json[key], 1, "{key}");
        }
        assert_eq!(json["timed_out"], 0, "reasons that did not occur are there as well");
        assert_eq!(all.advice().len(), 2);
        let listed = all.listed();
        assert!(listed.iter().any(|(name, _)| name.contains("Operation not permitted")));
    }
}
