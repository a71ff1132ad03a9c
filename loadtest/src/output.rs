//! What every subcommand says, and how: one JSON object or a table on standard output, progress on
//! standard error if that is a terminal, and the outcome as an exit code.
//!
//! Also the numbers people type: durations such as `10s` or `2m`, rates and counts such as `50k`
//! or `1.2M`.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::Error;

/// How a run that could be measured ended.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was as it should be.
    Fine,
    /// Something arrived that should not have, or did not arrive: what, a sentence each.
    Unverified(Vec<String>),
    /// The run was interrupted; what it had until then was reported.
    Interrupted,
}

impl Outcome {
    /// The exit code: 0, 3 if verification failed, 130 after an interrupt.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Fine => ExitCode::SUCCESS,
            Self::Unverified(_) => ExitCode::from(3),
            // 128 + SIGINT, as a shell reports it.
            Self::Interrupted => ExitCode::from(130),
        }
    }

    /// [`Self::Interrupted`] if it was, else unverified if there are complaints.
    pub fn of(complaints: Vec<String>, interrupted: bool) -> Self {
        if interrupted {
            Self::Interrupted
        } else if complaints.is_empty() {
            Self::Fine
        } else {
            Self::Unverified(complaints)
        }
    }
}

/// Something to print when a run has ended. Its [`Serialize`] is the JSON: base units in names
/// (`seconds`, `bytes`, `bits_per_second`), one object.
pub trait Report: Serialize {
    /// The tables for people, in order.
    fn tables(&self) -> Vec<Table>;
}

/// The switch that all reporting subcommands have.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Output {
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

impl Output {
    /// Prints a report on standard output.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it cannot be written as JSON.
    pub fn print(self, report: &impl Report) -> Result<(), Error> {
        if self.json {
            let json = serde_json::to_string(report).map_err(|error| Error::System {
                action: "write the result as JSON",
                source: error.into(),
            })?;
            println!("{json}");
        } else {
            for table in report.tables() {
                println!("{table}");
            }
        }
        Ok(())
    }
}

/// A table in the house style: a header, text to the left, figures to the right.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The progress of a run that is bounded in time, drawn if standard error is a terminal. It is
/// wiped away when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for a run of `duration`.
    pub fn of_time(duration: Duration) -> Self {
        Self::new(duration.as_millis() as u64, "{bar:30} {elapsed:>4}  {msg}")
    }

    /// A bar for a number of steps.
    pub fn of_steps(steps: u64) -> Self {
        Self::new(steps, "{bar:30} {pos}/{len} {eta:>4} left  {msg}")
    }

    fn new(length: u64, template: &str) -> Self {
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(length).with_style(style) }
    }

    /// For [`Self::of_time`]: so much has passed.
    pub fn elapsed(&self, elapsed: Duration) {
        self.bar.set_position(elapsed.as_millis() as u64);
    }

    /// For [`Self::of_steps`]: one more is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// What is going on, shown beside the bar.
    pub fn say(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A rate, per second; written `250`, `50k` or `1.2M`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Rate(f64);

impl Rate {
    /// A rate of so many per second; nothing if that is not a positive, finite number.
    pub fn per_second(value: f64) -> Option<Self> {
        (value.is_finite() && value > 0.0).then_some(Self(value))
    }

    /// So many per second.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::per_second(scaled(text)?)
            .ok_or_else(|| format!("`{text}` is no rate: it must be above zero"))
    }
}

/// Parses a count such as `250`, `50k` or `1.2M` (powers of 1,000), for clap's `value_parser`.
///
/// # Errors
///
/// What is wrong with the text.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let value = scaled(text)?;
    let whole = value.round();
    // 2^53: beyond it a float does not tell neighbours apart.
    if (0.0..=9_007_199_254_740_992.0).contains(&value) && (value - whole).abs() < 1e-6 {
        #[expect(clippy::cast_sign_loss, reason = "within 0..=2^53, checked above")]
        return Ok(whole as u64);
    }
    Err(format!("`{text}` is no whole number: write for example 250, 50k or 1.2M"))
}

