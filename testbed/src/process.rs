//! Programs under a guard: killed and reaped when dropped, bounded in time, output kept in files.

use std::fmt::{Display, Write as _};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::bed::Shared;
use crate::error::Error;
use crate::leftovers::{PROCESS_LIST, start_time};
use crate::requirements::package_of;
use crate::wait::wait_until;

/// How long a run of `ip` may take; thousands of links need a few seconds.
const IP_LIMIT: Duration = Duration::from_mins(1);

/// How much of a program's output goes into an error message.
const TAIL: usize = 2000;

/// What a program said and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

/// A running program and whatever it started in its process group. Dropping kills them all.
#[derive(Debug)]
pub struct Process {
    child: Child,
    description: String,
    stdout: PathBuf,
    stderr: PathBuf,
    /// The leader stays a zombie until we are done with the group: its pid, which is the group's
    /// id as well, cannot pass to a stranger that we would kill.
    reaped: Option<ExitStatus>,
    _shared: Arc<Shared>,
}

impl Process {
    pub(crate) fn start(shared: &Arc<Shared>, mut command: Command) -> Result<Self, Error> {
        let description = describe(&command);
        let program = Path::new(command.get_program()).file_name().unwrap_or_default();
        let program = program.to_string_lossy().into_owned();
        let log = shared.new_path(&program);
        let (stdout, stderr) = (log.with_extension("out"), log.with_extension("err"));
        command
            .stdin(Stdio::null())
            .stdout(create(&stdout)?)
            .stderr(create(&stderr)?)
            // Its own group: it can be killed with all its children, and the terminal's interrupt
            // reaches the owner first, which then ends it in good order.
            .process_group(0);
        let child = command.spawn().map_err(|source| Error::Start {
            command: description.clone(),
            package: package_of(&program).map(str::to_owned),
            source,
        })?;
        let process =
            Self { child, description, stdout, stderr, reaped: None, _shared: Arc::clone(shared) };
        process.enlist(&shared.dir.join(PROCESS_LIST))?;
        Ok(process)
    }

    /// Notes the process where the next testbed finds it should this one be killed.
    fn enlist(&self, list: &Path) -> Result<(), Error> {
        let pid = self.pid();
        let Some(started) = start_time(pid.as_raw()) else { return Ok(()) };
        let mut options = fs::OpenOptions::new();
        options
            .create(true)
            .append(true)
            .open(list)
            .and_then(|mut file| writeln!(file, "{pid} {started}"))
            .map_err(|source| Error::File { action: "write", path: list.to_owned(), source })
    }

    /// The process id, which is the id of its process group too.
    #[must_use]
    pub fn pid(&self) -> Pid {
        // Linux pids fit 22 bits.
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Whether the program is still running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        self.reaped.is_none()
            && matches!(waitid(Id::Pid(self.pid()), flags), Ok(WaitStatus::StillAlive))
    }

    /// Sends a signal to the program itself, not to its group. One that has ended is left alone.
    pub fn signal(&self, signal: Signal) {
        if self.is_running() {
            // It may end by itself between the look and the kill; as a zombie it takes the signal.
            let _ = kill(self.pid(), signal);
        }
    }

    /// Asks the program to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::TooSlow`] if it had to be killed.
    pub fn stop(&mut self, limit: Duration) -> Result<Output, Error> {
        self.signal(Signal::SIGTERM);
        self.output(limit)
    }

    /// Kills the program (SIGKILL) and all of its process group, and reaps it.
    pub fn kill(&mut self) {
        if self.reaped.is_none() {
            // No such group: it has no member left but the zombie.
            let _ = killpg(self.pid(), Signal::SIGKILL);
            self.reaped = self.child.wait().ok();
        }
    }

    /// Waits for the program to end, whatever its exit status.
    ///
    /// # Errors
    ///
    /// [`Error::TooSlow`] if it did not end in time; it is killed then.
    pub fn output(&mut self, limit: Duration) -> Result<Output, Error> {
        let ended = wait_until(limit, "the program to end", || !self.is_running());
        // Kills what the program left running too; the exit status of one that has ended stands.
        self.kill();
        match (ended, self.reaped) {
            (Ok(()), Some(status)) => {
                Ok(Output { status, stdout: self.stdout(), stderr: self.stderr() })
            }
            _ => Err(Error::TooSlow {
                command: self.description.clone(),
                limit,
                stderr: self.last_words(),
            }),
        }
    }

