//! The desired state on its way from the resource document to the engine, and back.
//!
//! The whole file is read on a fixed beat, changed or not, so that no change can be missed. Its text
//! is taken apart when it differs from what was read last, and when what it says differs from the
//! state in force, a new generation begins.
//!
//! An order, of the API or the gateway's own, is a change of the document: it is read as on the beat,
//! changed, checked and written back before anything else sees it. What the file says is what is in
//! force, whoever wrote it last.

mod order;
mod spare;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nf_core::id::Generation;
use nf_core::vpc::document::UnixTime;
use nf_core::vpc::{Document, Snapshot};
use serde_json::Value;

use crate::actions::Refusal;
use crate::actions::nat_gateway::next_drain_end;
use crate::config::{Diagnostic, ResourceFile, Store};

use order::{Attempt, attempt};
pub use order::{Order, Task};

/// A document that is valid.
#[derive(Debug)]
pub struct Valid {
    /// The document's file.
    pub file: Arc<ResourceFile>,
    /// What it says.
    pub snapshot: Arc<Snapshot>,
    /// What it allows but hardly means.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the document.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn read(file: &Path, generation: Generation) -> Result<Valid, Vec<Diagnostic>> {
    let file = Arc::new(ResourceFile::read(file)?);
    let snapshot = Arc::new(file.snapshot(generation)?);
    spare::give_back(&file);
    Ok(Valid::of(file, snapshot))
}

/// Reads the document again, unless its text is what it was.
fn read_again(
    file: &Path,
    known: &Arc<ResourceFile>,
    generation: Generation,
) -> Result<Option<Valid>, Vec<Diagnostic>> {
    let file = ResourceFile::read_again(file, known)?;
    if Arc::ptr_eq(&file, known) {
        return Ok(None);
    }
    let snapshot = Arc::new(file.snapshot(generation)?);
    spare::give_back(&file);
    Ok(Some(Valid::of(file, snapshot)))
}

impl Valid {
    /// What a file says, `snapshot`.
    fn of(file: Arc<ResourceFile>, snapshot: Arc<Snapshot>) -> Self {
        let warnings = file.warnings(&snapshot);
        Self { file, snapshot, warnings }
    }
}

/// The document and the state in force.
#[derive(Clone, Debug)]
pub struct Resources {
    store: Store,
    /// As it was last found valid.
    read: Arc<ResourceFile>,
    in_force: Arc<Snapshot>,
    warnings: Vec<Diagnostic>,
    /// What is wrong with the document as it was last read.
    errors: Vec<Diagnostic>,
    valid_reads: u64,
    invalid_reads: u64,
    last_valid: (Instant, SystemTime),
    next_drain_end: Option<UnixTime>,
}

impl Resources {
    /// The state that a first reading of `file` brought.
    #[must_use]
    pub fn new(file: PathBuf, valid: Valid) -> Self {
        let Valid { file: read, snapshot, warnings } = valid;
        let mut this = Self {
            store: Store::new(file),
            read,
            in_force: snapshot,
            warnings,
            errors: Vec::new(),
            valid_reads: 1,
            invalid_reads: 0,
            last_valid: (Instant::now(), SystemTime::now()),
            next_drain_end: None,
        };
        this.next_drain_end = next_drain_end(this.document());
        this.log_warnings();
        this
    }

