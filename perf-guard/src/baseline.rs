//! The figures that are committed, and how those of now compare with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::callgrind::output;
use crate::error::Error;

/// What stands above the figures.
const HEADER: &str = "\
# What packets and flows cost; `make perf-guard` fails if that grows by more than the tolerance.
# Only the tolerances are written by hand: `make perf-guard UPDATE=1` writes the rest.

";

/// Figures by name.
pub type Figures = BTreeMap<String, f64>;

/// Something for each kind of figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Groups<T> {
    /// Instructions that the verifier walked through, by program. They depend on clang and, a
    /// little, on the kernel.
    pub verified_instructions: T,
    /// How many times as long as an empty program a packet of an established flow takes. The only
    /// figures that are timed: their tolerance is wide, and they are held to those of the same kernel
    /// only. Another one may take twice as long for a look-up and no longer for an empty program.
    pub times_an_empty_program: T,
    /// User space's instructions for each flow, by work. They depend on the compiler.
    pub slow_path_instructions: T,
}

impl<T> Groups<T> {
    fn named(&self) -> [(&'static str, &T); 3] {
        [
            ("verified instructions", &self.verified_instructions),
            ("times an empty program", &self.times_an_empty_program),
            ("slow path, instructions", &self.slow_path_instructions),
        ]
    }
}

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// By how much figures may grow, in percent.
    pub tolerance_percent: Groups<f64>,
    /// What they were made with.
    pub made_with: MadeWith,
    /// The figures.
    pub figures: Groups<Figures>,
}

/// What figures depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeWith {
    /// The kernel's release.
    pub kernel: String,
    /// What clang says of itself.
    pub clang: String,
    /// What rustc says of itself.
    pub rustc: String,
}

impl MadeWith {
    /// This machine's; empty what does not tell.
    pub fn look() -> Self {
        let version = |program: &str| {
            let said = output(Command::new(program).arg("--version")).unwrap_or_default();
            said.lines().next().unwrap_or_default().to_owned()
        };
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let (clang, rustc) = (version("clang"), version("rustc"));
        Self { kernel: kernel.trim().to_owned(), clang, rustc }
    }