    /// Waits for the program to end, which must be with success.
    ///
    /// # Errors
    ///
    /// [`Error::TooSlow`], [`Error::Failed`].
    pub fn success(&mut self, limit: Duration) -> Result<Output, Error> {
        let output = self.output(limit)?;
        if output.status.success() { Ok(output) } else { Err(self.failure(output.status)) }
    }

    /// Waits until `ready` holds.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] as soon as the program ends instead, [`Error::TooSlow`] if neither
    /// happens in time.
    pub fn wait_ready(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<(), Error> {
        let mut is_ready = false;
        let waited = wait_until(limit, "the program to be ready", || {
            is_ready = ready();
            is_ready || !self.is_running()
        });
        if is_ready {
            return Ok(());
        }
        self.kill();
        Err(match (waited, self.reaped) {
            (Ok(()), Some(status)) => self.failure(status),
            _ => Error::TooSlow {
                command: self.description.clone(),
                limit,
                stderr: self.last_words(),
            },
        })
    }

    /// What the program has written to its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What the program has written to its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    fn failure(&self, status: ExitStatus) -> Error {
        Error::Failed { command: self.description.clone(), status, stderr: self.last_words() }
    }

    /// The end of what the program said, for an error message.
    fn last_words(&self) -> String {
        let stderr = self.stderr();
        let said = if stderr.trim().is_empty() { self.stdout() } else { stderr };
        let said = said.trim();
        let start = said.len().saturating_sub(TAIL);
        // Backwards to a character boundary: index 0 always is one.
        let start = (0..=start).rev().find(|i| said.is_char_boundary(*i)).unwrap_or(0);
        if said.is_empty() { "it said nothing".to_owned() } else { said[start..].to_owned() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs lines of `ip -batch` with a prepared `ip` command.
pub(crate) fn ip_batch<I, S>(shared: &Arc<Shared>, mut ip: Command, lines: I) -> Result<(), Error>
where
    I: IntoIterator<Item = S>,
    S: Display,
{
    let mut text = String::new();
    for line in lines {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{line}");
    }
    let path = shared.new_path("batch");
    fs::write(&path, &text).map_err(|source| Error::File {
        action: "write",
        path: path.clone(),
        source,
    })?;
    ip.arg("-batch").arg(&path);
    let mut process = Process::start(shared, ip)?;
    process.success(IP_LIMIT).map(drop).map_err(|error| match error {
        Error::Failed { status, stderr, .. } => {
            Error::Failed { command: refused_lines(&text, &stderr), status, stderr }
        }
        other => other,
    })
}

/// The line that `ip` says it failed at: `Command failed FILE:LINE`. It says so of what the kernel
/// refuses; a line it cannot parse itself it only quotes a word of, so all of them are named then.
fn refused_lines(text: &str, stderr: &str) -> String {
    let number = stderr.rsplit_once("Command failed ").and_then(|(_, place)| {
        let (_, number) = place.rsplit_once(':')?;
        number.trim().parse::<usize>().ok()?.checked_sub(1)
    });
    match number.and_then(|number| text.lines().nth(number)) {
        Some(line) => format!("ip {line}"),
        None => format!("ip -batch: {}", text.lines().collect::<Vec<_>>().join("; ")),
    }
}

/// A command line for people.
fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn create(path: &Path) -> Result<File, Error> {
    File::create(path).map_err(|source| Error::File {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

fn read_lossy(path: &Path) -> String {
    // Unreadable logs must not hide the failure they were to explain.
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_line_is_found_by_its_number_and_without_one_all_are_named() {
        let text = "link set lo up\naddress add 192.0.2.1/24 dev eth7\n";
        let stderr = "Cannot find device \"eth7\"\nCommand failed /tmp/x/001-batch:2";
        assert_eq!(refused_lines(text, stderr), "ip address add 192.0.2.1/24 dev eth7");
        let stderr = "Error: any valid prefix is expected.";
        let all = "ip -batch: link set lo up; address add 192.0.2.1/24 dev eth7";
        assert_eq!(refused_lines(text, stderr), all);
    }
}