    /// Reads the document again. Returns whether a new state is in force now, which the engine has
    /// to be given. An invalid document changes nothing; it is logged when it first is so, and
    /// whenever what is wrong with it changes.
    pub async fn reload(&mut self) -> bool {
        let (file, known) = (self.file().to_owned(), self.read.clone());
        let generation = self.in_force.generation().next();
        let work = move || read_again(&file, &known, generation);
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(Some(valid))) => self.take_over(valid),
            Ok(Ok(None)) => {
                self.found_valid();
                false
            }
            Ok(Err(errors)) => {
                self.refuse(errors);
                false
            }
            Err(error) => {
                self.invalid_reads += 1;
                tracing::error!(%error, "cannot read the resource document");
                false
            }
        }
    }

    /// Carries out an order. Returns what its actions answer, and whether a new state is in force
    /// now, as for [`Self::reload`]. An order that is refused has changed nothing.
    pub async fn change(&mut self, order: Order) -> (Result<Vec<Value>, Refusal>, bool) {
        let (store, known, in_force) =
            (self.store.clone(), self.read.clone(), self.in_force.clone());
        let work = move || attempt(&store, &known, &in_force, &order);
        match tokio::task::spawn_blocking(work).await {
            Ok(Attempt { read: Ok(valid), answers }) => (answers, self.take_over(valid)),
            Ok(Attempt { read: Err(errors), answers }) => {
                self.refuse(errors);
                (answers, false)
            }
            Err(error) => {
                tracing::error!(%error, "cannot carry out an order");
                (Err(Refusal::new("InternalError", error.to_string())), false)
            }
        }
    }

    fn found_valid(&mut self) {
        self.valid_reads += 1;
        self.last_valid = (Instant::now(), SystemTime::now());
        if !std::mem::take(&mut self.errors).is_empty() {
            tracing::info!(file = %self.file().display(), "the resource document is valid again");
        }
    }

    fn take_over(&mut self, Valid { file, snapshot, warnings }: Valid) -> bool {
        self.found_valid();
        // Perhaps it says only other things that no packet depends on, such as tags.
        self.read = file;
        self.next_drain_end = next_drain_end(self.document());
        if snapshot.same_resources(&self.in_force) {
            // The lines may have moved.
            self.warnings = warnings;
            return false;
        }
        self.in_force = snapshot;
        self.warnings = warnings;
        self.log_warnings();
        true
    }

    fn refuse(&mut self, errors: Vec<Diagnostic>) {
        self.invalid_reads += 1;
        if errors == self.errors {
            return;
        }
        tracing::error!(
            file = %self.file().display(), errors = errors.len(),
            generation = self.in_force.generation().0,
            "the resource document is invalid: the old state stays in force"
        );
        for diagnostic in &errors {
            tracing::error!("{diagnostic}");
        }
        self.errors = errors;
    }

    fn log_warnings(&self) {
        for diagnostic in &self.warnings {
            tracing::warn!("{diagnostic}");
        }
    }

    /// The document's file.
    #[must_use]
    pub fn file(&self) -> &Path {
        self.store.file()
    }

    /// The document that says the state in force.
    #[must_use]
    pub fn document(&self) -> &Document {
        self.read.document()
    }

    /// When an address of a NAT gateway has drained, and [`Task::EndDrains`] takes it away.
    #[must_use]
    pub const fn next_drain_end(&self) -> Option<UnixTime> {
        self.next_drain_end
    }

    /// The state in force.
    #[must_use]
    pub const fn in_force(&self) -> &Arc<Snapshot> {
        &self.in_force
    }

    /// What the document allows but hardly means.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// What is wrong with the document as it was last read; empty if the state in force is what
    /// it says.
    #[must_use]
    pub fn errors(&self) -> &[Diagnostic] {
        &self.errors
    }

    /// How often the document was read and found valid, and how often not.
    #[must_use]
    pub const fn reads(&self) -> (u64, u64) {
        (self.valid_reads, self.invalid_reads)
    }

    /// How long ago the document was last found valid.
    #[must_use]
    pub fn last_valid(&self) -> Duration {
        self.last_valid.0.elapsed()
    }

    /// The same as seconds since 1970.
    #[must_use]
    pub fn last_valid_timestamp(&self) -> f64 {
        self.last_valid.1.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;

    use super::*;

    const ONE: &str = "[[vpc]]\nvpc_id = \"vpc-a\"\ncidr_block = \"10.0.0.0/16\"\n";
    const TWO: &str = "[[vpc]]\nvpc_id = \"vpc-b\"\ncidr_block = \"10.0.0.0/16\"\n";

    #[tokio::test]
    async fn only_a_document_that_says_something_else_begins_a_generation() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("resources.toml");
        fs::write(&file, ONE).unwrap();
        let mut resources = Resources::new(file.clone(), read(&file, Generation(7)).unwrap());

        fs::write(&file, format!("# Only a comment.\n{ONE}")).unwrap();
        assert!(!resources.reload().await);
        assert_eq!(resources.in_force().generation(), Generation(7));

        fs::write(&file, TWO).unwrap();
        assert!(resources.reload().await);
        assert_eq!(resources.in_force().generation(), Generation(8));
        assert_eq!(resources.in_force().vpcs().next().unwrap().1.id.to_string(), "vpc-b");
        assert!(!resources.reload().await);
        assert_eq!(resources.reads(), (4, 0));
    }

    #[tokio::test]
    async fn an_unchanged_document_is_not_taken_apart_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("resources.toml");
        fs::write(&file, ONE).unwrap();
        let mut resources = Resources::new(file.clone(), read(&file, Generation(1)).unwrap());
        let before = resources.read.clone();
        fs::write(&file, ONE).unwrap();
        assert!(!resources.reload().await);
        assert!(Arc::ptr_eq(&before, &resources.read));
        fs::write(&file, format!("\n{ONE}")).unwrap();
        assert!(!resources.reload().await);
        assert_eq!(resources.read.text(), format!("\n{ONE}"));
        assert_eq!(resources.reads(), (3, 0));
    }

    #[tokio::test]
    async fn an_invalid_or_missing_document_leaves_the_old_state_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("resources.toml");
        fs::write(&file, ONE).unwrap();
        let mut resources = Resources::new(file.clone(), read(&file, Generation(1)).unwrap());

        fs::write(&file, "[[vpc]]\ncidr = 1\n").unwrap();
        assert!(!resources.reload().await);
        assert!(resources.errors().iter().any(|it| it.line == Some(2)), "{:?}", resources.errors());
        fs::remove_file(&file).unwrap();
        assert!(!resources.reload().await);
        assert_eq!(resources.errors().len(), 1);
        assert_eq!(resources.in_force().generation(), Generation(1));
        assert_eq!(resources.reads(), (1, 2));

        fs::write(&file, TWO).unwrap();
        assert!(resources.reload().await);
        assert!(resources.errors().is_empty());
        assert_eq!(resources.in_force().generation(), Generation(2));
    }

    /// A gateway of which one address drains until 1000, another until 2000.
    const DRAINS: &str = r#"vpc = [{ vpc_id = "vpc-a", cidr_block = "10.0.0.0/16" }]