/// Parses a duration such as `10s`, `250ms` or `2m`, for clap's `value_parser`. Zero is refused:
/// every run is bounded and measures something.
///
/// # Errors
///
/// What is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write for example 10s, 250ms or 2m"))?;
    if duration.is_zero() { Err("it must be above zero".to_owned()) } else { Ok(duration) }
}

/// As [`parse_duration`], with zero, also written `0`, allowed: a warm-up may be left out.
///
/// # Errors
///
/// What is wrong with the text.
pub fn parse_duration_or_zero(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write for example 0s, 250ms or 2m"))
}

/// A number with an optional suffix: k, M or G, powers of 1,000.
fn scaled(text: &str) -> Result<f64, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((end, 'k' | 'K')) => (&text[..end], 1e3),
        Some((end, 'm' | 'M')) => (&text[..end], 1e6),
        Some((end, 'g' | 'G')) => (&text[..end], 1e9),
        _ => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value * factor),
        _ => Err(format!("`{text}` is no number: write for example 250, 50k or 1.2M")),
    }
}

/// A number for people: three significant digits and a suffix, `1.23 M`.
pub fn human(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, " G"),
        v if v >= 1e6 => (value / 1e6, " M"),
        v if v >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        v if v >= 100.0 || (suffix.is_empty() && v.fract() == 0.0) => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$}{suffix}")
}

/// A span of time for people: `12.3 µs`, `4.56 ms`, `1.20 s`.
pub fn human_seconds(seconds: f64) -> String {
    let (scaled, unit) = match seconds.abs() {
        v if v >= 1.0 || v == 0.0 => (seconds, "s"),
        v if v >= 1e-3 => (seconds * 1e3, "ms"),
        v if v >= 1e-6 => (seconds * 1e6, "µs"),
        _ => (seconds * 1e9, "ns"),
    };
    let decimals = match scaled.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_counts_take_suffixes_and_refuse_nonsense() {
        for (text, value) in [("50k", 50_000.0), ("1.2M", 1_200_000.0), ("0.5", 0.5)] {
            assert_eq!(text.parse(), Ok(Rate(value)));
        }
        for bad in ["0", "-1", "", "k", "1kk", "nan", "inf", "10/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        assert_eq!(parse_count("1.2M"), Ok(1_200_000));
        assert_eq!(parse_count("65536"), Ok(65_536));
        assert_eq!(parse_count("0"), Ok(0));
        for bad in ["1.5", "-3", "1e40", "µ"] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_lasts_longer_than_nothing_a_warm_up_need_not() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(parse_duration("0s"), Err("it must be above zero".to_owned()));
        assert!(parse_duration("10").unwrap_err().contains("10s"));
        assert_eq!(parse_duration_or_zero("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn numbers_for_people_have_three_digits_and_a_unit() {
        assert_eq!(human(0.0), "0");
        assert_eq!(human(12.0), "12");
        assert_eq!(human(1_234_567.0), "1.23 M");
        assert_eq!(human(45_678.0), "45.7 k");
        assert_eq!(human_seconds(0.000_012_34), "12.3 µs");
        assert_eq!(human_seconds(1.2), "1.20 s");
        assert_eq!(human_seconds(0.000_000_250), "250 ns");
        assert_eq!(human_seconds(0.0), "0 s");
    }

    #[test]
    fn an_interrupt_outranks_complaints_and_complaints_outrank_success() {
        let complaint = || vec!["3 replies had wrong content".to_owned()];
        assert_eq!(Outcome::of(vec![], false), Outcome::Fine);
        assert_eq!(Outcome::of(complaint(), false), Outcome::Unverified(complaint()));
        assert_eq!(Outcome::of(complaint(), true), Outcome::Interrupted);
    }
}