    /// How another one differs, if it does.
    pub fn differences(&self, now: &Self) -> Option<String> {
        let pairs =
            [(&self.kernel, &now.kernel), (&self.clang, &now.clang), (&self.rustc, &now.rustc)];
        let other = pairs.iter().filter(|(before, now)| before != now);
        let texts: Vec<_> =
            other.map(|(before, now)| format!("{before} there, {now} here")).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

impl Baseline {
    /// Of figures that were all measured. Tolerances stay as they were.
    ///
    /// # Errors
    ///
    /// [`Error::Requirements`] if a group is missing.
    pub fn of(
        before: Option<&Self>,
        made_with: MadeWith,
        measured: Groups<Option<Figures>>,
    ) -> Result<Self, Error> {
        let lacking = || Error::Requirements(vec!["not everything was measured".to_owned()]);
        let tolerance_percent = before.map_or(
            Groups {
                verified_instructions: 5.0,
                times_an_empty_program: 50.0,
                slow_path_instructions: 2.0,
            },
            |before| before.tolerance_percent,
        );
        let figures = Groups {
            verified_instructions: measured.verified_instructions.ok_or_else(lacking)?,
            times_an_empty_program: measured.times_an_empty_program.ok_or_else(lacking)?,
            slow_path_instructions: measured.slow_path_instructions.ok_or_else(lacking)?,
        };
        Ok(Self { tolerance_percent, made_with, figures })
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        toml::from_str(&text).map_err(|error| failed(std::io::Error::other(error)))
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::File { action: "write", path: path.to_owned(), source };
        let text = toml::to_string(self).map_err(|error| failed(std::io::Error::other(error)))?;
        std::fs::write(path, HEADER.to_owned() + &text).map_err(failed)
    }

    /// Holds figures made with `with` against these. A group that was not measured is not compared.
    pub fn compare(&self, measured: &Groups<Option<Figures>>, with: &MadeWith) -> Comparison {
        let mut rows = Vec::new();
        let same_kernel = with.kernel == self.made_with.kernel;
        let Groups { verified_instructions, times_an_empty_program, slow_path_instructions } =
            self.tolerance_percent;
        let tolerances = Groups {
            verified_instructions: Some(verified_instructions),
            times_an_empty_program: same_kernel.then_some(times_an_empty_program),
            slow_path_instructions: Some(slow_path_instructions),
        };
        let groups = self.figures.named().into_iter().zip(measured.named()).zip(tolerances.named());
        for (((group, before), (_, now)), (_, tolerance)) in groups {
            let Some(now) = now else { continue };
            let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
            for name in names {
                let (before, now) = (before.get(name).copied(), now.get(name).copied());
                let what = What::of(before, now, *tolerance);
                rows.push(Row { group, name: name.clone(), before, now, what });
            }
        }
        Comparison { rows }
    }
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Alike,
    Grew,
    Shrank,
    /// The baseline does not have it.
    New,
    /// Only the baseline has it.
    Gone,
    /// It is another on every kernel, and this is not the one of the baseline.
    Incomparable,
}

impl What {
    fn of(before: Option<f64>, now: Option<f64>, tolerance_percent: Option<f64>) -> Self {
        match (before, now, tolerance_percent) {
            (None, _, _) => Self::New,
            (_, None, _) => Self::Gone,
            (Some(_), Some(_), None) => Self::Incomparable,
            (Some(before), Some(now), Some(tolerance_percent)) => {
                let bound = |percent: f64| before * (100.0 + percent);
                if now * 100.0 > bound(tolerance_percent) {
                    Self::Grew
                } else if now * 100.0 < bound(-tolerance_percent) {
                    Self::Shrank
                } else {
                    Self::Alike
                }
            }
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Alike => "",
            Self::Grew => "GREW",
            Self::Shrank => "shrank: UPDATE=1 keeps the gain",
            Self::New => "NOT IN THE BASELINE",
            Self::Gone => "NO LONGER MEASURED",
            Self::Incomparable => "not compared: another kernel",
        }
    }
}

fn percent(before: f64, now: f64) -> f64 {
    (now / before - 1.0) * 100.0
}

/// A figure, before and now.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    group: &'static str,
    name: String,
    before: Option<f64>,
    now: Option<f64>,
    what: What,
}

impl Row {
    fn change(&self) -> String {
        match (self.before, self.now) {
            (Some(before), Some(now)) => format!("{:+.1} %", percent(before, now)),
            _ => String::new(),
        }
    }
}

/// All figures, before and now.
#[derive(Clone, Debug)]
pub struct Comparison {
    rows: Vec<Row>,
}

impl Comparison {
    /// For people.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["kind", "figure", "baseline", "now", "change", ""]);
        for column in table.column_iter_mut().skip(2).take(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let figure = |figure: Option<f64>| figure.map(|it| it.to_string()).unwrap_or_default();
        for row in &self.rows {
            let (before, now) = (figure(row.before), figure(row.now));
            let words = row.what.words().to_owned();
            table.add_row([
                row.group.to_owned(),
                row.name.clone(),
                before,
                now,
                row.change(),
                words,
            ]);
        }
        table
    }

