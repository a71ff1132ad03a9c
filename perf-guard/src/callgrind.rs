//! Counts what user space does for a flow: Callgrind runs a program whose instructions are the same
//! at each run, on any machine with the same compiler and C library.

use std::path::Path;
use std::process::Command;

use crate::baseline::Figures;
use crate::error::Error;

/// The function of the program below which instructions count.
const COUNTED: &str = "--toggle-collect=*halfspace_slow_path*counted*";

/// Instructions for each flow, by kind of work.
///
/// # Errors
///
/// [`Error::Program`] if it cannot be run or Callgrind counts nothing, [`Error::File`].
pub fn instructions(program: &Path) -> Result<Figures, Error> {
    let list = output(&mut Command::new(program))?;
    list.lines().map(|work| Ok((work.to_owned(), count(program, work)?))).collect()
}

fn count(program: &Path, work: &str) -> Result<f64, Error> {
    let failed = |source| Error::File { action: "make", path: "a temporary file".into(), source };
    let counts = tempfile::NamedTempFile::new().map_err(failed)?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", COUNTED]);
    valgrind.arg(format!("--callgrind-out-file={}", counts.path().display()));
    let flows = output(valgrind.arg(program).arg(work))?;
    let text = std::fs::read_to_string(counts.path()).map_err(|source| Error::File {
        action: "read",
        path: counts.path().to_owned(),
        source,
    })?;
    let flows: Option<u32> = flows.trim().parse().ok().filter(|flows| *flows > 0);
    let counted = summary(&text).filter(|instructions| *instructions > 0);
    match (counted, flows) {
        // To a tenth of an instruction: what is left of a run's beginning is not worth more.
        #[expect(clippy::cast_precision_loss, reason = "millions")]
        (Some(all), Some(flows)) => Ok((all as f64 / f64::from(flows) * 10.0).round() / 10.0),
        _ => Err(Error::Program {
            command: format!("{valgrind:?}"),
            why: "it counted nothing: has the function below which it counts another name?".into(),
        }),
    }
}

/// The sum of a Callgrind file.
fn summary(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("summary:"))?;
    line.trim().parse().ok()
}

/// What a program prints if all is well.
pub fn output(command: &mut Command) -> Result<String, Error> {
    let why = match command.output() {
        Ok(output) if output.status.success() => {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("{error}: is it installed, or built?"),
    };
    Err(Error::Program { command: format!("{command:?}"), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_read_from_its_line() {
        assert_eq!(summary("events: Ir\nfn=(1)\n12 34\n\nsummary: 53354033\n"), Some(53_354_033));
        assert_eq!(summary("events: Ir\n"), None);
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_says_why() {
        let failed = output(Command::new("sh").args(["-c", "echo no >&2; exit 1"])).unwrap_err();
        assert!(failed.to_string().ends_with(": no"), "{failed}");
        let absent = output(&mut Command::new("/nonexistent/program")).unwrap_err();
        assert!(absent.to_string().contains("is it installed"), "{absent}");
    }
}
