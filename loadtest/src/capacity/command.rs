//! Commands of the user's that look into the gateway or act on it.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::frames::place::Namespace;

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs a command line in a namespace. What it printed.
///
/// # Errors
///
/// [`Error::Command`] if it cannot be run, fails or takes too long.
pub fn run(namespace: &Namespace, line: &str) -> Result<String, Error> {
    let failed = |why: String| Error::Command { command: line.to_owned(), why };
    let work = || -> Result<String, Error> {
        let mut child = Command::new("sh")
            .args(["-c", line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // The terminal's interrupt is for us: a command that it ended would count as failed.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let begun = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() < LIMIT => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(None) => {
                    // It is ours, and about to be reported.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(failed(format!("it did not end within {LIMIT:?}")));
                }
                Err(error) => return Err(failed(error.to_string())),
            }
        };
        let mut text = String::new();
        if let Some(mut output) = child.stdout.take() {
            // A pipe holds 64 KiB; whoever prints more never ends and is told so above.
            output.read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
        }
        if status.success() { Ok(text) } else { Err(failed(status.to_string())) }
    };
    namespace.enter(work)?
}

/// Runs a command line that prints a number.
///
/// # Errors
///
/// As [`run`], or if it prints none.
pub fn count(namespace: &Namespace, line: &str) -> Result<u64, Error> {
    let text = run(namespace, line)?;
    parse_count(&text).ok_or_else(|| Error::Command {
        command: line.to_owned(),
        why: format!("it printed no number: {:?}", text.trim()),
    })
}

/// The last number in a text: `42`, `tracked 42`, or a metric `flows{zone="a"} 42`.
fn parse_count(text: &str) -> Option<u64> {
    text.split_whitespace().rev().find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_counts() {
        assert_eq!(parse_count("42\n"), Some(42));
        assert_eq!(parse_count("flows{state=\"7\"} 42\n"), Some(42));
        assert_eq!(parse_count("none"), None);
    }

    #[test]
    fn a_command_that_fails_or_prints_no_number_says_so() {
        let here = Namespace::default();
        assert_eq!(count(&here, "echo 7").unwrap(), 7);
        let error = count(&here, "echo seven").unwrap_err().to_string();
        assert!(error.contains("echo seven") && error.contains("no number"), "{error}");
        let error = run(&here, "exit 3").unwrap_err().to_string();
        assert!(error.contains("exit 3") && error.contains("exit status: 3"), "{error}");
    }
}