    /// Whether nothing grew, and the same things were measured.
    ///
    /// # Errors
    ///
    /// [`Error::Worse`] with each figure that did.
    pub fn verdict(&self) -> Result<(), Error> {
        let bad = |row: &&Row| matches!(row.what, What::Grew | What::New | What::Gone);
        let texts: Vec<_> = self
            .rows
            .iter()
            .filter(bad)
            .map(|row| {
                let text =
                    format!("{}, {}: {} {}", row.group, row.name, row.what.words(), row.change());
                text.trim_end().to_owned()
            })
            .collect();
        if texts.is_empty() { Ok(()) } else { Err(Error::Worse(texts)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pairs: &[(&str, f64)]) -> Figures {
        pairs.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect()
    }

    fn baseline() -> Baseline {
        let measured = Groups {
            verified_instructions: Some(figures(&[("tc", 1000.0), ("xdp", 900.0)])),
            times_an_empty_program: Some(figures(&[("tc_udp4", 8.0)])),
            slow_path_instructions: Some(figures(&[("nat", 6500.0)])),
        };
        Baseline::of(None, MadeWith::default(), measured).unwrap()
    }

    fn measured(tc: f64, nat: &str) -> Groups<Option<Figures>> {
        Groups {
            verified_instructions: Some(figures(&[("tc", tc), ("xdp", 700.0)])),
            times_an_empty_program: None,
            slow_path_instructions: Some(figures(&[(nat, 6600.0)])),
        }
    }

    fn compare(measured: &Groups<Option<Figures>>) -> Comparison {
        baseline().compare(measured, &MadeWith::default())
    }

    #[test]
    fn a_timed_figure_is_held_to_that_of_the_same_kernel_only() {
        let mut slower = measured(1000.0, "nat");
        slower.times_an_empty_program = Some(figures(&[("tc_udp4", 16.0)]));
        let error = compare(&slower).verdict().unwrap_err().to_string();
        assert!(error.starts_with("times an empty program, tc_udp4: GREW +100.0 %"), "{error}");
        let other = MadeWith { kernel: "6.1.0".to_owned(), ..MadeWith::default() };
        let comparison = baseline().compare(&slower, &other);
        comparison.verdict().unwrap();
        let table = comparison.table().to_string();
        assert!(table.contains("not compared: another kernel"), "{table}");
        // What does not depend on it is held to all the same.
        let slower = measured(1060.0, "nat");
        baseline().compare(&slower, &other).verdict().unwrap_err();
    }

    #[test]
    fn a_figure_may_grow_by_its_tolerance_and_shrink_as_it_likes() {
        compare(&measured(1050.0, "nat")).verdict().unwrap();
    }

    #[test]
    fn what_grew_beyond_it_is_named_with_by_how_much() {
        let comparison = compare(&measured(1060.0, "nat"));
        let error = comparison.verdict().unwrap_err().to_string();
        assert!(error.starts_with("verified instructions, tc: GREW +6.0 %\n"), "{error}");
        assert!(!error.contains("xdp") && !error.contains("nat"), "{error}");
        let table = comparison.table().to_string();
        assert!(table.contains("-22.2 %") && table.contains("UPDATE=1 keeps the gain"), "{table}");
        assert!(!table.contains("tc_udp4"), "{table}");
    }

    #[test]
    fn a_figure_that_is_new_or_gone_is_no_success() {
        let error = compare(&measured(1000.0, "nlb")).verdict().unwrap_err().to_string();
        assert!(error.contains("nat: NO LONGER MEASURED"), "{error}");
        assert!(error.contains("nlb: NOT IN THE BASELINE"), "{error}");
    }

    #[test]
    fn the_file_reads_as_it_was_written_and_an_update_keeps_its_tolerances() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("baseline.toml");
        let mut written = baseline();
        written.tolerance_percent.verified_instructions = 7.5;
        written.write(&path).unwrap();
        let read = Baseline::read(&path).unwrap();
        assert_eq!(read, written);
        let measured = Groups {
            verified_instructions: Some(Figures::new()),
            times_an_empty_program: Some(Figures::new()),
            slow_path_instructions: Some(Figures::new()),
        };
        let updated = Baseline::of(Some(&read), MadeWith::default(), measured).unwrap();
        assert!((updated.tolerance_percent.verified_instructions - 7.5).abs() < 1e-9);
        assert!(Baseline::of(None, MadeWith::default(), self::measured(1.0, "nat")).is_err());
    }
}
