//! A document that actions are being applied to, and what it says at each step.

use std::collections::HashSet;
use std::sync::Arc;

use nf_core::id::Generation;
use nf_core::vpc::Snapshot;
use nf_core::vpc::document::Document;

use super::{IdSource, Refusal};

/// Names of the Linux interfaces that are there: a network interface is only in use while its port
/// is.
pub type Present = HashSet<Box<str>>;

/// What is to be told about: a document, what it says, and what of it is there.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The document.
    pub document: &'a Document,
    /// What it says. Declared interfaces, subnets and the like have the same places in both.
    pub snapshot: &'a Snapshot,
    /// Which ports there are.
    pub present: &'a Present,
}

/// A document that is being changed, action by action. It is valid after each of them.
#[derive(Debug)]
pub struct Draft {
    document: Document,
    snapshot: Arc<Snapshot>,
    generation: Generation,
    present: Present,
    ids: IdSource,
    changed: bool,
}

/// One change under way: the document may be anything until it is through.
pub(super) struct Edit<'a> {
    /// The document.
    pub(super) document: &'a mut Document,
    /// What it said before.
    pub(super) before: &'a Snapshot,
    /// For what is made.
    pub(super) ids: &'a mut IdSource,
}

/// What came of all actions.
#[derive(Debug)]
pub struct Changed {
    /// The document.
    pub document: Document,
    /// What it says.
    pub snapshot: Arc<Snapshot>,
}

impl Draft {
    /// Begins with `document`, which says `snapshot`. What it will say has number `generation`.
    #[must_use]
    pub fn new(
        document: Document,
        snapshot: Arc<Snapshot>,
        generation: Generation,
        present: Present,
        ids: IdSource,
    ) -> Self {
        Self { document, snapshot, generation, present, ids, changed: false }
    }

    /// What it says by now.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        let Self { document, snapshot, present, .. } = self;
        View { document, snapshot, present }
    }

    /// What came of it, if anything has changed.
    #[must_use]
    pub fn finish(self) -> Option<Changed> {
        let Self { document, snapshot, changed, .. } = self;
        changed.then_some(Changed { document, snapshot })
    }

    /// Changes the document. After an error the draft is of no more use.
    pub(super) fn edit<T>(
        &mut self,
        change: impl FnOnce(&mut Edit<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Self { document, snapshot, ids, .. } = self;
        let done = change(&mut Edit { document, before: snapshot, ids })?;
        let snapshot = Snapshot::build(self.generation, &self.document)
            .map_err(|invalid| Refusal::of_document(&invalid))?;
        self.snapshot = Arc::new(snapshot);
        self.changed = true;
        Ok(done)
    }
}
