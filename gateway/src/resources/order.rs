//! Orders, of the API or the gateway's own: the document as it stands, changed, and back into its
//! file.

use std::sync::Arc;

use nf_core::vpc::Snapshot;
use nf_core::vpc::document::UnixTime;
use serde_json::Value;

use super::{Valid, spare};
use crate::actions::nat_gateway::end_drains;
use crate::actions::{Changed, Draft, IdSource, Present, Refusal, Request, perform};
use crate::config::store::{self, Store};
use crate::config::{Diagnostic, ResourceFile, edit};

/// How often an order begins again because somebody else has written the file meanwhile. Whoever
/// writes faster than that does not stop.
const ATTEMPTS: usize = 10;

/// What is to be done to the document, as one change.
#[derive(Debug)]
pub struct Order {
    /// What it is.
    pub task: Task,
    /// When it is done.
    pub now: UnixTime,
    /// Ports that are there.
    pub present: Present,
    /// For what is made.
    pub ids: IdSource,
}

/// What an order asks for.
#[derive(Debug)]
pub enum Task {
    /// Actions that somebody has called.
    Actions {
        /// What was called.
        requests: Vec<Request>,
        /// Whether only to say if it could be done.
        dry_run: bool,
    },
    /// That addresses go which have drained. The answers name them.
    EndDrains,
}

/// What came of an order.
pub(super) struct Attempt {
    /// What the file says now.
    pub(super) read: Result<Valid, Vec<Diagnostic>>,
    /// What each action answers.
    pub(super) answers: Result<Vec<Value>, Refusal>,
}

/// Why a changed document is not in its file.
enum NotWritten {
    /// Somebody else has written it meanwhile.
    Overtaken(store::Error),
    /// Anything else.
    Refused(Refusal),
}

/// Carries out an order on the document as it stands. If that is `known`, it says `in_force`.
pub(super) fn attempt(
    store: &Store,
    known: &Arc<ResourceFile>,
    in_force: &Arc<Snapshot>,
    order: &Order,
) -> Attempt {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        let (file, before) = match read(store, known, in_force) {
            Ok(read) => read,
            Err(errors) => {
                let answers = Err(not_valid(&errors));
                return Attempt { read: Err(errors), answers };
            }
        };
        let refusal = match carry_out(store, &file, &before, in_force, order) {
            Ok((answers, None)) => {
                return Attempt { read: Ok(Valid::of(file, before)), answers: Ok(answers) };
            }
            Ok((answers, Some(written))) => {
                return Attempt { read: Ok(written), answers: Ok(answers) };
            }
            Err(NotWritten::Overtaken(_)) if left > 0 => continue,
            Err(NotWritten::Overtaken(error)) => Refusal::new("IncorrectState", format!("{error}")),
            Err(NotWritten::Refused(refusal)) => refusal,
        };
        return Attempt { read: Ok(Valid::of(file, before)), answers: Err(refusal) };
    }
}

/// The file, and what it says.
fn read(
    store: &Store,
    known: &Arc<ResourceFile>,
    in_force: &Arc<Snapshot>,
) -> Result<(Arc<ResourceFile>, Arc<Snapshot>), Vec<Diagnostic>> {
    let file = ResourceFile::read_again(store.file(), known)?;
    if Arc::ptr_eq(&file, known) || file.document() == known.document() {
        return Ok((file, in_force.clone()));
    }
    let snapshot = Arc::new(file.snapshot(in_force.generation().next())?);
    Ok((file, snapshot))
}

/// What the actions answer and, if they have changed anything, what has been written.
fn carry_out(
    store: &Store,
    file: &ResourceFile,
    before: &Arc<Snapshot>,
    in_force: &Arc<Snapshot>,
    order: &Order,
) -> Result<(Vec<Value>, Option<Valid>), NotWritten> {
    let Order { task, now, present, ids } = order;
    let mut draft = Draft::new(
        file.document().clone(),
        before.clone(),
        in_force.generation().next(),
        present.clone(),
        ids.clone(),
        *now,
    );
    let answers = match task {
        Task::Actions { requests, .. } => perform(&mut draft, requests.clone()),
        Task::EndDrains => {
            end_drains(&mut draft).map(|gone| gone.into_iter().map(Value::from).collect())
        }
    };
    let answers = answers.map_err(NotWritten::Refused)?;
    if matches!(task, Task::Actions { dry_run: true, .. }) {
        let message = "the request would have succeeded, and was not to be carried out";
        return Err(NotWritten::Refused(Refusal::new("DryRunOperation", message)));
    }
    let changed = draft.finish().filter(|changed| changed.document != *file.document());
    let written = changed.map(|changed| write(store, file, changed)).transpose()?;
    Ok((answers, written))
}

/// Writes a changed document into its file.
fn write(store: &Store, file: &ResourceFile, changed: Changed) -> Result<Valid, NotWritten> {
    let Changed { document, snapshot } = changed;
    let text = edit::edit(file.text(), file.document(), &document).map_err(|error| {
        let message = format!("cannot write the change into {}: {error}", store.file().display());
        NotWritten::Refused(Refusal::new("InternalError", message))
    })?;
    store.write(file, &text)?;
    let written = Arc::new(file.changed(text, document));
    spare::give_back(&written);
    Ok(Valid::of(written, snapshot))
}

impl From<store::Error> for NotWritten {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        let code = match &error {
            E::Changed(_) => return Self::Overtaken(error),
            E::Vanished(_) | E::Invalid(_) => "IncorrectState",
            E::ReadOnly(_) | E::Permission { .. } | E::MountPoint(_) => "OperationNotPermitted",
            E::Io { .. } => "InternalError",
        };
        Self::Refused(Refusal::new(code, error.to_string()))
    }
}

fn not_valid(errors: &[Diagnostic]) -> Refusal {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let message =
        format!("the resource document is invalid, correct that first: {}", errors.join("; "));
    Refusal::new("IncorrectState", message)
}