subnet = [{ subnet_id = "subnet-a", vpc_id = "vpc-a", cidr_block = "10.0.0.0/24" }]

[[nat_gateway]]
nat_gateway_id = "nat-a"
subnet_id = "subnet-a"
connectivity_type = "private"
# By hand.
secondary_address = [
    { private_ip_address = "10.0.0.7", drain_until = 2000 },
    { private_ip_address = "10.0.0.8", drain_until = 1000 },
    { private_ip_address = "10.0.0.9" }, # It stays.
]
"#;

    fn end_drains(now: u64) -> Order {
        let ids = crate::actions::IdSource::new(1);
        Order { task: Task::EndDrains, now: UnixTime(now), present: HashSet::default(), ids }
    }

    #[tokio::test]
    async fn an_address_that_has_drained_is_taken_out_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("resources.toml");
        fs::write(&file, ONE).unwrap();
        let mut resources = Resources::new(file.clone(), read(&file, Generation(1)).unwrap());
        assert_eq!(resources.next_drain_end(), None);
        fs::write(&file, DRAINS).unwrap();
        assert!(resources.reload().await);
        assert_eq!(resources.next_drain_end(), Some(UnixTime(1000)));

        let (gone, is_new) = resources.change(end_drains(1000)).await;
        assert_eq!((gone.unwrap(), is_new), (vec!["10.0.0.8 of nat-a".into()], true));
        assert_eq!(resources.next_drain_end(), Some(UnixTime(2000)));
        let text = fs::read_to_string(&file).unwrap();
        let drained = "    { private_ip_address = \"10.0.0.8\", drain_until = 1000 },\n";
        // Its primary address as well is written down.
        let kept = format!("{}private_ip_address = \"10.0.0.4\"\n", DRAINS.replace(drained, ""));
        assert_eq!(text, kept);

        let (gone, is_new) = resources.change(end_drains(1999)).await;
        assert_eq!((gone.unwrap(), is_new), (vec![], false));
        let (gone, _) = resources.change(end_drains(u64::MAX)).await;
        assert_eq!(gone.unwrap(), ["10.0.0.7 of nat-a"]);
        assert_eq!(resources.next_drain_end(), None);
        assert!(fs::read_to_string(&file).unwrap().contains("\"10.0.0.9\" }, # It stays."));
    }
}
