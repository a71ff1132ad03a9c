//! A requirement, and what came of checking it.

use serde::Serialize;

use super::probe::Probe;
use crate::error::Error;

/// How much a requirement asks, in the words of RFC 2119.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// MUST.
    Must,
    /// SHOULD, or RECOMMENDED.
    Should,
}

impl Level {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
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

/// One requirement.
pub struct Check {
    /// `RFC4787-REQ-1`.
    pub id: &'static str,
    /// How much it asks.
    pub level: Level,
    /// What it asks, in a few words.
    pub asks: &'static str,
    /// Finds out.
    pub run: fn(&mut Probe) -> Result<Verdict, Error>,
}
