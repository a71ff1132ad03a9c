//! A requirement, and what came of checking it.

use serde::Serialize;

use super::probe::Probe;
use crate::error::Error;

/// Way much is asked: in the words of RFC 2119, or of nobody but those who want what AWS has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Level {
    /// MUST.
    #[serde(rename = "MUST")]
    Must,
    /// SHOULD, or RECOMMENDED.
    #[serde(rename = "SHOULD")]
    Should,
    /// MAY: a number of its document that asks for nothing.
    #[serde(rename = "MAY")]
    May,
    /// No document asks for it; AWS's NAT gateway does it.
    #[serde(rename = "AWS does")]
    Aws,
}

impl Level {
    /// All, in the order in which they are summed up.
    pub const ALL: [Self; 4] = [Self::Must, Self::Should, Self::May, Self::Aws];

    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
            Self::Aws => "AWS does",
        }
    }
}

/// What came of a check, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is met.
    Pass(String),
    /// It is not.
    Fail(String),
    /// It says nothing of this NAT, or this run cannot tell.
    NotApplicable(String),
}

impl Verdict {
    /// Passes if it holds.
    pub fn of(holds: bool, seen: impl Into<String>) -> Self {
        if holds { Self::Pass(seen.into()) } else { Self::Fail(seen.into()) }
    }

    /// The word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Fail(_) => "fail",
            Self::NotApplicable(_) => "not applicable",
        }
    }

    /// What was seen, or why it could not be.
    pub fn why(&self) -> &str {
        match self {
            Self::Pass(why) | Self::Fail(why) | Self::NotApplicable(why) => why,
        }
    }
}

/// Finds out whether a requirement is met.
pub type Run = fn(&mut Probe) -> Result<Verdict, Error>;

/// One requirement.
#[derive(Clone, Copy)]
pub struct Check {
    /// `RFC4787-REQ-1`.
    pub id: &'static str,
    /// Way much it asks.
    pub level: Level,
    /// What it asks, in a few words.
    pub asks: &'static str,
    /// Way to find out.
    pub way: Way,
}

/// Way a requirement is checked.
#[derive(Clone, Copy)]
pub enum Way {
    /// By packets; what is seen of them decides.
    Probe(Run),
    /// The same, if there are minutes to spend (`--slow`).
    Slowly(Run),
    /// Hosts at the ends cannot see it: why.
    Unseen(&'static str),
}

impl Check {
    /// Something that MUST be so.
    pub const fn must(id: &'static str, asks: &'static str, way: Way) -> Self {
        Self { id, level: Level::Must, asks, way }
    }

    /// Something that SHOULD be so, or is RECOMMENDED.
    pub const fn should(id: &'static str, asks: &'static str, way: Way) -> Self {
        Self { id, level: Level::Should, asks, way }
    }

    /// Something that MAY be so: there is nothing to check.
    pub const fn may(id: &'static str, asks: &'static str) -> Self {
        Self { id, level: Level::May, asks, way: Way::Unseen("either is right") }
    }

    /// Something that AWS's NAT gateway does.
    pub const fn aws(id: &'static str, asks: &'static str, way: Way) -> Self {
        Self { id, level: Level::Aws, asks, way }
    }

    /// Finds out.
    ///
    /// # Errors
    ///
    /// [`Error::System`], if an interface fails.
    pub fn run(&self, probe: &mut Probe) -> Result<Verdict, Error> {
        match self.way {
            Way::Probe(run) => run(probe),
            Way::Slowly(run) if probe.plan.slow => run(probe),
            Way::Slowly(_) => Ok(Verdict::NotApplicable("it takes minutes: --slow".to_owned())),
            Way::Unseen(why) => Ok(Verdict::NotApplicable(why.to_owned())),
        }
    }
}
