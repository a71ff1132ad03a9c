//! What figures are counted in, and how people read them.

use serde::{Deserialize, Serialize};

use crate::output::human;

/// The unit of a figure in `results.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Of two figures of the same unit.
    #[serde(rename = "ratio")]
    Ratio,
    /// Millions of frames a second.
    #[serde(rename = "Mpps")]
    Mpps,
    /// Flows a second.
    #[serde(rename = "flows/s")]
    FlowsPerSecond,
    /// Flows for each second that a processor was busy.
    #[serde(rename = "flows/CPU-second")]
    FlowsPerCpuSecond,
    /// A part of one.
    #[serde(rename = "share")]
    Share,
}

impl Unit {
    /// A figure and its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{value:.2}"),
            Self::Mpps => format!("{value:.2} Mpps"),
            Self::FlowsPerSecond => format!("{}/s", human(value)),
            Self::FlowsPerCpuSecond => format!("{}/CPU-s", human(value)),
            Self::Share => format!("{:.1} %", value * 100.0),
        }
    }

    /// A figure at a mark of an axis that says the unit itself.
    pub fn mark(self, value: f64) -> String {
        match self {
            Self::Share => format!("{:.0} %", value * 100.0),
            _ => human(value),
        }
    }

    /// For the axis of a plot.
    pub fn axis(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            Self::Mpps => "million frames a second",
            Self::FlowsPerSecond => "flows a second",
            Self::FlowsPerCpuSecond => "flows a CPU-second",
            Self::Share => "share",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_figures_with_their_units() {
        assert_eq!(Unit::Ratio.show(0.8549), "0.85");
        assert_eq!(Unit::Mpps.show(1.234), "1.23 Mpps");
        assert_eq!(Unit::FlowsPerSecond.show(285_400.0), "285 k/s");
        assert_eq!(Unit::Share.show(0.0123), "1.2 %");
    }
}
