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
    /// TCP connections a second.
    #[serde(rename = "connections/s")]
    ConnectionsPerSecond,
    /// Requests that were answered, a second.
    #[serde(rename = "requests/s")]
    RequestsPerSecond,
    /// Bits a second, of what programs send.
    #[serde(rename = "bit/s")]
    BitsPerSecond,
    /// Seconds that a processor was busy, for each 10^9 bytes.
    #[serde(rename = "CPU-s/GB")]
    CpuSecondsPerGigabyte,
    /// Millionths of a second.
    #[serde(rename = "us")]
    Microseconds,
    /// A part of one.
    #[serde(rename = "share")]
    Share,
    /// Hundredths.
    #[serde(rename = "%")]
    Percent,
    /// Frames, a few.
    #[serde(rename = "frames")]
    Frames,
    /// Memory, a little.
    #[serde(rename = "bytes")]
    Bytes,
    /// Memory, more of it: 2^20 bytes.
    #[serde(rename = "MiB")]
    Mebibytes,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Thousandths of a second.
    #[serde(rename = "ms")]
    Milliseconds,
}

impl Unit {
    /// A figure and its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{value:.2}"),
            Self::Mpps => format!("{value:.2} Mpps"),
            Self::FlowsPerSecond | Self::ConnectionsPerSecond | Self::RequestsPerSecond => {
                format!("{}/s", human(value))
            }
            Self::FlowsPerCpuSecond => format!("{}/CPU-s", human(value)),
            Self::BitsPerSecond => format!("{}bit/s", human(value)),
            Self::CpuSecondsPerGigabyte => format!("{value:.3} CPU-s/GB"),
            Self::Microseconds => format!("{value:.1} µs"),
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::Percent => format!("{value:.2} %"),
            Self::Frames => human(value),
            Self::Bytes => format!("{value:.0} bytes"),
            Self::Mebibytes => format!("{value:.2} MiB"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Milliseconds => format!("{value:.2} ms"),
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
            Self::ConnectionsPerSecond => "connections a second",
            Self::RequestsPerSecond => "requests a second",
            Self::BitsPerSecond => "bits a second",
            Self::CpuSecondsPerGigabyte => "CPU-seconds for each GB",
            Self::Microseconds => "microseconds",
            Self::Share => "share",
            Self::Percent => "percent",
            Self::Frames => "frames",
            Self::Bytes => "bytes",
            Self::Mebibytes => "MiB",
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
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
        assert_eq!(Unit::RequestsPerSecond.show(28_540.0), "28.5 k/s");
        assert_eq!(Unit::BitsPerSecond.show(12_340_000_000.0), "12.3 Gbit/s");
        assert_eq!(Unit::Microseconds.show(12.34), "12.3 µs");
        assert_eq!(Unit::Share.show(0.0123), "1.2 %");
        assert_eq!(Unit::Percent.show(1.234), "1.23 %");
        assert_eq!(Unit::Bytes.show(288.4), "288 bytes");
        assert_eq!(Unit::Milliseconds.show(2.5), "2.50 ms");
        assert_eq!(Unit::Frames.show(0.0), "0");
    }
}
